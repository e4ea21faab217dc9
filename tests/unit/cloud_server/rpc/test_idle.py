from __future__ import annotations

from cloud_server.rpc.idle import IdleWatch


def test_the_longest_idle_expires_first_and_a_touch_starts_again() -> None:
    watch: IdleWatch[str] = IdleWatch(10.0)
    assert watch.next_expiry() is None
    assert watch.expired(100.0) == []
    for now, key in enumerate("abc"):
        watch.touch(key, float(now))
    watch.touch("a", 5.0)
    assert watch.next_expiry() == 11.0
    assert watch.expired(10.9) == []
    assert watch.expired(12.0) == ["b", "c"]
    assert watch.next_expiry() == 15.0
    watch.forget("a")
    watch.forget("a")
    assert len(watch) == 0
    assert watch.expired(99.0) == []
