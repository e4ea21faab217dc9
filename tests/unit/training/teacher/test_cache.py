from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from shared.errors import ConfigError
from shared.licences import Licence
from shared.manifest import Normalisation
from tests.unit.training.teacher.teachers import write_onnx
from training.augment_recipe import AugmentRecipe
from training.batches import Batches
from training.data import Samples, TrainingData
from training.device import Machine
from training.recipe import StageRecipe
from training.teacher import cache
from training.teacher.cache import teacher_answers, teacher_licence
from training.teacher.classifier import Classifier

N, SIDE = 150, 8
HERE = Machine(torch.device("cpu"), bfloat16=False)
AUGMENT = AugmentRecipe(shift=2, mirror=True)


def samples(count: int = N) -> Samples:
    """Whose classes are colours, and whose brightness differs."""
    random = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 3, (count,), generator=random)
    frames = torch.randint(0, 60, (count, 3, SIDE, SIDE), generator=random, dtype=torch.uint8)
    frames[torch.arange(count), labels] += 180
    return Samples(frames, labels)


@pytest.fixture
def data() -> TrainingData:
    train = samples()
    few = Samples(train.frames[:4], train.labels[:4])
    return TrainingData(train, few, few, ("r", "g", "b"), Normalisation(1 / 255, (0.0,) * 3, (1.0,) * 3), False)


@pytest.fixture
def stage(tmp_path: Path) -> StageRecipe:
    path = write_onnx(tmp_path / "teacher.onnx")
    plain = {"teacher_mean": (0.0,) * 3, "teacher_std": (1.0,) * 3}
    return StageRecipe("backbone", 6, 0.1, batch_size=50, distill=1.0, teacher=str(path), augment=AUGMENT, **plain)


def test_every_batch_gets_the_answers_to_what_it_shows(tmp_path: Path, data: TrainingData, stage: StageRecipe) -> None:
    answers = teacher_answers(stage, data, tmp_path, HERE)
    assert answers.logits.shape == (4, N, 3)
    assert answers.logits.dtype == np.float16
    batches = Batches(data.train, data.normalisation, stage, 3, 0, "static", teacher=answers)
    seen = set()
    for epoch in range(5):
        for frames, labels, said in batches.epoch(epoch):
            assert said is not None
            torch.testing.assert_close(said, frames.mean((2, 3)), atol=1e-3, rtol=1e-3)
            assert torch.equal(said.argmax(1), labels)
            seen |= {tuple(row) for row in said.tolist()}
    assert N < len(seen) <= 4 * N, "several views of a picture, and no more than were asked about"
    again = [said for _, _, said in batches.epoch(4, 1)]
    assert all(torch.equal(a, b[2]) for a, b in zip(again, list(batches.epoch(4))[1:], strict=True))


def test_what_is_erased_is_erased_for_the_network_alone(tmp_path: Path, data: TrainingData, stage: StageRecipe) -> None:
    erasing = replace(stage, augment=replace(AUGMENT, erase=5, erase_until=1))
    one, other = (teacher_answers(each, data, tmp_path, HERE) for each in (stage, erasing))
    assert np.array_equal(one.logits, other.logits)
    assert len(list((tmp_path / "teachers").iterdir())) == 1, "one file serves both"
    batches = Batches(data.train, data.normalisation, erasing, 3, 0, "static", teacher=other)
    gaps = [max(float((said - frames.mean((2, 3))).max()) for frames, _, said in batches.epoch(e)) for e in (0, 1)]
    assert gaps[0] > 0.1 > 0.01 > gaps[1]


def test_a_teacher_without_views_sees_every_batch_as_the_network_does(
    tmp_path: Path, data: TrainingData, stage: StageRecipe
) -> None:
    everything = replace(AUGMENT, zoom=1.5, erase=5, mix=True)
    live = replace(stage, teacher_views=0, label_weight=0.0, augment=everything)
    batches = Batches(
        data.train, data.normalisation, live, 3, 0, "static", teacher=Classifier(live, 3, torch.device("cpu"))
    )
    seen = set()
    for epoch in range(2):
        for frames, _, said in batches.epoch(epoch):
            assert said is not None
            torch.testing.assert_close(said, frames.mean((2, 3)), atol=1e-3, rtol=1e-3)
            seen |= {tuple(row) for row in said.tolist()}
    assert len(seen) == 2 * N, "nothing is shown twice"
    again = [said for _, _, said in batches.epoch(1, 1)]
    assert all(torch.equal(a, b[2]) for a, b in zip(again, list(batches.epoch(1))[1:], strict=True))


