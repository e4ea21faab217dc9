"""The edge's loop in this process, over a link to a real cloud."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from edge_client.heads.base import Head
from edge_client.heads.local_exit import LocalExit
from edge_client.inference.co_inference import CoInference
from edge_client.inference.lookahead import Lookahead
from edge_client.link.addresses import Target
from edge_client.link.backoff import Backoff
from edge_client.link.cloud_link import CloudLink
from edge_client.link.grpc_transport import GrpcTransport
from edge_client.link.security import IN_CLEAR
from shared.bundle import Bundle
from shared.spike_codec import SpikeCodec

WITHIN_S = 30.0


@contextlib.asynccontextmanager
async def edge(
    bundle: Bundle,
    head: Head,
    address: str,
    lookahead: Lookahead,
    *,
    full_t: bool = False,
    local_exit: LocalExit | None = None,
    sample_deadline_s: float = WITHIN_S,
) -> AsyncIterator[CoInference]:
    """A connected loop with a stream of its own; a local exit is asked first.

    Raises:
        TimeoutError: no cloud answers at `address`.
    """
    manifest = bundle.manifest

    def connect(target: Target, within_s: float) -> GrpcTransport:
        return GrpcTransport.of(bundle, bundle.settings.exit_policy, target, IN_CLEAR, within_s)

    host, _, port = address.rpartition(":")
    link = CloudLink([(host, int(port))], connect, WITHIN_S, Backoff())
    link.start()
    try:
        await link.transport(WITHIN_S)
        network = CoInference(
            head,
            SpikeCodec.of(bundle),
            link,
            bundle.settings.exit_policy,
            manifest.network.timesteps,
            lookahead=lookahead,
            full_t=full_t,
            sample_deadline_s=sample_deadline_s,
            local_exit=local_exit,
            local_first=local_exit is not None,
        )
        try:
            yield network
        finally:
            network.close()
    finally:
        await link.close()
