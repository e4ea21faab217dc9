"""The configuration of an edge, as frozen values. Each option is written here, once.

`neucodex-edge` takes the fields with a `Flag` as flags and from the environment, `edge_client.Edge` takes those of
`EdgeOptions` by name.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from edge_client.heads.runtime import Runtime
from edge_client.inference.link_loss import FALLBACK_AFTER_S, LinkLossPolicy, OnLoss
from edge_client.inference.lookahead import BYTE_PRICE_US
from edge_client.link.patience import LEAVE_AFTER_S
from edge_client.link.security import IN_CLEAR, LinkSecurity
from edge_client.option_types import CountOrAuto
from shared.command_line import Address, fraction
from shared.errors import ConfigError
from shared.execution import Execution
from shared.exit_policy import ExitPolicy, Measure
from shared.flags import Flag

START_PATIENCE = 6
"""Times the connection's deadline: what a cloud may take to start, unless the user says it."""


@dataclass(frozen=True, kw_only=True)
class EdgeOptions:
    """How the edge classifies. Durations are in seconds.

    `threshold` and `measure` None leave the bundle's calibrated exit policy. `on_loss` None waits as "wait" does, but
    not for the first stream: an address that is wrong from the start is reported at once. `execution` None is the
    bundle's default.
    """

    threshold: Annotated[
        float | None,
        Flag("--threshold", "Certainty (0..1) at which a sample stops; else the bundle's own.", metavar="X"),
    ] = None
    measure: Annotated[Measure | None, Flag("--measure", "How certainty is measured; else the bundle's own.")] = None
    full_t: Annotated[
        bool,
        Flag("--full-t", "Run every sample to the last timestep, and say where it would have stopped."),
    ] = False
    top_k: Annotated[
        int, Flag("--top-k", "Name the K likeliest classes of each sample; answers carry as many.", metavar="K")
    ] = 1
    lookahead: Annotated[
        int | Literal["auto"],
        Flag(
            "--lookahead",
            "Frames sent beyond the last result; 1 is lockstep. auto: as measured times and exits suggest.",
            type=CountOrAuto(),
        ),
    ] = 1
    byte_price_us: Annotated[
        float, Flag("--byte-price-us", "Microseconds of latency that a byte is worth, to auto.", metavar="X")
    ] = BYTE_PRICE_US
    in_flight: Annotated[int, Flag("--inflight", "Samples under way at once.", metavar="N")] = 1
    on_loss: Annotated[
        OnLoss | None,
        Flag(
            "--on-loss",
            "Without a cloud: answer here (fallback), wait for it, or end the run (fail). By default wait, once a "
            "cloud was there.",
        ),
    ] = None
    fallback_after_s: Annotated[
        float,
        Flag(
            "--fallback-after",
            "How long the cloud may be gone or silent before --on-loss fallback answers.",
            metavar="SECONDS",
        ),
    ] = FALLBACK_AFTER_S
    leave_after_s: Annotated[
        float,
        Flag(
            "--leave-after",
            "How long a cloud may owe an answer, at most, before it is left for the next --cloud; inf: forever.",
            metavar="SECONDS",
        ),
    ] = LEAVE_AFTER_S
    local_exit: Annotated[
        bool, Flag("--local-exit", "Answer here, without a byte sent, where the bundle's local exit is sure.")
    ] = False
    execution: Annotated[
        Execution | None, Flag("--execution", "How the network runs; the bundle's default if not given.")
    ] = None
    trust: Annotated[
        tuple[Path, ...], Flag("--trust", "Refuse a bundle that no such key signed; may be repeated.", metavar="KEY")
    ] = ()
    runtime: Annotated[Runtime, Flag("--runtime", "What runs the head; see docs/edge.md.")] = "auto"
    threads: Annotated[int, Flag("--threads", "Threads of the head's operations.", metavar="N")] = 1
    connect_deadline_s: Annotated[float, Flag("--deadline", "For the connection to the cloud.", metavar="SECONDS")] = (
        5.0
    )
    start_deadline_s: Annotated[
        float | None,
        Flag(
            "--start-deadline",
            "For a cloud that warms up, or where nothing listens yet. Six times --deadline if not given.",
            metavar="SECONDS",
        ),
    ] = None
    sample_deadline_s: Annotated[
        float, Flag("--sample-deadline", "From a sample's input to its verdict.", metavar="SECONDS")
    ] = 30.0

    def __post_init__(self) -> None:
        fraction(self.threshold, "--threshold")
        for flag, seconds in (
            ("--deadline", self.connect_deadline_s),
            ("--sample-deadline", self.sample_deadline_s),
            ("--leave-after", self.leave_after_s),
        ):
            if not seconds > 0.0:
                raise ConfigError(f"{flag} is {seconds}: it must be positive, in seconds")
        for flag, price in (
            ("--fallback-after", self.fallback_after_s),
            ("--byte-price-us", self.byte_price_us),
            ("--start-deadline", self.start_deadline_s or 0.0),
        ):
            if not 0.0 <= price < math.inf:
                raise ConfigError(f"{flag} is {price}: 0 or more")
        for flag, count in (
            ("--lookahead", self.lookahead),
            ("--top-k", self.top_k),
            ("--inflight", self.in_flight),
            ("--threads", self.threads),
        ):
            if count != "auto" and count < 1:
                raise ConfigError(f"{flag} is {count}: at least 1")

    @property
    def link_loss(self) -> LinkLossPolicy:
        """What becomes of samples without a cloud."""
        return LinkLossPolicy.of(
            self.on_loss or "wait", fallback_after_s=self.fallback_after_s, connect_deadline_s=self.connect_deadline_s
        )

    @property
    def start_patience_s(self) -> float:
        """How long an edge waits for its first stream where a cloud is starting."""
        return START_PATIENCE * self.connect_deadline_s if self.start_deadline_s is None else self.start_deadline_s

    @property
    def needs_cloud_to_start(self) -> bool:
        """Whether a run without a first stream within the deadline is an error."""
        return self.on_loss in (None, "fail")

    def exit_policy(self, calibrated: ExitPolicy) -> ExitPolicy:
        """The bundle's policy with what this run overrides."""
        return ExitPolicy(
            calibrated.measure if self.measure is None else self.measure,
            calibrated.threshold if self.threshold is None else self.threshold,
        )


@dataclass(frozen=True)
class EdgeConfig(EdgeOptions):
    """How the edge classifies, with which bundle, and together with which clouds, tried in this order."""

    bundle: Annotated[Path, Flag("--bundle", "The trained model.", metavar="DIR")]
    clouds: Annotated[
        tuple[Address, ...],
        Flag(
            "--cloud",
            "Where neucodex-cloud listens. Given more than once: the next ones are for when the first is lost.",
        ),
    ]
    security: LinkSecurity = IN_CLEAR

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.clouds:
            raise ConfigError("name a cloud with --cloud HOST:PORT")
        self.security.check(self.clouds)
