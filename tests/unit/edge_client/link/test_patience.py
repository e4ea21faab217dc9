"""How long a link waits for an answer that is due."""

from __future__ import annotations

import math

import pytest

from edge_client.link.patience import AnswerPatience


def patience(*answered_after_s: float, longest_s: float = 2.0) -> AnswerPatience:
    made = AnswerPatience(longest_s)
    for seconds in answered_after_s:
        made.answered(seconds)
    return made


@pytest.mark.parametrize(
    ("answered_after_s", "seconds"),
    [
        ([], 2.0),
        ([0.01] * 5, 1.0),
        ([0.3, 0.01], 4 * 0.99 * 0.3),
        ([0.6], 2.0),
        ([3.0], 6.0),
        ([3.0, *[0.1] * 500], 1.0),
    ],
)
def test_it_goes_by_the_slowest_answers(answered_after_s: list[float], seconds: float) -> None:
    assert patience(*answered_after_s).seconds == pytest.approx(seconds)


def test_each_stream_without_an_answer_doubles_it() -> None:
    made = patience()
    made.left()
    made.left()
    assert made.seconds == 8.0
    made.answered(0.1)
    assert made.seconds == 1.0


def test_it_may_be_short_or_have_no_end() -> None:
    assert patience(0.01, longest_s=0.3).seconds == 0.3
    assert patience(0.01, longest_s=math.inf).seconds == math.inf
