"""Finds out whose stream it is, and makes an address with wrong tokens wait."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import grpc

from cloud_server.rpc.admission import retry_later
from cloud_server.rpc.identity import Identity, address_of, identify
from cloud_server.rpc.penalties import Penalties
from cloud_server.rpc.stream_status import UNKNOWN_TOKEN, StreamRefused
from cloud_server.security import TokenGate

Metadata = Sequence[tuple[str, str | bytes]]
"""What a stream's edge sent before its first message."""


class Authentication:
    """Checks the tokens of new streams. The right token is never slowed.

    Args:
        tokens: the valid tokens; None if the cloud needs none.
    """

    def __init__(self, tokens: TokenGate | None) -> None:
        self._tokens = tokens
        self._penalties = Penalties()
        self._version = 0

    async def identify(self, context: grpc.aio.ServicerContext[Any, Any]) -> Identity:
        """The identity of a stream.

        Raises:
            StreamRefused: its token is not known. It is raised later with each wrong token of an address, at once if
                too many of them wait.
        """
        if self._tokens is None:
            return identify(context, None)
        address = address_of(context.peer())
        if self._penalties.is_full(address):
            raise StreamRefused("penalty", retry_later("too many wrong tokens came from your address: try again later"))
        name = self._tokens.name_of(context.invocation_metadata())
        if name is not None:
            return identify(context, name)
        wait = self._penalties.begin(address)
        try:
            await asyncio.sleep(wait)
        finally:
            self._penalties.end(address)
        raise StreamRefused("unauthenticated", UNKNOWN_TOKEN)

    def is_known(self, metadata: Metadata) -> bool:
        """Whether a stream with these metadata would be let in now."""
        return self._tokens is None or self._tokens.name_of(metadata) is not None

    def has_changed(self) -> bool:
        """Whether the tokens are others than when this was last asked."""
        if self._tokens is None:
            return False
        self._tokens.read_if_changed()
        before, self._version = self._version, self._tokens.version
        return before != self._version