def test_a_killed_run_asks_for_the_rest_alone(
    tmp_path: Path, data: TrainingData, stage: StageRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = teacher_answers(stage, data, tmp_path / "whole", HERE).logits
    asked: list[int] = []

    class Watched(Classifier):
        def logits(self, pictures: torch.Tensor) -> torch.Tensor:
            if len(asked) == 3:
                raise KeyboardInterrupt
            asked.append(len(pictures))
            return super().logits(pictures)

    monkeypatch.setattr(cache, "Classifier", Watched)
    with pytest.raises(KeyboardInterrupt):
        teacher_answers(stage, data, tmp_path / "killed", HERE)
    assert not list((tmp_path / "killed/teachers").glob("*[0-9a-f].npy"))
    before, asked[:] = sum(asked), []
    monkeypatch.setattr(cache, "BATCH", 1000)
    resumed = teacher_answers(stage, data, tmp_path / "killed", HERE).logits
    assert before + sum(asked) == 4 * N
    np.testing.assert_array_equal(resumed, whole)
    monkeypatch.delattr(cache, "Classifier")  # not needed any more
    np.testing.assert_array_equal(teacher_answers(stage, data, tmp_path / "killed", HERE).logits, whole)


def test_other_answers_lie_elsewhere(tmp_path: Path, data: TrainingData, stage: StageRecipe) -> None:
    fewer = TrainingData(samples(90), data.held_out, data.test, data.class_names, data.normalisation, False)
    for changed, of in [
        (stage, data),
        (replace(stage, teacher_views=2), data),
        (replace(stage, augment=AugmentRecipe(shift=1, mirror=True)), data),
        (replace(stage, teacher_mean=(0.5,) * 3), data),
        (stage, fewer),
    ]:
        answers = teacher_answers(changed, of, tmp_path, HERE)
        assert answers.logits.shape[:2] == (changed.teacher_views, len(of.train))
    assert len(list((tmp_path / "teachers").iterdir())) == 5


def test_a_teacher_that_is_mostly_wrong_is_doubted(
    tmp_path: Path, data: TrainingData, stage: StageRecipe, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", "neucodex.train"):
        teacher_answers(stage, data, tmp_path, HERE)
    assert "knows 100.00 %" in caplog.text
    assert "order of its classes" not in caplog.text
    shuffled = write_onnx(tmp_path / "shuffled.onnx", weights=np.eye(3)[[1, 2, 0]])
    teacher_answers(replace(stage, teacher=str(shuffled)), data, tmp_path, HERE)
    assert "order of its classes" in caplog.text


def test_a_damaged_file_is_refused(tmp_path: Path, data: TrainingData, stage: StageRecipe) -> None:
    teacher_answers(stage, data, tmp_path, HERE)
    (file,) = (tmp_path / "teachers").iterdir()
    file.write_bytes(b"junk")
    with pytest.raises(ConfigError, match="delete it"):
        teacher_answers(stage, data, tmp_path, HERE)


def test_a_teachers_licence_is_its_own_or_the_recipes(tmp_path: Path, stage: StageRecipe) -> None:
    assert teacher_licence(stage) == ()
    assert teacher_licence(StageRecipe("backbone", 1, 0.1)) == ()
    own = write_onnx(tmp_path / "own.onnx", source="Net, trained by us", licence="MIT License")
    assert teacher_licence(replace(stage, teacher=str(own))) == (
        Licence("Net, trained by us", "MIT License", "teacher"),
    )
    (tmp_path / "LICENSE").write_text("Apache License")
    named = replace(stage, teacher=str(own), teacher_licence=str(tmp_path / "LICENSE"))
    assert teacher_licence(named) == (Licence("own.onnx", "Apache License", "teacher"),)
