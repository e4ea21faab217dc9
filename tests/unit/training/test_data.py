"""What a recipe's samples are cut into."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edge_client.inputs.pictures import PictureReader
from shared.bundle import Bundle
from shared.bundle_writer import write_bundle
from shared.datasets.event_collector import make_events
from shared.errors import ConfigError, SourceError
from shared.network_spec import NetworkSpec
from tests.support.bundles import make_bundle
from tests.support.recordings import write_bin
from tests.unit.edge_client.manifests import manifest
from training.collect_spikes import bundle_samples
from training.data import TrainingData, bundle_data, load_parts
from training.datasets.folder import load_folder
from training.recipe import DataRecipe

FOLDER = DataRecipe(name="folder", held_out=40)
SPEC = NetworkSpec(backbone="resnet18", input_shape=(1, 8, 8), classes=2, split="layer1", width=4)


def make_pictures(root: Path, **classes: int) -> Path:
    """A folder of pictures; which one it is stands in each."""
    for label, (name, count) in enumerate(classes.items()):
        (root / name).mkdir(parents=True)
        for number in range(count):
            pixels = np.full((8, 8), number + 100 * label, np.uint8)
            Image.fromarray(pixels).save(root / name / f"{number:03d}.png")
    return root


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    return make_pictures(tmp_path / "pictures", cats=100, dogs=100)


def load(pictures: Path, seed: int = 0) -> TrainingData:
    return load_parts(FOLDER, SPEC, seed, pictures)


def test_no_sample_is_in_two_parts(pictures: Path) -> None:
    data = load(pictures)
    seen = [value for part in (data.train, data.held_out, data.test) for value in part.frames[:, 0, 0, 0].tolist()]
    assert sorted(seen) == list(range(200))
    assert [len(part) for part in (data.train, data.held_out, data.test)] == [120, 40, 40]


def test_held_out_samples_of_a_set_in_order_of_class_are_mixed(pictures: Path) -> None:
    held_out = load(pictures).held_out.labels
    assert held_out.bincount().tolist() == [20, 20]
    # The first fifth gives the temperature, the others the threshold: both have to be drawn alike.
    assert held_out[:8].bincount(minlength=2).min() > 0
    assert held_out[8:].bincount(minlength=2).min() > 0


def test_the_seed_decides_what_is_held_out(pictures: Path) -> None:
    assert load(pictures).held_out.frames.equal(load(pictures).held_out.frames)
    assert not load(pictures).held_out.frames.equal(load(pictures, seed=1).held_out.frames)


def test_a_picture_more_is_another_digest(pictures: Path) -> None:
    before = load(pictures).digest
    assert load(pictures).digest == before
    Image.fromarray(np.full((8, 8), 255, np.uint8)).save(pictures / "cats/extra.png")
    assert load(pictures).digest != before


def test_another_name_of_a_class_is_another_digest(pictures: Path) -> None:
    before = load(pictures).digest
    (pictures / "dogs").rename(pictures / "hounds")
    assert load(pictures).digest != before


def say_made_with(bundle: Bundle, **provenance: object) -> Bundle:
    """The bundle, which now says what it was made with."""
    manifest = replace(bundle.manifest, provenance=provenance)
    return write_bundle(bundle.path, manifest, bundle.weights("head"), bundle.weights("tail"))


def test_a_bundle_knows_its_samples_again(pictures: Path, tmp_path: Path) -> None:
    data = load(pictures)
    silent = make_bundle(tmp_path / "bundle", input_shape=(1, 8, 8), classes=2)
    bundle = say_made_with(silent, data={"name": "folder", "held_out": 40}, seed=0, data_digest=data.digest)
    assert bundle_data(bundle, pictures).held_out.frames.equal(data.held_out.frames)
    (pictures / "cats/000.png").unlink()
    with pytest.raises(ConfigError, match="other samples than folder has now"):
        bundle_data(bundle, pictures)


def test_a_partial_set_stands_in_for_the_whole_one_where_it_may(tmp_path: Path) -> None:
    for part in ("Train", "Test"):
        path = tmp_path / "N-MNIST" / part / "3/00001.bin"
        path.parent.mkdir(parents=True)
        write_bin(path, make_events([3, 4], [3, 4], [1, 1], [0, 1]))
    silent = make_bundle(tmp_path / "bundle", input_shape=(2, 34, 34), input_kind="events")
    made_with = {"name": "nmnist", "held_out": 6000, "binning": "time"}
    bundle = say_made_with(silent, data=made_with, seed=0, data_digest="of the whole set")
    with pytest.raises(SourceError, match="1 of 60000 recordings"):
        bundle_samples(bundle, None, tmp_path)
    train, test = bundle_samples(bundle, None, tmp_path, allow_partial=True)
    assert train.shape == test.shape == (1, 4, 2, 34, 34)


def test_hidden_files_and_folders_are_left_out(pictures: Path, caplog: pytest.LogCaptureFixture) -> None:
    before = load(pictures).digest
    (pictures / "cats/._000.png").write_bytes(b"\0\5\x16\7")
    (pictures / ".ipynb_checkpoints").mkdir()
    (pictures / "dogs/.ipynb_checkpoints").mkdir()
    (pictures / "dogs/x.png").mkdir()
    (pictures / "dogs/notes.txt").write_text("")
    caplog.set_level("INFO")
    assert load(pictures).digest == before
    (message,) = caplog.messages
    assert "1 hidden (" in message
    assert "2 hidden folders (" in message
    assert "notes.txt" in message


def test_training_reads_a_picture_as_the_edge_does(tmp_path: Path) -> None:
    """16 bits, and endings that Pillow reads beside the common ones."""
    for name in ("dark", "light"):
        (tmp_path / name).mkdir()
        for number in range(5):
            value = (number + 10 * (name == "light")) * 4096
            Image.fromarray(np.full((8, 8), value, np.uint16)).save(tmp_path / name / f"{number}.png")
    Image.fromarray(np.full((8, 8), 200, np.uint8)).save(tmp_path / "light/5.jfif", format="JPEG")
    found = load_folder(tmp_path, 8, 1)
    assert sorted(found.train.frames[:, 0, 0, 0].tolist()) == [0, 16, 32, 48, 160, 176, 192, 200, 208]
    reader = PictureReader(manifest((1, 8, 8), ("dark", "light")))
    for path in tmp_path.glob("*/*"):
        assert reader.read(path).tolist() in [*found.train.frames.tolist(), *found.test.frames.tolist()]


@pytest.mark.parametrize("name", [b"caf\xe9", b"red\x1b[31m"])
def test_a_class_whose_name_is_no_text_is_refused(tmp_path: Path, name: bytes) -> None:
    make_pictures(tmp_path, cats=5, dogs=5)
    os.rename(tmp_path / "cats", os.fsencode(tmp_path) + b"/" + name)  # noqa: PTH104  bytes
    with pytest.raises(SourceError, match=r"(caf\\udce9|red\\x1b\[31m): the name of this folder is no text"):
        load_folder(tmp_path, 8, 1)
