"""What `Edge` is called with, and how a method takes it field by field."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass, fields
from functools import wraps
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from edge_client.config import EdgeConfig, EdgeOptions
from edge_client.link.security import LinkSecurity
from shared.binning import Binning
from shared.command_line import existing_path, parse_address
from shared.errors import ConfigError

P = ParamSpec("P")
S = TypeVar("S")
T = TypeVar("T")


@dataclass(frozen=True)
class EdgeArguments(EdgeOptions):
    """What `Edge` is called with: a bundle, its cloud or clouds, and options by name.

    Attributes:
        bundle: the folder of the trained model that the cloud serves.
        cloud: HOST:PORT of a neucodex-cloud, or several, tried in this order.
        security: of the link; None is TLS with the system's authorities.
        in_flight: samples in flight at once; further calls of `classify` wait for their turn.
        binning: of event recordings.
        max_pixels: that a picture may have; None: what there is memory for.
        max_recording: megabytes that a recording may take in memory; None: a quarter of what there is.
    """

    bundle: str | Path
    cloud: str | Sequence[str]
    _: KW_ONLY
    security: LinkSecurity | None = None
    in_flight: int = 8
    binning: Binning = "count"
    max_pixels: int | None = None
    max_recording: int | None = None

    @property
    def most_bytes(self) -> int | None:
        """What `max_recording` comes to."""
        return None if self.max_recording is None else self.max_recording * 1_000_000

    @property
    def config(self) -> EdgeConfig:
        """The same for the edge's own parts.

        Raises:
            ConfigError: an option is out of range, or an address is none.
        """
        clouds = (self.cloud,) if isinstance(self.cloud, str) else self.cloud
        return EdgeConfig(
            existing_path(str(self.bundle)),
            tuple(map(parse_address, clouds)),
            LinkSecurity() if self.security is None else self.security,
            **{field.name: getattr(self, field.name) for field in fields(EdgeOptions)},
        )


def takes(
    arguments: Callable[P, EdgeArguments],
) -> Callable[[Callable[[S, EdgeArguments], T]], Callable[Concatenate[S, P], T]]:
    """Let a method that takes `EdgeArguments` be called with their fields: by position and name, with their types."""
    known = signature(arguments).parameters

    def decorate(method: Callable[[S, EdgeArguments], T]) -> Callable[Concatenate[S, P], T]:
        @wraps(method)
        def called(self: S, /, *args: P.args, **options: P.kwargs) -> T:
            for name in options:
                if name not in known:
                    raise ConfigError(f"there is no option {name}: known are {', '.join(sorted(known))}")
            return method(self, arguments(*args, **options))

        # For help() and editors that ask a running Python.
        itself = Parameter("self", Parameter.POSITIONAL_ONLY)
        called.__signature__ = Signature([itself, *known.values()])  # type: ignore[attr-defined]
        return called

    return decorate
