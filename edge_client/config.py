"""Everything an edge is told from outside, as frozen values: read once in `__main__`, passed down, never global."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from edge_client.heads.runtime import Runtime
from edge_client.inference.link_loss import FALLBACK_AFTER_S, LinkLossPolicy, OnLoss
from edge_client.inference.lookahead import BYTE_PRICE_US
from edge_client.link.security import IN_CLEAR, LinkSecurity
from shared.energy import RadioName
from shared.errors import ConfigError
from shared.execution import Execution
from shared.exit_policy import ExitPolicy, Measure

if TYPE_CHECKING:  # numpy is for later: a wrong flag is answered at once
    from shared.datasets.base import Binning

Address = tuple[str, int]

STANDARD_INPUT = "-"
"""Instead of paths: a list of them, one a line."""


@dataclass(frozen=True)
class InputConfig:
    """What to classify: pictures or recordings of events by path, what comes into a watched folder, frames of a video
    file or camera, or the test part of a data set.

    `limit` stops after so many samples; `allow_partial` takes a set with fewer recordings than its publisher's.
    Events are binned into frames by `binning`; `sensor` is (height, width) of their camera, None where that is known.
    `repeat` is how often all of it is classified, 0 for ever; `rate` the most samples a second.
    """

    images: tuple[str, ...] = ()
    events: tuple[str, ...] = ()
    watch: Path | None = None
    video: str | None = None
    dataset: str | None = None
    data: Path | None = None
    limit: int | None = None
    allow_partial: bool = False
    binning: Binning = "count"
    sensor: tuple[int, int] | None = None
    every: int = 1
    repeat: int = 1
    rate: float | None = None

    def __post_init__(self) -> None:
        kinds = {
            "--images": self.images,
            "--events": self.events,
            "--watch": self.watch,
            "--video": self.video,
            "--dataset": self.dataset,
        }
        said = [flag for flag, value in kinds.items() if value]
        if len(said) != 1:
            both = f"; {' and '.join(said)} were given, here or in the environment" if said else ""
            raise ConfigError(f"say what to classify: one of {', '.join(kinds)}{both}")
        if STANDARD_INPUT in (*self.images, *self.events) and len(self.images) + len(self.events) > 1:
            raise ConfigError(f"{STANDARD_INPUT} takes names from standard input, and stands alone")
        if self.every < 1:
            raise ConfigError(f"--every is {self.every}: at least 1")
        if self.repeat != 1 and not self.comes_again:
            raise ConfigError("--repeat has no meaning here: standard input, a watched folder or a camera ends once")
        if self.limit is not None and self.limit < 1:
            raise ConfigError(f"--limit is {self.limit}: at least 1")
        if self.sensor is not None and min(self.sensor) < 1:
            raise ConfigError(f"--sensor is {self.sensor[1]}x{self.sensor[0]}: at least 1x1")
        if self.repeat < 0:
            raise ConfigError(f"--repeat is {self.repeat}: how often, or 0 for ever")
        if self.rate is not None and not 0.0 < self.rate < math.inf:
            raise ConfigError(f"--rate is {self.rate}: it must be positive, in samples a second")

    @property
    def identity(self) -> dict[str, Any]:
        """What decides which samples there are, what they are called and what is in them, as plain values."""
        return {
            "images": list(self.images) or None,
            "events": list(self.events) or None,
            "watch": None if self.watch is None else str(self.watch),
            "video": self.video,
            "every": self.every if self.video else None,
            "dataset": self.dataset,
            "data": None if self.data is None else str(self.data.absolute()),
            "binning": self.binning if self.events or self.watch or self.dataset else None,
            "sensor": None if self.sensor is None else list(self.sensor),
        }

    @property
    def comes_again(self) -> bool:
        """Whether the same samples can be had again, from the beginning to an end."""
        return not (self.watch or self.of_camera or STANDARD_INPUT in (*self.images, *self.events))

    @property
    def of_camera(self) -> bool:
        """Whether `video` is the index of a camera."""
        return self.video is not None and self.video.isdecimal()


@dataclass(frozen=True)
class OutputConfig:
    """How results are written: for people or as JSON, how many samples are shown, where the summary goes.

    `results` is appended to for each verdict; with `resume` the run goes on with what it holds.
    `live` draws the run on standard error, where that is a terminal. `radio` and `power_meter` are what energy is
    modelled and measured with; a meter by path is a file that another program writes.
    """

    json: bool = False
    show: int = 10
    summary_file: Path | None = None
    picture_sizes: bool = True
    metrics: Address | None = None
    results: Path | None = None
    resume: bool = False
    live: bool = False
    radio: RadioName = "none"
    power_meter: Path | Literal["auto", "none"] = "auto"

    def __post_init__(self) -> None:
        if self.resume and self.results is None:
            raise ConfigError("--resume goes on with a results file: name it with --out")
        # Said now, not after the last sample.
        if self.summary_file is not None and (self.summary_file.is_dir() or not self.summary_file.parent.is_dir()):
            raise ConfigError(f"--summary-file is {self.summary_file}: name a file in a folder that exists")


@dataclass(frozen=True)
class EdgeConfig:
    """How the edge classifies.

    `threshold` and `measure` None leave the bundle's calibrated exit policy. `full_t` runs every sample to timestep T
    and reports where it would have stopped. Durations are in seconds. `clouds` are tried in this order. `on_loss` None
    waits as "wait" does, but not for the first stream: an address that was wrong from the start is said at once.
    `lookahead` "auto" chooses, at `byte_price_us` microseconds of latency for a byte. `execution` None is the bundle's
    default. `runtime` runs the head, with so many `threads`.
    """

    bundle: Path
    clouds: tuple[Address, ...]
    security: LinkSecurity = IN_CLEAR
    connect_deadline_s: float = 5.0
    sample_deadline_s: float = 30.0
    threshold: float | None = None
    measure: Measure | None = None
    full_t: bool = False
    lookahead: int | Literal["auto"] = 1
    byte_price_us: float = BYTE_PRICE_US
    in_flight: int = 1
    on_loss: OnLoss | None = None
    fallback_after_s: float = FALLBACK_AFTER_S
    local_exit: bool = False
    execution: Execution | None = None
    threads: int = 1
    runtime: Runtime = "auto"

    def __post_init__(self) -> None:
        if not self.clouds:
            raise ConfigError("name a cloud with --cloud HOST:PORT")
        self.security.check(self.clouds)
        for flag, seconds in (("--deadline", self.connect_deadline_s), ("--sample-deadline", self.sample_deadline_s)):
            if not seconds > 0.0:
                raise ConfigError(f"{flag} is {seconds}: it must be positive, in seconds")
        for flag, price in (("--fallback-after", self.fallback_after_s), ("--byte-price-us", self.byte_price_us)):
            if not 0.0 <= price < math.inf:
                raise ConfigError(f"{flag} is {price}: 0 or more")
        for flag, count in (
            ("--lookahead", self.lookahead),
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
    def needs_cloud_to_start(self) -> bool:
        """Whether a run without a first stream within the deadline is an error."""
        return self.on_loss in (None, "fail")

    def exit_policy(self, calibrated: ExitPolicy) -> ExitPolicy:
        """The bundle's policy with what this run overrides.

        Raises:
            ConfigError: the threshold lies outside 0..1.
        """
        return ExitPolicy(
            calibrated.measure if self.measure is None else self.measure,
            calibrated.threshold if self.threshold is None else self.threshold,
        )
