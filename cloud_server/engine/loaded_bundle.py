"""A bundle that is ready to be stepped: its codec, its tail, its slots and its queue."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from cloud_server.config import CloudConfig, TailRuntime
from cloud_server.engine.requests import StepRequest
from cloud_server.engine.scheduler import Scheduler
from cloud_server.tails.base import Slots, Tail
from cloud_server.tails.factory import choose_runtime, make_tail
from shared.bundle import Bundle
from shared.errors import BundleError, ConfigError, NeucodexError
from shared.execution import Execution
from shared.spike_codec import SpikeCodec

BundleKey = tuple[bytes, Execution]
"""A bundle's fingerprint and one of its executions: what an edge's Open asks for."""


@dataclass(frozen=True, eq=False)
class LoadedBundle:
    """One bundle in one execution, loaded.

    Attributes:
        name: in metrics and messages.
        fingerprint, execution: as in the edge's Open.
        runtime: what computes the tail.
        timesteps: T of the network.
        codec: decodes the edges' frames.
        tail: decoder and tail of the network. Belongs to the engine's thread.
        slots: the samples in flight.
        scheduler: the frames that wait. The engine's lock guards it.
    """

    name: str
    fingerprint: bytes
    execution: Execution
    runtime: TailRuntime
    timesteps: int
    codec: SpikeCodec
    tail: Tail
    slots: Slots[Any]
    scheduler: Scheduler[StepRequest]

    @property
    def key(self) -> BundleKey:
        """The key by which an edge's Open finds it."""
        return self.fingerprint, self.execution


def bundle_key(bundle: Bundle) -> BundleKey:
    """The key that a bundle has once it is loaded."""
    return bundle.fingerprint, bundle.execution


def load_bundle(bundle: Bundle, name: str, config: CloudConfig) -> LoadedBundle:
    """Load a bundle's tail and allocate its slots.

    Args:
        bundle: opened in the execution that it runs in.
        name: what metrics and messages call it.
        config: of the process.

    Raises:
        BundleError: the tail or the codec's tables are missing, damaged or do not fit the manifest.
        ConfigError: there is not enough memory for the slots.
    """
    manifest = bundle.manifest
    try:
        tail = make_tail(bundle, config)
    except NeucodexError:
        raise
    except Exception as error:  # a runtime raises any exception for a tail that does not fit
        raise BundleError(f"bundle {bundle.path}: its tail does not run ({type(error).__name__}: {error})") from None
    try:
        slots = tail.slots(config.slots)
    except (MemoryError, RuntimeError) as error:  # torch's out-of-memory errors are RuntimeErrors
        raise ConfigError(f"no memory for {config.slots} slots of bundle {name}: lower --slots ({error})") from None
    timesteps = manifest.network.timesteps
    # Every frame of every sample in flight may wait once: a queue longer than that is never needed.
    max_waiting = config.max_queue if config.max_queue is not None else config.slots * timesteps
    scheduler: Scheduler[StepRequest] = Scheduler(min(config.max_batch, config.slots), max_waiting, config.max_wait)
    codec = SpikeCodec.of(bundle)
    runtime = choose_runtime(bundle, config)
    return LoadedBundle(name, bundle.fingerprint, bundle.execution, runtime, timesteps, codec, tail, slots, scheduler)


def bundle_names(bundles: Sequence[Bundle], taken: Iterable[str] = ()) -> list[str]:
    """A name for each bundle: the manifest's name.

    The beginning of the fingerprint is added if another bundle has the same name, and the execution if it is not the
    bundle's default.

    Args:
        bundles: different bundles, or different executions of one.
        taken: names that are already in use.
    """
    used = Counter(name for name, _ in {(bundle.manifest.name, bundle.fingerprint) for bundle in bundles})
    used.update(taken)
    return [_bundle_name(bundle, unique=used[bundle.manifest.name] == 1) for bundle in bundles]


def _bundle_name(bundle: Bundle, *, unique: bool) -> str:
    manifest = bundle.manifest
    name = manifest.name if unique else f"{manifest.name}-{bundle.fingerprint.hex()[:8]}"
    return name if bundle.execution == manifest.default_execution else f"{name}-{bundle.execution}"
