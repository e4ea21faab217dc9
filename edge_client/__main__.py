"""`neucodex-edge`: the command line of the edge. The only module that reads the environment."""

from __future__ import annotations

import os

# gRPC's own log lines are for its developers, and it reads this when it is imported.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

import asyncio
import io
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import click

from edge_client.cli.doctor import doctor
from edge_client.cli.security_options import security_options
from edge_client.config import EdgeConfig, InputConfig, OutputConfig
from edge_client.heads.runtime import Runtime
from edge_client.inference.link_loss import FALLBACK_AFTER_S, OnLoss
from edge_client.inference.lookahead import BYTE_PRICE_US
from edge_client.link.security import LinkSecurity
from shared.command_line import (
    Address,
    LogFormat,
    configure_logs,
    execution_option,
    existing_path,
    fraction,
    log_options,
    option,
    run,
)
from shared.energy import RadioName
from shared.execution import Execution
from shared.exit_policy import Measure

EXIT_CODES = (
    "Exit codes: 0 all done; 1 some samples failed or could not be read; 2 wrong usage or configuration; 3 bundle; "
    "4 input; 5 no cloud within the deadline, or the link was lost; 6 the cloud refused; 7 results cannot be "
    "written; 130 interrupted."
)


if TYPE_CHECKING:
    _CountType = click.ParamType[int | Literal["auto"]]
    from shared.datasets.base import Binning

    _SizeType = click.ParamType[tuple[int, int]]
else:
    _CountType = _SizeType = click.ParamType  # generic only in newer releases


class CountOrAuto(_CountType):
    """A whole number, or the word auto."""

    name = "N|auto"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | Literal["auto"]:
        if value == "auto":
            return "auto"
        try:
            return int(value)
        except ValueError:
            self.fail(f"{value!r} is neither a number nor auto", param, ctx)


class Size(_SizeType):
    """WIDTHxHEIGHT, as (height, width)."""

    name = "WxH"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        if isinstance(value, tuple):
            return value
        width, _, height = str(value).partition("x")
        if not (width.isdecimal() and height.isdecimal()):
            self.fail(f"{value!r} is no WIDTHxHEIGHT, such as 640x480", param, ctx)
        return int(height), int(width)


@click.group(epilog=EXIT_CODES)
def cli() -> None:
    """The edge of NeuCODEX: runs a network's head and asks a cloud for the rest, timestep by timestep."""


