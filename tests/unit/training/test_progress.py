from __future__ import annotations

import logging

import pytest

from training.progress import Place, as_time
from training.recipe import StageRecipe

LINE = {"epoch": 3, "loss": 0.4321, "train_accuracy": 0.95, "held_out_accuracy": [0.5, 0.875], "seconds": 60.0}


def test_an_epoch_is_a_sentence_for_people_and_fields_for_json(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "neucodex.train"):
        Place(2, 4, StageRecipe("bottleneck", 10, 0.1)).log(LINE)
    (record,) = caplog.records
    assert record.getMessage() == (
        "stage 2 of 4 (bottleneck), epoch 3 of 10: loss 0.432, train accuracy 95.0 %, held-out accuracy 87.5 %; "
        "2 min left in this stage"
    )
    fields = vars(record)
    assert (fields["stage"], fields["stages"], fields["epochs"], fields["seconds_left"]) == (2, 4, 10, 140.0)
    assert fields["held_out_accuracy"] == [0.5, 0.875]


def test_the_last_epoch_says_how_long_the_stage_took(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "neucodex.train"):
        Place(1, 1, StageRecipe("backbone", 3, 0.1)).log(LINE)
    assert caplog.messages[0].endswith("; done in 60 s")


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.2, "1 s"), (89.0, "89 s"), (90.0, "2 min"), (5300.0, "88 min"), (7800.0, "2 h 10 min")]
)
def test_times_for_people(seconds: float, text: str) -> None:
    assert as_time(seconds) == text
