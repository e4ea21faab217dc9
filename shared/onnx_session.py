"""A bundle's ONNX graph as a session of onnxruntime on the CPU, for the edge's head and the cloud's tail."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from shared.bundle import Bundle, Weights
from shared.errors import BundleError, ConfigError
from shared.manifest import Extra
from shared.onnx_weights import check_numbers

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

ERRORS_ONLY = 3


def check_installed() -> None:
    """Raises ConfigError where onnxruntime is not installed."""
    if not find_spec("onnxruntime"):
        raise ConfigError("--runtime onnx needs onnxruntime: pip install '.[edge]' or '.[cloud]' in a checkout")


def session_of(graph: bytes, threads: int, weights: Weights | None = None) -> InferenceSession:
    """The session of a graph on the CPU. It raises onnxruntime's own exceptions for a graph that onnxruntime rejects.

    Args:
        graph: an ONNX file's bytes.
        threads: of onnxruntime's operations.
        weights: by name, those that the graph takes from outside.
    """
    import onnxruntime  # noqa: PLC0415

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = ERRORS_ONLY
    if weights is not None:
        values = [onnxruntime.OrtValue.ortvalue_from_numpy(value) for value in weights.values()]
        options.add_external_initializers(list(weights), values)
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def open_session(bundle: Bundle, part: Extra, threads: int, weights: Weights | None = None) -> InferenceSession:
    """The session of one graph.

    Args:
        bundle: whose graph it is.
        part: which one.
        threads: of onnxruntime's operations.
        weights: by name, those that the graph takes from outside.

    Raises:
        BundleError: the graph is missing or damaged, or holds numbers that are not finite.
        ConfigError: onnxruntime is not installed, or the bundle has no such graph.
    """
    check_installed()
    import onnxruntime  # noqa: PLC0415

    onnxruntime.disable_telemetry_events()  # on by default, also in releases for Linux

    graph = bundle.graph(part)
    if graph is None:
        runtime = "onnx-int8" if part.endswith("int8") else "onnx"
        raise ConfigError(
            f"bundle {bundle.path} has no {part}.onnx for --runtime {runtime}: where there is torch run "
            f"`neucodex-train export --bundle {bundle.path} --runtime {runtime}`, and copy it to both machines again"
        )
    try:
        check_numbers(graph, () if weights is None else weights)
    except ValueError as error:
        raise BundleError(f"bundle {bundle.path}: {part}.onnx: {error}; copy the whole folder again") from None
    try:
        return session_of(graph, threads, weights)
    except Exception as error:  # onnxruntime's exceptions share no base of their own
        raise BundleError(f"bundle {bundle.path}: onnxruntime does not take {part}.onnx: {error}") from None
