"""From a configuration to an exit code: opens everything, runs the session, closes, and says how far it came."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import signal
from collections.abc import Iterator
from typing import TextIO

from edge_client.addresses import Target
from edge_client.backoff import Backoff
from edge_client.co_inference import CoInference
from edge_client.config import EdgeConfig
from edge_client.head_runner import Head, TorchHead
from edge_client.link import CloudLink
from edge_client.local_exit import LocalExit, open_local_exit
from edge_client.lookahead import AutoLookahead, FixedLookahead, Lookahead, exits_tested
from edge_client.report import JsonReport, Notes, Report, TextReport
from edge_client.session import Session
from edge_client.sources import Source, open_source
from edge_client.summary import RunFacts, summarise
from edge_client.transport import GrpcTransport
from shared.bundle import Bundle, Manifest
from shared.command_line import INTERRUPTED, join_address
from shared.errors import ConfigError, NeucodexError
from shared.metrics import EDGE_METRICS, Metrics
from shared.spike_codec import SpikeCodec

SOME_FAILED = 1

log = logging.getLogger(__name__)


async def classify(config: EdgeConfig, out: TextIO, err: TextIO) -> int:
    """Do what `config` says; results go to `out`, everything else to `err`.

    Returns:
        The exit code: 0, 1 when a sample failed or could not be read, 130 when interrupted.

    Raises:
        NeucodexError: the run could not start, or could not go on; what was done until then has been reported.
    """
    bundle = Bundle.open(config.bundle)
    config.exit_policy(bundle.manifest.exit_policy)
    source = open_source(config.inputs, bundle.manifest)
    metrics = _serve_metrics(config)
    report = _report(config, bundle.manifest, out)
    notes = _notes(config, source, out, err)
    session = Session(report, notes, metrics, picture_sizes=config.outputs.picture_sizes)
    try:
        with _interruptible():
            await _with_cloud(config, bundle, source, session)
    except asyncio.CancelledError:
        notes.close()
        notes.say(f"interrupted: {notes.progress()} samples done")
        return INTERRUPTED
    except NeucodexError:
        notes.close()
        if session.done:
            notes.say(f"stopped: {notes.progress()} samples done")
        raise
    finally:
        notes.close()
        _summarise(config, bundle.manifest, source, session, report)
    return SOME_FAILED if session.failed or session.unreadable else 0


async def _with_cloud(config: EdgeConfig, bundle: Bundle, source: Source, session: Session) -> None:
    codec = SpikeCodec.of(bundle)
    local_exit = _local_exit(config, bundle)
    link = _link(config, bundle, session)
    link.start()
    try:
        await _first_stream(config, link)
        # After the cloud: without one there is no need to wait for torch.
        head = TorchHead(bundle, config.threads)
        head.warm_up()
        network = _network(config, bundle.manifest, head, codec, link, local_exit, session)
        try:
            await session.classify_all(source, network, config.in_flight)
        finally:
            network.close()
    finally:
        await link.close()


def _link(config: EdgeConfig, bundle: Bundle, session: Session) -> CloudLink:
    classes = bundle.manifest.network.classes

    def connect(target: Target, within_s: float) -> GrpcTransport:
        return GrpcTransport(target, bundle.fingerprint, classes, within_s)

    return CloudLink(config.clouds, connect, config.connect_deadline_s, Backoff(), on_change=session.link_changed)


async def _first_stream(config: EdgeConfig, link: CloudLink) -> None:
    try:
        await link.stream(min(config.connect_deadline_s, config.loss.patience_s))
    except TimeoutError:
        if config.needs_cloud_to_start:
            raise link.trouble() from None
        log.warning("%s; going on without one (--on-loss %s)", link.trouble(), config.on_loss)


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
    return found


def _network(
    config: EdgeConfig,
    manifest: Manifest,
    head: Head,
    codec: SpikeCodec,
    link: CloudLink,
    local_exit: LocalExit | None,
    session: Session,
) -> CoInference:
    return CoInference(
        head,
        codec,
        link,
        config.exit_policy(manifest.exit_policy),
        manifest.network.timesteps,
        lookahead=_lookahead(config, manifest),
        full_t=config.full_t,
        sample_deadline_s=config.sample_deadline_s,
        loss=config.loss,
        local_exit=local_exit,
        local_first=config.local_exit,
        in_flight=config.in_flight,
        on_rejection=session.rejected,
        on_answered_here=session.answered_here,
    )


def _lookahead(config: EdgeConfig, manifest: Manifest) -> Lookahead:
    if config.lookahead != "auto":
        return FixedLookahead(config.lookahead)
    timesteps = manifest.network.timesteps
    # The bundle's test stopped where its own policy says; with another one, what this edge sees soon outweighs it.
    tested = exits_tested(manifest.provenance, timesteps)
    exits = [0.0] * (timesteps - 1) + [1.0] if config.full_t else tested
    # With several samples in flight the head has other work while one of them waits.
    return AutoLookahead(timesteps, exits, config.byte_price_us / 1e6, make_ahead=config.in_flight == 1)


def _serve_metrics(config: EdgeConfig) -> Metrics:
    metrics = Metrics(EDGE_METRICS)
    if config.outputs.metrics is not None:
        host, port = config.outputs.metrics
        log.info("metrics at http://%s/metrics", join_address((host, metrics.serve(host, port))))
    return metrics


def _report(config: EdgeConfig, manifest: Manifest, out: TextIO) -> Report:
    if config.outputs.json:
        return JsonReport(out, manifest.class_names)
    return TextReport(out, manifest.class_names, manifest.network.timesteps, config.outputs.show)


def _notes(config: EdgeConfig, source: Source, out: TextIO, err: TextIO) -> Notes:
    if not config.outputs.json:
        return Notes(err, source.count, bar_after=config.outputs.show)
    # Lines for every sample and a bar on one terminal do not mix.
    return Notes(err, source.count, bar_after=None if out.isatty() else 0)


def _summarise(config: EdgeConfig, manifest: Manifest, source: Source, session: Session, report: Report) -> None:
    if not (session.done or session.failed or session.unreadable):
        return
    policy = config.exit_policy(manifest.exit_policy)
    facts = RunFacts(
        failed=session.failed,
        unreadable=session.unreadable,
        seconds=session.seconds,
        full_t=config.full_t,
        simulated=source.simulated,
        reconnects=session.reconnects,
        measure=policy.measure,
        threshold=policy.threshold,
    )
    figures = summarise(session.done, manifest, facts)
    if config.outputs.summary_file is None:
        report.summary(figures)
    else:
        config.outputs.summary_file.write_text(json.dumps(figures, indent=2) + "\n")


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Ctrl-C and SIGTERM cancel the running task, which then says how far it came."""
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    assert task is not None
    added: list[signal.Signals] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        # Not on Windows, and not outside the main thread: there KeyboardInterrupt is left as it is.
        with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
            loop.add_signal_handler(number, task.cancel)
            added.append(number)
    try:
        yield
    finally:
        for number in added:
            loop.remove_signal_handler(number)
