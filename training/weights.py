"""A stage's weights on disk, under names that do not depend on where the network is cut.

So one backbone, trained once, serves every split: `backbone.<k>` is its k-th block whether it stands on the edge or in
the cloud.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from shared.bundle import Bundle
from shared.errors import ConfigError
from shared.licences import Licence, as_metadata, read_licences
from shared.models.split import SplitNetwork, backbone_blocks_before
from shared.network_spec import NetworkSpec


def save_weights(network: SplitNetwork, path: Path, licences: Iterable[Licence] = ()) -> None:
    """Write parameters and running statistics in float32; a run killed while writing leaves no file.

    Args:
        network: whose weights are written.
        path: of the file.
        licences: of the weights they were trained from, for the file's metadata.
    """
    temporary = path.with_name(path.name + ".new")
    state = network.state_dict()
    tensors = {new: state[old].contiguous().cpu() for old, new in _names(network).items()}
    save_file(tensors, temporary, as_metadata(licences))
    temporary.replace(path)


def load_weights(network: SplitNetwork, path: Path) -> None:
    """Load a stage's weights into a network; a bottleneck or light head that the stage did not have yet keeps its own.

    Raises:
        ConfigError: there is no such file, or it is of another network.
    """
    if not path.exists():
        raise ConfigError(f"{path} is missing: run the stage before this one first")
    stored = _read(path)
    state: dict[str, Tensor] = {}
    for old, new in _names(network).items():
        if new in stored:
            state[old] = stored.pop(new)
        elif not new.startswith(("light.", "encoder.", "decoder.")):
            raise ConfigError(f"{path} is of another network: it has no {new}")
    if not network.spec.backbone_at_edge:
        for name in [name for name in stored if _of_the_heads_backbone(name, network.spec)]:
            del stored[name]  # a light head replaces them
    if stored:
        raise ConfigError(f"{path} is of another network: this one has no {', '.join(sorted(stored)[:3])}")
    try:
        network.load_state_dict(state, strict=False)
    except RuntimeError as error:
        raise ConfigError(f"{path} is of another network: {error}") from None


def _of_the_heads_backbone(name: str, spec: NetworkSpec) -> bool:
    """Whether a tensor on disk belongs to the backbone's layers up to the split."""
    part, _, rest = name.partition(".")
    if part == "backbone":
        return int(rest.partition(".")[0]) < backbone_blocks_before(spec)
    return part == "embedding"


def take_what_fits(network: SplitNetwork, path: Path) -> str:
    """Load the tensors that another run's weights, or a bundle's, share with a network, by name and shape.

    Returns:
        A sentence that says how many tensors were loaded.

    Raises:
        ConfigError: there is no such file, or nothing in it fits.
        BundleError: the folder is no bundle, or it is damaged.
    """
    stored = _read_bundle(Bundle.open(path)) if path.is_dir() else _read(path)
    state = network.state_dict()
    fitting = {
        old: stored[new]
        for old, new in _names(network).items()
        if new in stored and stored[new].shape == state[old].shape
    }
    if not fitting:
        raise ConfigError(f"nothing in {path} fits this network: it is of another backbone or width")
    network.load_state_dict(fitting, strict=False)
    return f"{len(fitting)} of {len(state)} tensors from {path}"


def weights_digest(path: Path) -> str:
    """SHA-256 of a weights file, or a bundle's fingerprint.

    Raises:
        ConfigError: there is no such file.
        BundleError: the folder is no bundle.
    """
    if path.is_dir():
        return Bundle.open(path).fingerprint.hex()
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise ConfigError(f"cannot read the weights {path}: {error.strerror}") from None


def licences_of(path: Path) -> tuple[Licence, ...]:
    """The licences in a weights file or a bundle.

    Raises:
        ConfigError: there is no such file, or it is damaged.
        BundleError: the folder is no bundle, or it is damaged.
    """
    if path.is_dir():
        return Bundle.open(path).licences()
    try:
        with path.open("rb") as file:
            return read_licences(file)
    except (OSError, ConfigError) as error:
        raise ConfigError(f"{path} is no weights file ({error})") from None


def _read(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise ConfigError(f"{path} is no weights file ({error})") from None


def _read_bundle(bundle: Bundle) -> dict[str, Tensor]:
    with torch.device("meta"):  # for its names alone
        names = _names(SplitNetwork(bundle.manifest.network))
    halves = {"edge": bundle.weights("head"), "cloud": bundle.weights("tail")}
    stored: dict[str, Tensor] = {}
    for old, new in names.items():
        half, _, rest = old.partition(".")
        if rest in halves[half]:
            stored[new] = torch.from_numpy(halves[half][rest]).float()
    return stored


def _names(network: SplitNetwork) -> dict[str, str]:
    """Map the network's own names to those on disk."""
    before = backbone_blocks_before(network.spec)
    names: dict[str, str] = {}
    for old in network.state_dict():
        _, part, rest = old.split(".", 2)
        if not network.spec.backbone_at_edge and part in ("embedding", "head"):
            names[old] = f"light.{part}.{rest}"
        elif part == "head" and int(rest.split(".", 2)[1]) >= before:
            names[old] = f"light.{part}.{rest}"  # a deep encoder's convolutions, behind the backbone's blocks
        elif part in ("head", "tail"):
            _, position, rest = rest.split(".", 2)
            names[old] = f"backbone.{int(position) + (before if part == 'tail' else 0)}.{rest}"
        else:
            names[old] = f"{part}.{rest}"
    return names
