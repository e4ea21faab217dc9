from __future__ import annotations

import pytest

from cloud_server.tails.base import buckets


@pytest.mark.parametrize(
    ("cap", "sizes"), [(1, (1,)), (2, (1, 2)), (5, (1, 2, 4, 5)), (8, (1, 2, 4, 8)), (32, (1, 2, 4, 8, 16, 32))]
)
def test_buckets(cap: int, sizes: tuple[int, ...]) -> None:
    assert buckets(cap) == sizes
