"""The network that a user would try first: no spikes, no timesteps, one ONNX graph in float32 or in int8.

`plain_export.py` writes both graphs.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shared.onnx_session import session_of

FLOAT, INT8 = "plain.onnx", "plain-int8.onnx"


class PlainNetwork:
    """One of the graphs, by onnxruntime on the CPU.

    Args:
        path: of the graph.
        threads: of an operation.
    """

    def __init__(self, path: Path, threads: int = 1) -> None:
        self._session = session_of(path.read_bytes(), threads)
        self.channels: int = self._session.get_inputs()[0].shape[1]

    def classify(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The probabilities [classes] of a picture uint8 [C, H, W]."""
        logits = self._session.run(None, {"pixels": pixels[np.newaxis].astype(np.float32)})[0][0]
        exponents = np.exp(logits - logits.max())
        found: NDArray[np.float32] = (exponents / exponents.sum()).astype(np.float32)
        return found
