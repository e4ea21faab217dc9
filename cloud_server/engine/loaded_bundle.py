"""Everything that belongs to one served bundle."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from cloud_server.config import CloudConfig
from cloud_server.engine.scheduler import Scheduler
from cloud_server.engine.work import Work
from cloud_server.tails.base import Slots, Tail
from cloud_server.tails.factory import make_tail
from shared.bundle import Bundle
from shared.errors import ConfigError
from shared.execution import Execution
from shared.spike_codec import Past, SpikeCodec

LaneKey = tuple[bytes, Execution]
"""A bundle's fingerprint and one of its executions."""


@dataclass(eq=False)
class Lane:
    """A bundle's codec, network, slots and queue, and its name in metrics and messages.

    `batch_seconds` is how long its batches take of late; the engine keeps it, for advice on when to try again.
    `barren` is how many of them in a row have answered nothing; the engine's too.
    `pasts` holds for each row what the codec must know of the frames that are committed there; it is the engine's too.
    """

    name: str
    fingerprint: bytes
    execution: Execution
    timesteps: int
    codec: SpikeCodec
    tail: Tail
    slots: Slots[Any]
    scheduler: Scheduler[Work]
    batch_seconds: float = field(default=0.0)
    barren: int = 0
    pasts: dict[int, Past] = field(default_factory=dict)

    @property
    def key(self) -> LaneKey:
        """What an edge's Open asks for."""
        return self.fingerprint, self.execution

    @property
    def retry_after_ms(self) -> int:
        """When a slot may be free again: about as long as a sample takes all its timesteps, within 10 ms to 1 s."""
        return round(min(max(self.batch_seconds * self.timesteps, 0.01), 1.0) * 1000)


def lane_key(bundle: Bundle) -> LaneKey:
    """The key of the lane that a bundle gets."""
    return bundle.fingerprint, bundle.execution


def load_lane(bundle: Bundle, name: str, config: CloudConfig) -> Lane:
    """Load a bundle's tail and allocate its slots.

    Raises:
        BundleError: its tail or its codec's tables are missing, damaged or do not fit the manifest.
        ConfigError: there is no memory for so many slots.
    """
    manifest = bundle.manifest
    tail = make_tail(bundle, config)
    try:
        slots = tail.slots(config.slots)
    except (MemoryError, RuntimeError) as error:  # torch's out-of-memory errors are RuntimeErrors
        raise ConfigError(f"no memory for {config.slots} slots of bundle {name}: lower --slots ({error})") from None
    timesteps = manifest.network.timesteps
    # A sample can have all its frames waiting, once each: what comes beyond that is refused before it is queued.
    bound = config.max_queue if config.max_queue is not None else config.slots * timesteps
    scheduler: Scheduler[Work] = Scheduler(min(config.max_batch, config.slots), bound, config.max_wait)
    codec = SpikeCodec.of(bundle)
    return Lane(name, bundle.fingerprint, bundle.execution, timesteps, codec, tail, slots, scheduler)


def lane_names(bundles: Sequence[Bundle], taken: Iterable[str] = ()) -> list[str]:
    """A name for each: the manifest's, with the fingerprint's beginning where another bundle has the same name, and
    with the execution where it is not the bundle's default.

    Args:
        bundles: different ones, or different executions of one.
        taken: names that are used already.
    """
    named = Counter(name for name, _ in {(bundle.manifest.name, bundle.fingerprint) for bundle in bundles})
    named.update(taken)
    return [_lane_name(bundle, unique=named[bundle.manifest.name] == 1) for bundle in bundles]


def _lane_name(bundle: Bundle, *, unique: bool) -> str:
    manifest = bundle.manifest
    name = manifest.name if unique else f"{manifest.name}-{bundle.fingerprint.hex()[:8]}"
    return name if bundle.execution == manifest.default_execution else f"{name}-{bundle.execution}"
