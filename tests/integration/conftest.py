"""For tests with real processes: a bundle whose clouds start without torch, which alone takes seconds to import."""

from __future__ import annotations

import pytest

from shared.bundle import Bundle
from tests.support.bundles import make_bundle
from tests.support.graphs import with_tail_step


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A tiny bundle; a module that wants another defines its own."""
    return with_tail_step(make_bundle(tmp_path_factory.mktemp("bundle")))
