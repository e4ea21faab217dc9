"""The `rate` tail run by onnxruntime on the CPU. No torch is needed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cloud_server.tails.frame_sums import Sums
from shared.bundle import Bundle
from shared.manifest import Extra
from shared.onnx_session import open_session

if TYPE_CHECKING:
    from onnxruntime import InferenceSession


class OnnxRateNetwork:
    """See the module.

    Args:
        bundle: its graph is read, the tail's weights are not.
        part: `tail-rate` or `tail-rate-int8`.

    Raises:
        BundleError: the graph is missing or damaged.
        ConfigError: onnxruntime is not installed.
    """

    def __init__(self, bundle: Bundle, part: Extra) -> None:
        self._bundle, self._part = bundle, part
        self._threads = 1
        self._session: InferenceSession = open_session(bundle, part, 1)

    def use_threads(self, threads: int) -> None:
        if threads != self._threads:
            self._threads = threads
            self._session = open_session(self._bundle, self._part, threads)

    def logits(self, sums: Sums, timesteps: NDArray[np.uint8]) -> NDArray[np.float32]:
        feeds = {"sum": sums, "timesteps": timesteps.astype(np.float32)}
        logits: NDArray[np.float32] = self._session.run(["logits"], feeds)[0]
        return logits
