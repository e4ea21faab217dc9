"""Everything that belongs to one served bundle."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import torch

from cloud_server.config import CloudConfig
from cloud_server.engine.scheduler import Scheduler
from cloud_server.engine.work import Work
from cloud_server.tails.base import Tail
from cloud_server.tails.factory import make_tail
from cloud_server.tails.state_slots import StateSlots
from shared.bundle import Bundle
from shared.errors import ConfigError
from shared.spike_codec import Past, SpikeCodec


@dataclass(eq=False)
class Lane:
    """A bundle's codec, network, slots and queue, and its name in metrics and messages.

    `batch_seconds` is how long its batches take of late; the engine keeps it, for advice on when to try again.
    `barren` is how many of them in a row have answered nothing; the engine's too.
    `pasts` holds for each row what the codec must know of the frames that are committed there; it is the engine's too.
    """

    name: str
    fingerprint: bytes
    timesteps: int
    codec: SpikeCodec
    tail: Tail
    slots: StateSlots
    scheduler: Scheduler[Work]
    batch_seconds: float = field(default=0.0)
    barren: int = 0
    pasts: dict[int, Past] = field(default_factory=dict)

    @property
    def retry_after_ms(self) -> int:
        """When a slot may be free again: about as long as a sample takes all its timesteps, within 10 ms to 1 s."""
        return round(min(max(self.batch_seconds * self.timesteps, 0.01), 1.0) * 1000)


def load_lane(bundle: Bundle, name: str, config: CloudConfig, device: torch.device) -> Lane:
    """Load a bundle's tail and allocate its slots.

    Raises:
        BundleError: its tail or its codec's tables are missing, damaged or do not fit the manifest.
        ConfigError: there is no memory for so many slots.
    """
    manifest = bundle.manifest
    tail = make_tail(bundle, device, config)
    try:
        slots = tail.slots(config.slots)
    except RuntimeError as error:  # torch's out-of-memory errors are RuntimeErrors, on a GPU a subclass of it
        raise ConfigError(f"no memory for {config.slots} slots of bundle {name}: lower --slots ({error})") from None
    timesteps = manifest.network.timesteps
    # A sample can have all its frames waiting, once each: what comes beyond that is refused before it is queued.
    bound = config.max_queue if config.max_queue is not None else config.slots * timesteps
    scheduler: Scheduler[Work] = Scheduler(min(config.max_batch, config.slots), bound, config.max_wait)
    codec = SpikeCodec.of(bundle)
    return Lane(name, bundle.fingerprint, timesteps, codec, tail, slots, scheduler)


def lane_names(bundles: Sequence[Bundle], taken: Iterable[str] = ()) -> list[str]:
    """A name for each bundle: the manifest's, with the fingerprint's beginning where another has the same.

    Args:
        bundles: different ones.
        taken: names that are used already.
    """
    names = Counter([*(bundle.manifest.name for bundle in bundles), *taken])
    return [
        bundle.manifest.name
        if names[bundle.manifest.name] == 1
        else f"{bundle.manifest.name}-{bundle.fingerprint.hex()[:8]}"
        for bundle in bundles
    ]