@cli.command(epilog=EXIT_CODES)
@option("--bundle", type=existing_path, required=True, metavar="DIR", help="The trained model.")
@option(
    "--cloud",
    type=Address(),
    required=True,
    multiple=True,
    help="Where neucodex-cloud listens. Given more than once: the next ones are for when the first is lost.",
)
@option(
    "--images",
    multiple=True,
    metavar="PATH...",
    help="Pictures: files, folders, glob patterns; - reads names from standard input, one a line. More may follow "
    "without the flag.",
)
@click.argument("more", nargs=-1, metavar="[PATH]...")
@option(
    "--events",
    multiple=True,
    metavar="PATH...",
    help="Recordings of an event camera: files, folders, glob patterns (.bin, .aedat, .aedat4, .dat, .npz).",
)
@option(
    "--binning",
    type=click.Choice(["count", "time"]),
    default="count",
    help="Frames of as many events each, or of as much time.",
)
@option("--watch", type=existing_path, metavar="DIR", help="The files in this folder, and those that come into it.")
@option("--video", metavar="FILE|INDEX", help="Frames of a video file, or of the camera with this index.")
@option("--every", type=int, default=1, metavar="N", help="Of a video: every Nth frame.")
@option("--sensor", type=Size(), help="The event camera's pixels, where the recording does not say.")
@option("--dataset", metavar="NAME", help="Classify the test part of this data set instead.")
@option("--data", type=existing_path, metavar="DIR", help="Where the data set is.")
@option("--limit", type=int, metavar="N", help="Stop after N samples.")
@option("--repeat", type=int, default=1, metavar="N", help="Classify all of it N times; 0: until interrupted.")
@option("--rate", type=float, metavar="X", help="At most so many samples a second.")
@option("--allow-partial", is_flag=True, help="Take the data set although recordings of it are missing.")
@option("--threshold", type=float, metavar="X", help="Certainty (0..1) at which a sample stops; else the bundle's own.")
@option("--measure", type=click.Choice(get_args(Measure)), help="How certainty is measured; else the bundle's own.")
@option("--full-t", is_flag=True, help="Run every sample to the last timestep, and say where it would have stopped.")
@option(
    "--lookahead",
    type=CountOrAuto(),
    default=1,
    help="Frames sent beyond the last result; 1 is lockstep. auto: as measured times and exits suggest.",
)
@option(
    "--byte-price-us", type=float, default=BYTE_PRICE_US, metavar="X", help="Latency that a byte is worth, to auto."
)
@option("--inflight", type=int, default=1, metavar="N", help="Samples under way at once.")
@option(
    "--on-loss",
    type=click.Choice(get_args(OnLoss)),
    help="Without a cloud: answer here (fallback), wait for it, or end the run (fail). By default wait, once a cloud "
    "was there.",
)
@option(
    "--fallback-after",
    type=float,
    default=FALLBACK_AFTER_S,
    metavar="SECONDS",
    help="How long the cloud may be gone or silent before --on-loss fallback answers.",
)
@option("--local-exit", is_flag=True, help="Answer here, without a byte sent, where the bundle's local exit is sure.")
@execution_option
@option("--runtime", type=click.Choice(get_args(Runtime)), default="auto", help="What runs the head; see docs/edge.md.")
@option("--threads", type=int, default=1, metavar="N", help="Threads of the head's operations.")
@security_options
@option("--deadline", type=float, default=5.0, metavar="SECONDS", help="For the connection to the cloud.")
@option("--sample-deadline", type=float, default=30.0, metavar="SECONDS", help="From a sample's input to its verdict.")
@option("--json", "as_json", is_flag=True, help="One JSON object a line on standard output.")
@option("--show", type=int, default=10, metavar="N", help="Without --json: a line for each of the first N samples.")
@option("--live", is_flag=True, help="Draw the run on the terminal: confidence by timestep, bytes, latency, the link.")
@option("--summary-file", type=existing_path, metavar="FILE", help="Write the summary there as JSON, print none.")
@option("--out", type=existing_path, metavar="FILE", help="Append each verdict there as a JSON line, at once.")
@option("--resume", is_flag=True, help="Go on where the run that wrote --out stopped: samples in it are done.")
@option("--no-picture-sizes", is_flag=True, help="Do not compare with the same pictures as PNG and JPEG.")
@option(
    "--radio",
    type=click.Choice(get_args(RadioName)),
    default="none",
    help="What carries the bytes, to model energy.",
)
@option(
    "--power-meter",
    default="auto",
    metavar="auto|none|FILE",
    help="Measure energy by the machine's own meter, if it has one (RAPL, INA3221), or by the file that a meter's "
    "program writes.",
)
@option("--metrics", type=Address(), help="Serve Prometheus metrics there; port 0 takes a free one.")
@log_options
def classify(
    bundle: Path,
    cloud: tuple[tuple[str, int], ...],
    security: LinkSecurity,
    images: tuple[str, ...],
    more: tuple[str, ...],
    events: tuple[str, ...],
    binning: Binning,
    watch: Path | None,
    video: str | None,
    every: int,
    sensor: tuple[int, int] | None,
    dataset: str | None,
    data: Path | None,
    limit: int | None,
    repeat: int,
    rate: float | None,
    allow_partial: bool,
    threshold: float | None,
    measure: Measure | None,
    full_t: bool,
    lookahead: int | Literal["auto"],
    byte_price_us: float,
    inflight: int,
    on_loss: OnLoss | None,
    fallback_after: float,
    local_exit: bool,
    execution: Execution | None,
    runtime: Runtime,
    threads: int,
    deadline: float,
    sample_deadline: float,
    as_json: bool,
    show: int,
    live: bool,
    summary_file: Path | None,
    out: Path | None,
    resume: bool,
    no_picture_sizes: bool,
    radio: RadioName,
    power_meter: str,
    metrics: tuple[str, int] | None,
    log_format: LogFormat,
    log_level: str,
) -> int:
    """Classify pictures or a data set's test part together with a cloud."""
    configure_logs(log_format, log_level)
    inputs = InputConfig(
        images=images if events else (*images, *more),
        events=(*events, *more) if events else (),
        dataset=dataset,
        data=data,
        limit=limit,
        allow_partial=allow_partial,
        binning=binning,
        sensor=sensor,
        watch=watch,
        video=video,
        every=every,
        repeat=repeat,
        rate=rate,
    )
    outputs = OutputConfig(
        json=as_json,
        show=show,
        summary_file=summary_file,
        picture_sizes=not no_picture_sizes,
        metrics=metrics,
        results=out,
        resume=resume,
        live=live,
        radio=radio,
        power_meter="auto" if power_meter == "auto" else "none" if power_meter == "none" else Path(power_meter),
    )
    config = EdgeConfig(
        bundle=bundle,
        clouds=cloud,
        security=security,
        connect_deadline_s=deadline,
        sample_deadline_s=sample_deadline,
        threshold=fraction(threshold, "--threshold"),
        measure=measure,
        full_t=full_t,
        lookahead=lookahead,
        byte_price_us=byte_price_us,
        in_flight=inflight,
        on_loss=on_loss,
        fallback_after_s=fallback_after,
        local_exit=local_exit,
        execution=execution,
        threads=threads,
        runtime=runtime,
    )
    # Imported when the command line is known to be right: --help and a wrong flag answer at once.
    from edge_client.cli.classify import run_classify  # noqa: PLC0415

    return asyncio.run(run_classify(config, inputs, outputs, sys.stdout, sys.stderr))


cli.add_command(doctor)


def main() -> None:
    """The console script `neucodex-edge`."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names of files need not be text
    try:
        run(cli)
    except BrokenPipeError:
        # Whoever read standard output has enough; Python must not try to flush it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


if __name__ == "__main__":
    main()
