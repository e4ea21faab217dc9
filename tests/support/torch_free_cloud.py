"""`python -m tests.support.torch_free_cloud`: a cloud in a process where torch cannot be imported."""

from __future__ import annotations

import sys

for name in ("torch", "snntorch", "onnx", "scipy"):
    sys.modules[name] = None  # type: ignore[assignment]  # importing it raises

from cloud_server.__main__ import main  # noqa: E402

if __name__ == "__main__":
    main()
