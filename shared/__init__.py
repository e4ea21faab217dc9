"""What two rooms need. It is imported before any of them imports onnxruntime."""

import os

# onnxruntime's releases keep an identifier of the machine, and report to Microsoft, from their import on.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
