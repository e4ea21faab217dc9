from dataclasses import replace
from pathlib import Path

import pytest
import torch

from shared.bundle_writer import write_bundle
from shared.errors import ConfigError
from shared.licences import Licence
from shared.models.load import load_cloud, load_edge
from shared.models.split import SplitNetwork
from shared.network_spec import BottleneckSpec, NetworkSpec
from tests.support.bundles import make_bundle
from training.weights import licences_of, load_weights, save_weights, take_what_fits, weights_digest

SPEC = NetworkSpec("resnet18", (1, 16, 16), 4, "layer1", width=4)
PICTURES = torch.rand(2, 1, 16, 16, generator=torch.Generator().manual_seed(0))


def make(seed: int, **changes: object) -> SplitNetwork:
    torch.manual_seed(seed)
    return SplitNetwork(replace(SPEC, **changes)).eval()  # type: ignore[arg-type]


@torch.no_grad()
def test_a_backbone_serves_every_split(tmp_path: Path) -> None:
    trained = make(0)
    save_weights(trained, tmp_path / "w.safetensors")
    for split in ("stem", "layer1", "layer3", "layer4"):
        other = make(1, split=split)
        load_weights(other, tmp_path / "w.safetensors")
        torch.testing.assert_close(other(PICTURES), trained(PICTURES))


def test_a_bottleneck_that_is_new_keeps_its_own_weights(tmp_path: Path) -> None:
    save_weights(make(0), tmp_path / "w.safetensors")
    compressed = make(1, bottleneck=BottleneckSpec(2, 2))
    before = {name: value.clone() for name, value in compressed.edge.encoder.state_dict().items()}
    load_weights(compressed, tmp_path / "w.safetensors")
    assert all(torch.equal(value, before[name]) for name, value in compressed.edge.encoder.state_dict().items())
    assert torch.equal(compressed.cloud.readout.linear.weight, make(0).cloud.readout.linear.weight)


@pytest.mark.parametrize("changes", [{"width": 8}, {"backbone": "vgg16", "split": "block1"}, {"classes": 5}])
def test_another_networks_weights_are_refused(tmp_path: Path, changes: dict[str, object]) -> None:
    save_weights(make(0), tmp_path / "w.safetensors")
    with pytest.raises(ConfigError, match="another network"):
        load_weights(make(1, **changes), tmp_path / "w.safetensors")


def test_transfer_takes_all_but_the_readout(tmp_path: Path) -> None:
    trained = make(0)
    save_weights(trained, tmp_path / "w.safetensors")
    other = make(1, classes=7, split="layer2")
    said = take_what_fits(other, tmp_path / "w.safetensors")
    total = len(other.state_dict())
    assert said.startswith(f"{total - 2} of {total} tensors")
    assert torch.equal(other.edge.embedding[0].weight, trained.edge.embedding[0].weight)


def test_a_bundle_is_something_to_begin_with(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle")
    other = SplitNetwork(replace(bundle.manifest.network, bottleneck=None, split="layer3"))
    said = take_what_fits(other, bundle.path)
    counters = sum(name.endswith("num_batches_tracked") for name in other.state_dict())
    total = len(other.state_dict())
    assert said.startswith(f"{total - counters} of {total} tensors")
    assert torch.equal(other.edge.embedding[0].weight, load_edge(bundle).embedding[0].weight)
    assert torch.equal(other.cloud.readout.linear.weight, load_cloud(bundle).readout.linear.weight)
    assert weights_digest(bundle.path) == bundle.fingerprint.hex()


def test_nothing_fits_and_nothing_is_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no weights file"):
        take_what_fits(make(0), tmp_path / "none.safetensors")
    with pytest.raises(ConfigError, match="cannot read"):
        weights_digest(tmp_path / "none.safetensors")
    (tmp_path / "junk.safetensors").write_bytes(b"junk" * 10)
    with pytest.raises(ConfigError, match="no weights file"):
        load_weights(make(0), tmp_path / "junk.safetensors")


def test_licences_travel_from_file_to_file_and_from_a_bundle(tmp_path: Path) -> None:
    theirs = (Licence("ResNet-18, from a package", "MIT License"),)
    save_weights(make(0), tmp_path / "w.safetensors", theirs)
    load_weights(make(1), tmp_path / "w.safetensors")
    assert licences_of(tmp_path / "w.safetensors") == theirs
    bundle = make_bundle(tmp_path / "bundle")
    assert licences_of(bundle.path) == ()
    write_bundle(bundle.path, bundle.manifest, bundle.weights("head"), bundle.weights("tail"), theirs)
    assert licences_of(bundle.path) == theirs
    with pytest.raises(ConfigError, match="no weights file"):
        licences_of(tmp_path / "none.safetensors")
