"""From a configuration to an exit code: opens everything, runs the session, closes, and says how far it came."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import signal
from collections.abc import Iterator
from typing import TextIO

from edge_client.build import open_edge
from edge_client.config import EdgeConfig
from edge_client.heads.factory import choose_runtime
from edge_client.input_config import InputConfig
from edge_client.inputs.base import Source, nothing_done
from edge_client.inputs.factory import open_source
from edge_client.output.energy import EnergyAccount
from edge_client.output.heartbeat import beating
from edge_client.output.live import LiveReport, LiveView, shown
from edge_client.output.mqtt import MqttPublisher, MqttReport
from edge_client.output.power_meter import Sampled, discover, of_file
from edge_client.output.report import JsonReport, Report, Reports, StatusLine, TextReport
from edge_client.output.results_file import ResultsFile
from edge_client.output.summary import RunFacts, summarise
from edge_client.output_config import OutputConfig
from edge_client.session import Session
from shared.bundle import Bundle
from shared.certificates import CertificateExpiry
from shared.command_line import join_address
from shared.errors import NeucodexError, OutputError
from shared.exit_codes import INTERRUPTED
from shared.manifest import Manifest
from shared.metric_table import EDGE_METRICS, class_labels
from shared.metrics import Metrics
from shared.version import VERSION

SOME_FAILED = 1

log = logging.getLogger(__name__)


async def run_classify(config: EdgeConfig, inputs: InputConfig, outputs: OutputConfig, out: TextIO, err: TextIO) -> int:
    """Classify `inputs` as `config` says; results go to `out` in the form of `outputs`, everything else to `err`.

    Args:
        config: the edge's settings.
        inputs: the source of samples.
        outputs: the form of the results.
        out: receives the results.
        err: receives messages for people.

    Returns:
        The exit code: 0, 1 when a sample failed or could not be read, 130 when interrupted.

    Raises:
        NeucodexError: the run could not start, or could not go on; what was done until then has been reported.
    """
    bundle = Bundle.open(config.bundle, config.execution, config.trust)
    policy = config.exit_policy(bundle.settings.exit_policy)
    with contextlib.ExitStack() as opened:
        results = opened.enter_context(_results(config, inputs, outputs, bundle))
        # First, so that a mistyped path is reported before anything else. A camera's frames do not come again, so no
        # earlier run has classified them.
        skip = nothing_done if results is None or inputs.live else results.skip
        source = open_source(inputs, bundle.manifest, skip)
        meter = opened.enter_context(_power_meter(outputs))
        opened.enter_context(beating(outputs.heartbeat))
        metrics = _serve_metrics(config, outputs, bundle)
        if meter is not None:
            metrics.declare_label_values("meter", meter.kind)
        source.observe(metrics)
        report: Report = _report(outputs, bundle.manifest, out)
        status = _status_line(outputs, source, results, out, err)
        view = _view(config, outputs, bundle.manifest, source, results, status)
        if view is not None:
            # Lines for every sample and a view on one terminal do not mix.
            report = LiveReport(view, report, lines=not out.isatty())
        if outputs.broker.mqtt is not None:
            publisher = MqttPublisher(outputs.broker, bundle.manifest.name, metrics)
            opened.callback(publisher.close)
            report = Reports(report, MqttReport(publisher, bundle.manifest.class_names))
        session = Session(
            report,
            status,
            metrics,
            classes=class_labels(bundle.manifest.class_names),
            picture_sizes=not outputs.no_picture_sizes,
            results=results,
            energy=EnergyAccount(
                bundle,
                policy,
                outputs.radio,
                asks_first=config.local_exit,
                meter=meter,
                top_k=config.top_k,
                board=outputs.known_board,
            ),
            on_link=view.link_changed if view else lambda _: None,
        )
        try:
            with _interruptible(), shown(view, status.console) if view else contextlib.nullcontext():
                async with open_edge(config, bundle, session) as network:
                    await session.classify_all(source, network, config.in_flight)
                    if view is not None:
                        view.finished()
        except asyncio.CancelledError:
            status.close()
            status.say(f"interrupted: {status.progress()} samples done")
            return INTERRUPTED
        except NeucodexError:
            status.close()
            if session.done:
                status.say(f"stopped: {status.progress()} samples done")
            raise
        finally:
            status.close()
            _summarise(config, outputs, bundle, source, session, report)
        return SOME_FAILED if session.failed or session.unreadable else 0


@contextlib.contextmanager
def _results(
    config: EdgeConfig, inputs: InputConfig, outputs: OutputConfig, bundle: Bundle
) -> Iterator[ResultsFile | None]:
    if outputs.results is None:
        yield None
        return
    policy = config.exit_policy(bundle.settings.exit_policy)
    identity = {
        "bundle": bundle.manifest.name,
        "fingerprint": bundle.fingerprint.hex(),
        "execution": bundle.execution,
        **inputs.identity,
        "measure": policy.measure,
        "threshold": policy.threshold,
        "full_t": config.full_t,
    }
    with contextlib.closing(
        ResultsFile(outputs.results, identity, bundle.manifest.class_names, resume=outputs.resume)
    ) as results:
        if results.count:
            log.info("%s has %d verdicts already", outputs.results, results.count)
        yield results


@contextlib.contextmanager
def _power_meter(outputs: OutputConfig) -> Iterator[Sampled | None]:
    if outputs.power_meter == "none":
        yield None
        return
    found = discover() if outputs.power_meter == "auto" else of_file(outputs.power_meter)
    if found is None:
        yield None
        return
    log.info("energy is measured by %s", found.kind)
    with contextlib.closing(Sampled(found)) as meter:
        yield meter


def _serve_metrics(config: EdgeConfig, outputs: OutputConfig, bundle: Bundle) -> Metrics:
    classes = tuple(dict.fromkeys(class_labels(bundle.manifest.class_names)))
    metrics = Metrics(EDGE_METRICS, {"class": classes}, fixed={"bundle": bundle.manifest.name})
    metrics.set(
        "neucodex_build_info",
        1,
        version=VERSION,
        fingerprint=bundle.fingerprint.hex()[:12],
        execution=bundle.execution,
        runtime=choose_runtime(bundle, config.runtime),
    )
    security = config.security
    metrics.registry.register(CertificateExpiry({"certificate": security.certificate, "authority": security.ca}))
    if outputs.metrics is not None:
        host, port = outputs.metrics
        log.info("metrics at http://%s/metrics", join_address((host, metrics.serve(host, port))))
    return metrics


def _report(outputs: OutputConfig, manifest: Manifest, out: TextIO) -> Report:
    if outputs.json:
        return JsonReport(out, manifest.class_names)
    return TextReport(out, manifest.class_names, manifest.network.timesteps, outputs.show)


def _status_line(
    outputs: OutputConfig, source: Source, results: ResultsFile | None, out: TextIO, err: TextIO
) -> StatusLine:
    done = results.count if results else 0
    if outputs.live and err.isatty():
        return StatusLine(err, source.count, bar_after=None, done=done)
    if not outputs.json:
        return StatusLine(err, source.count, bar_after=outputs.show, done=done)
    # Lines for every sample and a bar on one terminal do not mix.
    return StatusLine(err, source.count, bar_after=None if out.isatty() else 0, done=done)


def _view(
    config: EdgeConfig,
    outputs: OutputConfig,
    manifest: Manifest,
    source: Source,
    results: ResultsFile | None,
    status: StatusLine,
) -> LiveView | None:
    if not outputs.live:
        return None
    if not status.console.is_terminal:
        log.warning("--live needs a terminal on standard error: lines instead")
        return None
    return LiveView(
        manifest.class_names,
        manifest.network.timesteps,
        f"{manifest.name} with {', '.join(map(join_address, config.clouds))}",
        done=results.count if results else 0,
        total=source.count,
    )


def _summarise(
    config: EdgeConfig, outputs: OutputConfig, bundle: Bundle, source: Source, session: Session, report: Report
) -> None:
    if not (session.done or session.failed or session.unreadable or session.still):
        return
    policy = config.exit_policy(bundle.settings.exit_policy)
    facts = RunFacts(
        failed=session.failed,
        unreadable=session.unreadable,
        still=session.still,
        stream=source.stream_counts(),
        seconds=session.seconds,
        full_t=config.full_t,
        simulated=source.simulated,
        reconnects=session.reconnects,
        forgotten=session.forgotten,
        measure=policy.measure,
        threshold=policy.threshold,
        radio=outputs.radio,
        board=outputs.board,
    )
    figures = summarise(session.done, bundle.manifest, facts)
    if outputs.summary_file is None:
        report.summary(figures)
    else:
        try:
            outputs.summary_file.write_text(json.dumps(figures, indent=2) + "\n")
        except OSError as error:
            raise OutputError(f"--summary-file {outputs.summary_file}: cannot be written ({error.strerror})") from None


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
