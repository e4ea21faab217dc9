"""Pictures and data sets as samples; what is broken is named and does not stop the rest."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edge_client.inference.sample import Sample
from edge_client.input_config import InputConfig
from edge_client.inputs.base import Unreadable
from edge_client.inputs.convert import converter
from edge_client.inputs.factory import open_source
from edge_client.inputs.images import encoded_sizes
from shared.errors import ConfigError, SourceError
from shared.manifest import Manifest
from shared.pictures import read_picture
from tests.unit.edge_client.manifests import manifest

RGB = manifest((3, 16, 16), ("cat", "dog"))


def save(path: Path, size: tuple[int, int] = (16, 16), mode: str = "RGB", colour: object = 128) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if mode == "RGB" and colour == 128:
        colour = (10, 20, 30)
    Image.new(mode, size, colour).save(path)  # type: ignore[arg-type]
    return path


def take(inputs: InputConfig, of: Manifest = RGB) -> list[Sample | Unreadable]:
    return list(open_source(inputs, of))


def test_files_folders_and_patterns_each_picture_once(tmp_path: Path) -> None:
    for name in ("a.png", "b.jpg", "deep/er/c.bmp"):
        save(tmp_path / "folder" / name)
    (tmp_path / "folder" / "notes.txt").write_text("no picture")
    named = save(tmp_path / "odd.suffix.png").rename(tmp_path / "odd.scan")
    found = take(InputConfig((str(named), str(tmp_path / "folder"), str(tmp_path / "folder" / "*.png"))))
    assert [Path(item.name).name for item in found] == ["odd.scan", "a.png", "b.jpg", "c.bmp"]
    assert [item.id for item in found if isinstance(item, Sample)] == [0, 1, 2, 3]


def test_the_folder_is_the_label_where_it_is_a_class(tmp_path: Path) -> None:
    for folder in ("dog", "cat", "attic"):
        save(tmp_path / folder / "x.png")
    found = take(InputConfig((str(tmp_path),)))
    assert [(Path(item.name).parent.name, item.label) for item in found if isinstance(item, Sample)] == [
        ("attic", None),
        ("cat", 0),
        ("dog", 1),
    ]


def test_damaged_pictures_are_named_and_the_rest_goes_on(tmp_path: Path) -> None:
    whole = save(tmp_path / "1.png", (64, 64))
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "2.jpg")
    raw = (tmp_path / "2.jpg").read_bytes()
    (tmp_path / "2.jpg").write_bytes(raw[:200])  # before its first pixel
    (tmp_path / "3.png").write_bytes(b"")
    (tmp_path / "4.png").write_text("no picture at all")
    (tmp_path / "5.png").write_bytes(whole.read_bytes()[:40])
    save(tmp_path / "6.png")
    found = take(InputConfig((str(tmp_path),)))
    assert [isinstance(item, Sample) for item in found] == [True, False, False, False, False, True]
    assert [Path(item.name).name for item in found] == [p.name for p in sorted(tmp_path.iterdir())]
    assert all(item.reason and "\n" not in item.reason for item in found if isinstance(item, Unreadable))


@pytest.mark.parametrize("name", ["7.png", "*.gif", "folder/7.png"])
def test_a_name_that_stands_for_nothing_is_an_error_before_anything_is_read(tmp_path: Path, name: str) -> None:
    save(tmp_path / "1.png")
    with pytest.raises(SourceError, match="no such file, and no pattern that matches one"):
        take(InputConfig((str(tmp_path), str(tmp_path / name))))


def test_a_folder_without_pictures_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no picture in folder"):
        take(InputConfig((str(tmp_path),)))


@pytest.mark.parametrize("size", [(16, 16), (40, 20), (20, 40), (8, 8), (17, 31)])
@pytest.mark.parametrize("channels", [1, 3])
def test_pictures_of_any_size_get_the_shape_of_the_bundle(tmp_path: Path, size: tuple[int, int], channels: int) -> None:
    frames = read_picture(save(tmp_path / "x.png", size), (channels, 16, 16))
    assert frames.shape == (channels, 16, 16)
    assert frames.dtype == np.uint8
    assert frames.flags.c_contiguous


def test_the_centre_is_kept(tmp_path: Path) -> None:
    wide = np.zeros((16, 48, 3), np.uint8)
    wide[:, 16:32] = (255, 0, 7)
    Image.fromarray(wide).save(tmp_path / "x.png")
    frames = read_picture(tmp_path / "x.png", (3, 16, 16))
    assert [int(plane.mean()) for plane in frames] == [255, 0, 7]


def test_a_bundle_that_stretches_pictures_keeps_all_of_them(tmp_path: Path) -> None:
    wide = np.zeros((16, 48, 3), np.uint8)
    wide[:, 16:32] = 255
    Image.fromarray(wide).save(tmp_path / "x.png")
    stretching = replace(RGB, fit="stretch")
    (sample,) = take(InputConfig((str(tmp_path / "x.png"),)), stretching)
    assert isinstance(sample, Sample)
    np.testing.assert_array_equal(sample.pixels, converter(stretching).pixels(wide))
    assert sample.pixels[:, :, 0].max() == 0
    assert sample.pixels[:, :, 8].min() == 255


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK"])
def test_every_mode_is_converted(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "x.tiff"
    Image.new("RGB", (16, 16), (255, 255, 255)).convert(mode).save(path)
    assert read_picture(path, (3, 16, 16)).min() == 255
    assert read_picture(path, (1, 16, 16)).min() == 255


def test_sixteen_bit_grey_is_scaled_and_not_cut_off(tmp_path: Path) -> None:
    Image.fromarray(np.full((16, 16), 0x4080, np.uint16)).save(tmp_path / "x.png")
    assert (read_picture(tmp_path / "x.png", (1, 16, 16)) == 0x40).all()


def test_pictures_are_turned_upright(tmp_path: Path) -> None:
    pixels = np.zeros((16, 16, 3), np.uint8)
    pixels[:8] = 255
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    Image.fromarray(pixels).save(tmp_path / "x.png", exif=exif)
    frames = read_picture(tmp_path / "x.png", (1, 16, 16))
    assert (frames[0, 8:] == 255).all()
    assert (frames[0, :8] == 0).all()


def test_nothing_is_read_beyond_the_limit(tmp_path: Path) -> None:
    for digit, content in enumerate((bytes(50), b"damaged")):
        path = tmp_path / "N-MNIST" / "Test" / str(digit) / "00001.bin"
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
    of_events = manifest((2, 34, 34), input_kind="events")
    first, both = (
        open_source(InputConfig(dataset="nmnist", data=tmp_path, allow_partial=True, limit=limit), of_events)
        for limit in (1, 2)
    )
    assert len(list(first)) == 1
    with pytest.raises(SourceError, match="damaged"):
        list(both)


def test_limit_counts_samples(tmp_path: Path) -> None:
    for number in range(5):
        save(tmp_path / f"{number}.png")
    source = open_source(InputConfig((str(tmp_path),), limit=3), RGB)
    assert source.count == 3
    assert len(list(source)) == 3


def test_the_embedded_digits_are_the_held_out_part() -> None:
    source = open_source(InputConfig(dataset="digits"), manifest())
    samples = [item for item in source if isinstance(item, Sample)]
    assert source.count == len(samples) == 360
    assert {sample.label for sample in samples} == set(range(10))
    assert samples[0].pixels.shape == (1, 16, 16)
    assert samples[7].name == "digits/test/7"
    assert not source.simulated


def test_the_official_cifar10_layout(tmp_path: Path) -> None:
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    generator = np.random.default_rng(0)
    records = generator.integers(0, 256, (10_000, 3073), np.uint8)
    records[:, 0] %= 10
    records.tofile(folder / "test_batch.bin")
    names = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
    source = open_source(InputConfig(dataset="cifar10", data=tmp_path, limit=5), manifest((3, 32, 32), names))
    samples = [item for item in source if isinstance(item, Sample)]
    assert [sample.label for sample in samples] == records[:5, 0].tolist()
    assert (samples[4].pixels == records[4, 1:].reshape(3, 32, 32)).all()


def test_labels_go_by_name_and_not_by_position() -> None:
    inputs = InputConfig(dataset="digits", limit=50)
    there, back = (
        [item.label for item in open_source(inputs, manifest(class_names=names)) if isinstance(item, Sample)]
        for names in (tuple("0123456789"), tuple("9876543210"))
    )
    assert len(there) == 50
    assert all(one is not None and other == 9 - one for one, other in zip(there, back, strict=True))


@pytest.mark.parametrize(
    ("inputs", "of", "message"),
    [
        (InputConfig(dataset="mnist9000"), manifest(), "no data set called 'mnist9000': known are digits"),
        (InputConfig(dataset="digits"), manifest((3, 16, 16)), "choose another bundle or set"),
        (InputConfig(dataset="digits"), manifest((2, 16, 16), input_kind="events"), "choose another bundle or set"),
        (InputConfig(dataset="digits"), manifest((1, 16, 18)), "choose another bundle or set"),
        (InputConfig(dataset="digits"), manifest(class_names=("cat", "dog")), "no class in common"),
        (InputConfig(dataset="nmnist"), manifest((2, 34, 34), input_kind="events"), "--data"),
        (InputConfig(("x.png",)), manifest((2, 34, 34), input_kind="events"), "recordings of events"),
    ],
)
def test_what_does_not_fit_is_said_before_anything_is_sent(inputs: InputConfig, of: Manifest, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        open_source(inputs, of)


def test_missing_files_of_a_data_set_are_named(tmp_path: Path) -> None:
    names = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
    with pytest.raises(SourceError, match="cifar-10-batches-bin"):
        open_source(InputConfig(dataset="cifar10", data=tmp_path), manifest((3, 32, 32), names))


@pytest.mark.parametrize("settings", [{}, {"images": ("x",), "dataset": "digits"}, {"images": ("x",), "limit": 0}])
def test_inputs_must_make_sense(settings: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        InputConfig(**settings)  # type: ignore[arg-type]


def test_sizes_of_the_same_picture() -> None:
    grey = np.zeros((1, 32, 32), np.uint8)
    noise = np.random.default_rng(0).integers(0, 256, (3, 32, 32), np.uint8)
    flat, rough = encoded_sizes(grey), encoded_sizes(noise)
    assert flat is not None
    assert rough is not None
    assert flat["png"] < 150
    assert rough["png"] > 3072
    assert rough["webp"] < rough["jpeg"] < rough["png"]
    assert encoded_sizes(np.zeros((4, 2, 32, 32), np.uint8)) is None
