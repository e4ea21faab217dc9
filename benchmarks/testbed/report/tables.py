"""The tables of the report: plain text cells, for any page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from benchmarks.record import Goal
from benchmarks.testbed.alternative import CODECS
from benchmarks.testbed.schema import Figure, Testbed


class Table(NamedTuple):
    """A head, and rows of as many cells."""

    head: tuple[str, ...]
    rows: list[list[str]]


def goals_table(goals: Iterable[Goal]) -> Table:
    """Each goal as a sentence, whether it was met, and the reason."""
    head = ("measured, and asked", "", "how, and why")
    return Table(head, [[goal.sentence, goal.verdict, goal.note] for goal in goals])


def fitted_table(testbed: Testbed) -> Table:
    """For each codec the quality as accurate as the pair, and what such files cost: bytes at equal accuracy."""
    head = ("files", "quality", "accuracy held out: file / pair", "accuracy, test", "payload, bytes", "to the pair's",
            "on the link, bytes", "to the pair's")  # fmt: skip
    pair = testbed.run("full")
    rows = []
    for each in testbed.fitted:
        run = testbed.run(f"{each.codec}-equal")
        reached = "" if each.accuracy >= each.pair_accuracy else ": no quality reaches it"
        row = [CODECS[each.codec], f"{each.quality}{reached}"]
        row.append(f"{100 * each.accuracy:.2f} / {100 * each.pair_accuracy:.2f} % of {each.samples:,}")
        row.append("-" if run is None else _interval(run.accuracy.mean, run.accuracy, ".2f", 100, " %"))
        for name, form in (("payload_bytes", ",.1f"), ("link_bytes", ",.0f")):
            ours, theirs = (None if found is None else found.mean(name) for found in (pair, run))
            row += [_number(theirs, form), "-" if not ours or theirs is None else f"{theirs / ours:.1f}x"]
        rows.append(row)
    return Table(head, rows)


def whole_test_table(testbed: Testbed) -> Table:
    """The accuracy of all test pictures, by the bundles' own evaluation, beside that of the sample."""
    head = ("network", "all test pictures", "with the exit", "at full T", "this sample, with the exit", "at full T")
    of = {"bottleneck": ("full", "bottleneck-full-t"), "uncompressed": ("edge-only-exit", "edge-only")}
    rows = []
    for name, network in testbed.networks.items():
        whole = network.whole_test
        if whole is not None:
            sampled = [
                "-" if run is None else f"{_interval(run.accuracy.mean, run.accuracy, '.2f', 100, ' %')}, n = {run.n:,}"
                for run in (next((r for a, r in testbed.main_runs() if a.name == each), None) for each in of[name])
            ]
            shares = [f"{100 * share:.2f} %" for share in (whole.accuracy, whole.full_t)]
            rows.append([network.bundle, f"{whole.samples:,}", *shares, *sampled])
    return Table(head, rows)


def alternatives_table(testbed: Testbed) -> Table:
    """A row for each alternative on the main profile."""
    head = ("alternative", "n", "accuracy", "timesteps", "payload, bytes", "on the link, bytes", "median, ms", "p95",
            "p99", "dynamic, mJ", "with idle, mJ", "busy, core-ms", "operations at 45 nm, mJ")  # fmt: skip
    rows = []
    for alternative, run in testbed.main_runs():
        latency = run.figures.get("latency_ms")
        rows.append([
            alternative.title,
            f"{run.n:,}",
            _interval(run.accuracy.mean, run.accuracy, ".2f", 100, " %"),
            _number(run.mean("timesteps"), ".2f"),
            _number(run.mean("payload_bytes"), ",.1f"),
            _number(run.mean("link_bytes"), ",.0f"),
            _interval(run.median("latency_ms"), latency, ".1f"),
            _number(latency.p95 if latency else None, ".1f"),
            _number(latency.p99 if latency else None, ".1f"),
            _number(run.dynamic_j, ".3g", 1e3),
            _number(run.total_j, ".3g", 1e3),
            _number(run.mean("busy_core_s"), ".1f", 1e3),
            _number(run.mean("compute_j"), ".3g", 1e3),
        ])  # fmt: skip
    return Table(head, rows)


