from pathlib import Path

import numpy as np
import pytest
import torch

from shared.errors import ConfigError
from tests.unit.training.teacher.teachers import write_onnx, write_torchscript
from training.recipe import StageRecipe
from training.teacher.classifier import Classifier, resize

CPU = torch.device("cpu")
PLAIN = {"teacher_mean": (0.0,) * 3, "teacher_std": (1.0,) * 3}
PICTURES = torch.randint(0, 256, (5, 3, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
MEANS = PICTURES.float().mean((2, 3)) / 255.0


def ask(path: Path, pictures: torch.Tensor = PICTURES, classes: int = 3, **fields: object) -> torch.Tensor:
    stage = StageRecipe("backbone", 1, 0.1, distill=1.0, teacher=str(path), **fields)  # type: ignore[arg-type]
    return Classifier(stage, classes, CPU).logits(pictures)


def test_pixels_are_normalised_by_colour(tmp_path: Path) -> None:
    path = write_onnx(tmp_path / "t.onnx")
    torch.testing.assert_close(ask(path, **PLAIN), MEANS)
    usual = (MEANS - torch.tensor((0.485, 0.456, 0.406))) / torch.tensor((0.229, 0.224, 0.225))
    torch.testing.assert_close(ask(path), usual)
    bytes_in_float = {"teacher_mean": (0.0,) * 3, "teacher_std": (1 / 255,) * 3}
    torch.testing.assert_close(ask(path, **bytes_in_float), MEANS * 255)


@pytest.mark.parametrize("shape", [(1, 3, 8, 8), (4, 3, 8, 8), ("batch", 8, 8, 3), ("b", 3, "h", "w")])
def test_batches_and_layouts(tmp_path: Path, shape: tuple[int | str, ...]) -> None:
    side = {} if isinstance(shape[2], int) else {"teacher_side": 8}
    torch.testing.assert_close(ask(write_onnx(tmp_path / "t.onnx", shape), **PLAIN, **side), MEANS)


def test_graphs_of_other_types(tmp_path: Path) -> None:
    torch.testing.assert_close(ask(write_onnx(tmp_path / "u.onnx", kind="uint8")), MEANS * 255)
    half = ask(write_onnx(tmp_path / "h.onnx", kind="float16"), **PLAIN)
    torch.testing.assert_close(half, MEANS, atol=1e-3, rtol=0.0)
    with pytest.raises(ConfigError, match="no effect"):
        ask(tmp_path / "u.onnx", **PLAIN)


def test_probabilities_become_logits(tmp_path: Path) -> None:
    weights = np.random.default_rng(0).normal(size=(3, 4)) * 5
    logits = ask(write_onnx(tmp_path / "l.onnx", weights=weights), classes=4)
    from_probabilities = ask(write_onnx(tmp_path / "p.onnx", weights=weights, softmax=True), classes=4)
    torch.testing.assert_close(logits.softmax(1), from_probabilities.softmax(1), atol=1e-5, rtol=1e-3)
    assert from_probabilities.min() < 0.0


def test_torchscript(tmp_path: Path) -> None:
    path = write_torchscript(tmp_path / "t.ts")
    torch.testing.assert_close(ask(path, **PLAIN, teacher_side=8), MEANS)
    with pytest.raises(ConfigError, match="set teacher_side"):
        ask(path)


def test_a_grey_picture_is_shown_in_colours_or_as_it_is(tmp_path: Path) -> None:
    grey = PICTURES[:, :1]
    in_colours = ask(write_onnx(tmp_path / "c.onnx"), grey, **PLAIN)
    torch.testing.assert_close(in_colours, MEANS[:, :1].expand(-1, 3))
    one = write_onnx(tmp_path / "g.onnx", ("b", 1, 8, 8), weights=np.ones((1, 3)))
    torch.testing.assert_close(ask(one, grey, teacher_mean=(0.0,), teacher_std=(1.0,)), in_colours)


def test_pictures_are_resized(tmp_path: Path) -> None:
    even = torch.full((2, 3, 5, 5), 90, dtype=torch.uint8)
    torch.testing.assert_close(ask(write_onnx(tmp_path / "t.onnx"), even, **PLAIN), torch.full((2, 3), 90 / 255))
    assert resize(even, (7, 9)).shape == (2, 3, 7, 9)
    assert (resize(even, (3, 3)) == 90).all()
    edge = torch.zeros(1, 1, 4, 4, dtype=torch.uint8)
    edge[..., 2:] = 255
    assert set(resize(edge, (16, 16))[..., 0].flatten().tolist()) == {0}, "what overshoots is cut, not wrapped around"


@pytest.mark.parametrize(
    ("fields", "classes", "named"),
    [
        ({}, 4, "gives .3,. numbers a picture, network.classes is 4"),
        ({"teacher_side": 16}, 3, "takes 8 x 8 pixels, teacher_side is 16"),
        ({"teacher_mean": (0.0,), "teacher_std": (1.0,)}, 3, "cannot answer for 1 x 8 x 8"),
    ],
)
def test_a_teacher_that_does_not_fit_is_refused(
    tmp_path: Path, fields: dict[str, object], classes: int, named: str
) -> None:
    with pytest.raises(ConfigError, match=named):
        ask(write_onnx(tmp_path / "t.onnx"), classes=classes, **fields)


@pytest.mark.parametrize("name", ["none.onnx", "junk.onnx", "junk.ts"])
def test_a_file_that_is_no_teacher(tmp_path: Path, name: str) -> None:
    for junk in ("junk.onnx", "junk.ts"):
        (tmp_path / junk).write_bytes(b"junk" * 10)
    with pytest.raises(ConfigError, match=name):
        ask(tmp_path / name)


def test_answers_that_are_no_numbers(tmp_path: Path) -> None:
    path = write_onnx(tmp_path / "t.onnx", weights=np.full((3, 3), np.inf))
    with pytest.raises(ConfigError, match="no finite numbers"):
        ask(path)
