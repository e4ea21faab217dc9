"""What two rooms need. It is imported before any of them imports onnxruntime."""

import os

# onnxruntime's releases keep an identifier of the machine, and report to Microsoft, from their import on.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

# No process of ours works with gRPC in a fork (edge_client/link/forks.py says so). gRPC's own handlers of forks do not
# help, and sometimes a child hangs in them before it can say anything.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "false")
