"""How several processes share the cores."""

from __future__ import annotations

import pytest

from cloud_server.supervisor import share_of_cores


@pytest.mark.parametrize(
    ("cores", "shares"),
    [
        (range(4), [[0, 1], [2, 3]]),
        (range(5), [[0, 1], [2, 3, 4]]),
        (range(2, 5), [[2], [3], [4]]),
        ([7], [[7], [7], [7]]),
        ([0, 1], [[0], [1], [0]]),
    ],
)
def test_each_process_has_its_share(cores: list[int], shares: list[list[int]]) -> None:
    assert [share_of_cores(list(cores), place, len(shares)) for place in range(len(shares))] == shares
