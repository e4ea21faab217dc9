"""How a run's results are written: the flags of `neucodex-edge classify` that programs do not need."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from edge_client.mqtt_options import MqttOptions
from edge_client.option_types import power_meter
from shared.boards import Board, boards
from shared.command_line import Address
from shared.energy import RadioName
from shared.errors import ConfigError
from shared.flags import Flag

NO_BROKER = MqttOptions()


@dataclass(frozen=True)
class OutputConfig:
    """How results are written, and where they are sent.

    `radio` and `power_meter` are what energy is modelled and measured with, `board` whose stated power the time counts.
    """

    json: Annotated[bool, Flag("--json", "One JSON object a line on standard output.")] = False
    show: Annotated[int, Flag("--show", "Without --json: a line for each of the first N samples.", metavar="N")] = 10
    live: Annotated[
        bool, Flag("--live", "Draw the run on the terminal: confidence by timestep, bytes, latency, the link.")
    ] = False
    summary_file: Annotated[
        Path | None, Flag("--summary-file", "Write the summary there as JSON, print none.", metavar="FILE")
    ] = None
    results: Annotated[
        Path | None, Flag("--out", "Append each verdict there as a JSON line, at once.", metavar="FILE")
    ] = None
    resume: Annotated[
        bool, Flag("--resume", "Go on where the run that wrote --out stopped: samples in it are done.")
    ] = False
    broker: MqttOptions = NO_BROKER
    no_picture_sizes: Annotated[
        bool, Flag("--no-picture-sizes", "Do not compare with the same pictures as PNG, JPEG and WebP.")
    ] = False
    radio: Annotated[RadioName, Flag("--radio", "What carries the bytes, to model energy.")] = "none"
    board: Annotated[
        str | None,
        Flag(
            "--board",
            "Which board this is, to reckon its joules from the time computed and the packets sent.",
            metavar="|".join(boards()),
        ),
    ] = None
    power_meter: Annotated[
        Path | Literal["auto", "none"],
        Flag(
            "--power-meter",
            "Measure energy by the machine's own meter, if it has one (RAPL, INA3221), or by the file that a meter's "
            "program writes.",
            metavar="auto|none|FILE",
            type=power_meter,
        ),
    ] = "auto"
    heartbeat: Annotated[
        Path | None,
        Flag("--heartbeat", "Touch this file every few seconds, as long as the edge is alive.", metavar="FILE"),
    ] = None
    metrics: Annotated[
        Address | None, Flag("--metrics", "Serve Prometheus metrics there; port 0 takes a free one.")
    ] = None

    @property
    def known_board(self) -> Board | None:
        """What is known of `board`; None if none was named."""
        return None if self.board is None else boards()[self.board]

    def __post_init__(self) -> None:
        if self.board is not None and self.board not in boards():
            raise ConfigError(f"--board is {self.board}: known are {', '.join(boards())}")
        if self.resume and self.results is None:
            raise ConfigError("--resume goes on with a results file: name it with --out")
        # Said now, not after the last sample.
        if self.summary_file is not None and (self.summary_file.is_dir() or not self.summary_file.parent.is_dir()):
            raise ConfigError(f"--summary-file is {self.summary_file}: name a file in a folder that exists")
