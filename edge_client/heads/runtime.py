"""The runtimes of a head."""

from __future__ import annotations

from typing import Literal

Runtime = Literal["auto", "torch", "onnx", "onnx-int8"]
