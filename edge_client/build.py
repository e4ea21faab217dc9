"""Builds an edge as configured: codec, link, head, local exit, and the loop over them."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator
from typing import Protocol

from edge_client.config import EdgeConfig
from edge_client.heads.base import Head
from edge_client.heads.factory import open_head
from edge_client.heads.local_exit import LocalExit, open_local_exit
from edge_client.inference.co_inference import CoInference, LocalExitReason
from edge_client.inference.lookahead import AutoLookahead, FixedLookahead, Lookahead, exits_tested
from edge_client.link.addresses import Target
from edge_client.link.backoff import Backoff
from edge_client.link.cloud_link import CloudLink
from edge_client.link.grpc_transport import GrpcTransport
from edge_client.link.patience import AnswerPatience
from shared.bundle import Bundle
from shared.errors import ConfigError
from shared.exit_policy import NEVER
from shared.messages import RejectionCode
from shared.spike_codec import SpikeCodec

log = logging.getLogger(__name__)

SAY_AFTER_S = 1.0
"""How long an edge is silent while it waits for its first stream."""


class Observer(Protocol):
    """Receives a run's events other than verdicts."""

    def rejected(self, code: RejectionCode) -> None:
        """The cloud rejected a sample; it may be tried again."""

    def local_exit_used(self, reason: LocalExitReason) -> None:
        """The local exit answered."""

    def link_changed(self, connected: bool) -> None:
        """A stream was opened, or lost."""


class NoObserver:
    """Ignores the events."""

    def rejected(self, code: RejectionCode) -> None:
        """See `Observer`."""

    def local_exit_used(self, reason: LocalExitReason) -> None:
        """See `Observer`."""

    def link_changed(self, connected: bool) -> None:
        """See `Observer`."""


NO_OBSERVER = NoObserver()


@contextlib.asynccontextmanager
async def open_edge(
    config: EdgeConfig,
    bundle: Bundle,
    observer: Observer = NO_OBSERVER,
    *,
    head: Head | None = None,
    lookahead: Lookahead | None = None,
) -> AsyncIterator[CoInference]:
    """An edge that classifies samples as `config` says, connected; it is closed at the end.

    Args:
        config: of the run.
        bundle: opened, with the execution of `config`.
        observer: gets the events that are no verdicts.
        head: instead of the one that `config` names.
        lookahead: instead of the one that `config` names.

    Raises:
        BundleError: the head is missing or damaged.
        ConfigError: the bundle cannot do what the options ask for.
        CloudUnavailable, CloudRefused: there is no cloud, and the configuration needs one to start.
    """
    codec = SpikeCodec.of(bundle)
    local_exit = _local_exit(config, bundle)
    link = _link(config, bundle, observer)
    link.start()
    try:
        await _first_stream(config, link)
        # After the cloud: without one there is no need to wait for the runtime.
        head = head or open_head(bundle, config.runtime, config.threads)
        lookahead = lookahead or _lookahead(config, bundle)
        network = _network(config, bundle, head, codec, link, lookahead, local_exit, observer)
        try:
            yield network
        finally:
            network.close()
    finally:
        await link.close()


def _link(config: EdgeConfig, bundle: Bundle, observer: Observer) -> CloudLink:
    policy = config.exit_policy(bundle.settings.exit_policy)

    def connect(target: Target, within_s: float) -> GrpcTransport:
        return GrpcTransport.of(bundle, policy, target, config.security, within_s, config.top_k)

    return CloudLink(
        config.clouds,
        connect,
        config.connect_deadline_s,
        Backoff(),
        patience=AnswerPatience(config.leave_after_s),
        on_change=observer.link_changed,
    )


async def _first_stream(config: EdgeConfig, link: CloudLink) -> None:
    """Wait for the first stream; longer where a cloud is starting, and the run needs one."""
    patience_s = min(config.connect_deadline_s, config.link_loss.patience_s)
    if not config.needs_cloud_to_start:
        try:
            await link.transport(patience_s)
        except TimeoutError:
            log.warning("%s; going on without one (--on-loss %s)", link.unavailable_error(), config.on_loss)
        return
    waited_s, told = 0.0, False
    for until_s in (min(SAY_AFTER_S, patience_s), patience_s, max(patience_s, config.start_patience_s)):
        try:
            await link.transport(until_s - waited_s)
            return
        except TimeoutError:
            waited_s = until_s
        if link.starting is not None and not told:
            told = True
            most_s = max(patience_s, config.start_patience_s)
            log.warning("%s: waiting up to %g s for a cloud to start (--start-deadline)", link.starting, most_s)
        elif link.starting is None and waited_s >= patience_s:
            break
    raise link.unavailable_error(waited_s)


def _local_exit(config: EdgeConfig, bundle: Bundle) -> LocalExit | None:
    """The bundle's local exit, where this run may ask it.

    Raises:
        ConfigError: the bundle has none.
    """
    asked = [
        flag
        for flag, on in (("--local-exit", config.local_exit), ("--on-loss fallback", config.on_loss == "fallback"))
        if on
    ]
    if not asked:
        return None
    found = open_local_exit(bundle)
    if found is None:
        raise ConfigError(
            f"bundle {config.bundle} has no local exit, which {asked[0]} needs: give it one with "
            "`neucodex-train local-exit`, or use --on-loss wait"
        )
    if config.local_exit and found.policy.threshold == NEVER:
        log.warning(
            "--local-exit: the bundle's local exit is never sure, because its calibration could promise nothing; "
            "every sample goes to the cloud"
        )
    return found


def _network(
    config: EdgeConfig,
    bundle: Bundle,
    head: Head,
    codec: SpikeCodec,
    link: CloudLink,
    lookahead: Lookahead,
    local_exit: LocalExit | None,
    observer: Observer,
) -> CoInference:
    return CoInference(
        head,
        codec,
        link,
        config.exit_policy(bundle.settings.exit_policy),
        bundle.manifest.network.timesteps,
        lookahead=lookahead,
        full_t=config.full_t,
        sample_deadline_s=config.sample_deadline_s,
        link_loss=config.link_loss,
        local_exit=local_exit,
        local_first=config.local_exit,
        in_flight=config.in_flight,
        top_k=config.top_k,
        on_rejection=observer.rejected,
        on_local_exit=observer.local_exit_used,
    )


def _lookahead(config: EdgeConfig, bundle: Bundle) -> Lookahead:
    if config.lookahead != "auto":
        return FixedLookahead(config.lookahead)
    timesteps = bundle.manifest.network.timesteps
    # The test's samples stopped where the bundle's own policy says. With another policy, what this edge sees soon
    # outweighs them.
    tested = exits_tested(bundle.settings.measured, timesteps)
    to_the_end = config.full_t or config.exit_policy(bundle.settings.exit_policy).threshold == NEVER
    exits = [0.0] * (timesteps - 1) + [1.0] if to_the_end else tested
    # With several samples in flight the head has other work while one of them waits.
    return AutoLookahead(timesteps, exits, config.byte_price_us / 1e6, can_prefetch=config.in_flight == 1)
