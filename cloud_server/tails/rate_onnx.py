"""Runs the network of the `rate` tail by onnxruntime on the CPU, without torch."""

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
    """A `RateNetwork` that is one of the bundle's ONNX graphs.

    Args:
        bundle: its graph is read; the file with the tail's weights is not.
        part: `tail-rate` (float32) or `tail-rate-int8` (integers).

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
