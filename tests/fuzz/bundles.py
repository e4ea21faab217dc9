"""What fuzzing feeds to what reads a bundle's files: tests/unit a little, `make fuzz` for minutes."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_client.heads.local_exit import open_local_exit
from shared.bundle import MANIFEST, Bundle
from shared.bundle_writer import write_bundle, write_codec, write_graphs, write_local_exit
from shared.errors import BundleError, ConfigError
from shared.exit_policy import ExitPolicy
from shared.manifest import ExecutionSpec, LocalExitSpec, Manifest, Normalisation
from shared.network_spec import BottleneckSpec, NetworkSpec
from shared.onnx_weights import check_numbers
from shared.operations import frame_shape, split_shape
from shared.spike_codec import SpikeCodec
from tests.support.codec_tables import make_tables

SMALLEST_GRAPH = Path(__file__).parents[2] / "models/resnet18-digits/head-embed.onnx"
FILES = (MANIFEST, "head.safetensors", "codec-spiking.safetensors", "exit-spiking.safetensors", "head-embed.onnx")
"""Those that are fuzzed; the manifest has the right digests of the others."""


@cache
def whole() -> Mapping[str, bytes]:
    """A small bundle's files by name, with every kind of part; its weights are no network's."""
    spec = NetworkSpec("resnet18", (1, 16, 16), 3, "layer1", width=4, bottleneck=BottleneckSpec(1, 2))
    shape = frame_shape(spec)
    manifest = Manifest(
        name="fuzzed",
        network=spec,
        frame_shape=shape,
        split_shape=split_shape(spec),
        class_names=("a", "b", "c"),
        normalisation=Normalisation(1 / 255, (0.5,), (0.25,)),
        executions={name: ExecutionSpec(1.0, ExitPolicy()) for name in ("spiking", "rate")},
        default_execution="spiking",
        provenance={"seed": 0},
    )
    random = np.random.default_rng(0)

    def numbers(*sides: int) -> NDArray[Any]:
        return random.normal(size=sides).astype(np.float16)

    side = shape[1]
    local_exit = {
        "features.weight": numbers(2, shape[0], 3, 3), "features.bias": numbers(2),
        "hidden.weight": numbers(4, 2 * side * side), "hidden.bias": numbers(4),
        "readout.weight": numbers(3, 4), "readout.bias": numbers(3),
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        halves = {"a.weight": numbers(2, 3), "a.running_var": np.ones(2, np.float32)}
        bundle = write_bundle(Path(folder), manifest, halves, halves)
        bundle = write_codec(bundle, make_tables(shape, depth=1, dictionary=b"zstd" * 16).arrays())
        bundle = write_local_exit(bundle, LocalExitSpec((1, 1), 1.0, ExitPolicy()), local_exit, {})
        write_graphs(bundle, {"head-embed": SMALLEST_GRAPH.read_bytes()})
        return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The places of a manifest's values, those of objects and lists too."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, (*path, key))
    if path:
        yield path


@cache
def places() -> tuple[tuple[Any, ...], ...]:
    """The places of the manifest of `whole`."""
    return tuple(leaves(json.loads(whole()[MANIFEST])))


def with_value(place: int, text: bytes) -> bytes:
    """The manifest of `whole` with this text, which need not be JSON, in the place of a value."""
    mark = "\uffff the value \uffff"
    path = places()[place % len(places())]
    values = json.loads(whole()[MANIFEST])
    inner = values
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = mark
    return json.dumps(values, ensure_ascii=False).encode().replace(json.dumps(mark, ensure_ascii=False).encode(), text)


@cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    """One folder for all tries, with the files of `whole`: to write them all takes longer than to read them."""
    folder = tempfile.TemporaryDirectory()
    for name, raw in whole().items():
        Path(folder.name, name).write_bytes(raw)
    return folder


def try_file(name: str, raw: bytes) -> bool:
    """Use the bundle with one other file: whether it is a bundle. Anything but a refusal is a finding."""
    changed = {name: raw}
    if name != MANIFEST:
        manifest = json.loads(whole()[MANIFEST])
        manifest["files"][name.partition(".")[0]]["sha256"] = sha256(raw).hexdigest()
        changed[MANIFEST] = json.dumps(manifest).encode()
    folder = Path(_folder().name)
    try:
        for file, content in changed.items():
            (folder / file).write_bytes(content)
        _use(Bundle.open(folder))
    except (BundleError, ConfigError):
        return False
    finally:
        for file in changed:
            (folder / file).write_bytes(whole()[file])
    return True


def _use(bundle: Bundle) -> None:
    """All that an edge and a cloud do with a bundle before they have a network."""
    for execution in bundle.manifest.executions:
        view = bundle.run_as(execution)
        codec = SpikeCodec.of(view)
        spikes = np.ones(view.manifest.frame_shape, np.uint8)
        assert np.array_equal(codec.decode(*codec.encode(spikes)), spikes)
        if (local_exit := open_local_exit(view)) is not None:
            confidences = local_exit.confidences(spikes.astype(np.float32))
            local_exit.policy.should_stop(confidences)
        view.settings.exit_policy.should_stop((0.5,) * view.manifest.network.classes)
    bundle.weights("head")
    bundle.weights("tail")
    bundle.licences()
    if (graph := bundle.graph("head-embed")) is not None:
        try:
            check_numbers(graph)
        except ValueError as error:
            raise BundleError(str(error)) from None
