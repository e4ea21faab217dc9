"""For all tests: a busy machine is no failure of a property; and for each module a bundle with what it must answer."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import settings
from numpy.typing import NDArray

from shared.bundle import Bundle
from tests.support.bundles import make_bundle
from tests.support.known import known_confidences, known_frames

settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A tiny bundle; a module that wants another defines its own."""
    return make_bundle(tmp_path_factory.mktemp("bundle"))


@pytest.fixture(scope="module")
def frames(bundle: Bundle) -> NDArray[np.uint8]:
    """What an edge sends of the known samples: [T, samples, C, H, W]."""
    return known_frames(bundle)


@pytest.fixture(scope="module")
def expected(bundle: Bundle) -> NDArray[np.float32]:
    """The reference's answers: [T, samples, classes]."""
    return known_confidences(bundle)