def links_table(testbed: Testbed) -> Table:
    """The links, asked and measured, and which alternative has the lowest median latency over each."""
    head = ("link", "means", "round trip asked / measured, ms", "up asked / measured, Mbit/s", "fastest",
            "NeuCODEX, ms", "fastest file as accurate, ms", "edge only, ms", "where it is from")  # fmt: skip
    alternatives = {alternative.name: alternative for alternative in testbed.alternatives}
    fitted = [alternative.name for alternative in testbed.alternatives if alternative.fitted]
    alone = next((run.median("latency_ms") for a, run in testbed.main_runs() if a.name == "edge-only"), None)
    rows = []
    for link in testbed.links:
        medians = {
            run.alternative: median
            for run in testbed.runs
            if run.link == link.asked.name and run.edge == testbed.main[1]
            if alternatives[run.alternative].kind != "fallback" and (median := run.median("latency_ms")) is not None
        }
        if alone is not None:
            medians.setdefault("edge-only", alone)
        fastest = min(medians, key=medians.__getitem__, default=None)
        rows.append([
            link.asked.name,
            link.means,
            f"{link.asked.rtt_ms:g} / {_number(link.rtt_ms, '.3g')}",
            f"{'any' if link.asked.up_mbit is None else f'{link.asked.up_mbit:g}'} / {_number(link.up_mbit, '.3g')}",
            "-" if fastest is None else f"{alternatives[fastest].title} ({medians[fastest]:.1f} ms)",
            _number(medians.get("full"), ".1f"),
            _number(min((medians[name] for name in fitted if name in medians), default=None), ".1f"),
            _number(alone, ".1f"),
            link.asked.source,
        ])  # fmt: skip
    return Table(head, rows)


def conditions_table(testbed: Testbed, facts: Mapping[str, Any]) -> Table:
    """On what it was measured: command, machine, versions, edges, cloud, networks."""
    rows = {name: str(facts[name]) for name in ("command", "commit", "started")}
    rows["took"] = f"{facts['seconds']:,.0f} s"
    rows |= {name.replace("_", " "): str(value) for name, value in facts["machine"].items()}
    for edge in testbed.edges:
        rows[f"edge {edge.asked.name}"] = (
            f"{100 * edge.asked.share:g} % of a core ({edge.means}): {edge.gmacs:.2f} GMAC/s, "
            f"head {edge.head_start_ms:.2f} ms a sample and {edge.head_ms:.2f} ms a timestep, "
            f"whole network {edge.whole_ms:.2f} ms a timestep, {edge.runtime}"
        )
    cloud = testbed.cloud
    rows["cloud"] = (
        f"{cloud.gmacs:.1f} GMAC/s, tail {cloud.tail_ms:.2f} ms, whole network {cloud.whole_ms:.2f} ms, "
        f"{cloud.threads} threads, {cloud.precision}"
    )
    for kind, network in testbed.networks.items():
        rows[f"network, {kind}"] = f"{network.bundle} ({network.fingerprint[:12]}), cut after {network.split}"
    return Table(("", ""), [[name, value] for name, value in rows.items()])


def _number(value: float | None, form: str, factor: float = 1.0) -> str:
    return "-" if value is None else f"{factor * value:{form}}"


def _interval(value: float | None, figure: Figure | None, form: str, factor: float = 1.0, unit: str = "") -> str:
    """The value with the figure's 95 % interval."""
    shown = _number(value, form, factor)
    if value is None or figure is None or figure.low is None or figure.high is None:
        return shown
    return f"{shown}{unit} ({factor * figure.low:{form}} to {factor * figure.high:{form}})"
