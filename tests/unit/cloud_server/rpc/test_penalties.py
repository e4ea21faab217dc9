"""How long wrong tokens wait."""

from __future__ import annotations

from cloud_server.rpc.penalties import FORGOTTEN_AFTER_S, LONGEST_WAIT_S, WAITING_OF_ALL, WAITING_OF_ONE, Penalties


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_each_failure_waits_longer_until_the_address_is_quiet_for_a_while() -> None:
    clock = Clock()
    penalties = Penalties(clock)
    waits = []
    for _ in range(10):
        waits.append(penalties.begin("192.0.2.1"))
        penalties.end("192.0.2.1")
    assert waits[:4] == [0.05, 0.1, 0.2, 0.4]
    assert waits[-1] == LONGEST_WAIT_S
    assert penalties.begin("192.0.2.2") == 0.05, "another address is another matter"
    clock.now += FORGOTTEN_AFTER_S + 1
    assert penalties.begin("192.0.2.1") == 0.05


def test_many_failures_of_an_address_at_once_are_too_many() -> None:
    penalties = Penalties(Clock())
    for _ in range(WAITING_OF_ONE):
        assert not penalties.is_full("192.0.2.1")
        penalties.begin("192.0.2.1")
    assert penalties.is_full("192.0.2.1")
    assert not penalties.is_full("192.0.2.2")
    penalties.end("192.0.2.1")
    assert not penalties.is_full("192.0.2.1")


def test_what_waits_is_bounded_and_what_is_remembered_too() -> None:
    penalties = Penalties(Clock())
    waits = [penalties.begin(str(number)) for number in range(WAITING_OF_ALL + 2)]
    assert waits[0] > 0.0
    assert waits[-1] == 0.0
    for number in range(WAITING_OF_ALL + 2):
        penalties.end(str(number))
    for number in range(6000):
        penalties.begin(f"other {number}")
        penalties.end(f"other {number}")
    assert len(penalties._records) == 4096
