"""What the testbed measures: the ways to classify a picture, and which of them run over which link from which edge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from benchmarks.links.profiles import LinkProfile
from benchmarks.testbed.alternative import CODECS, Alternative, PictureCodec
from benchmarks.testbed.schema import EdgeProfile
from shared.errors import ConfigError

T = TypeVar("T")

EDGE_PROFILES: tuple[EdgeProfile, ...] = (
    EdgeProfile("core", 1.0, "a whole core of this machine: a small server, or a phone's fast core"),
    EdgeProfile(
        "pi", 0.1,
        "Raspberry-Pi-like: a Cortex-A72 core at 1.5 GHz multiplies 4 float32 a cycle, 6 GMAC/s at best; a current "
        "server core reaches some ten times that, and the record says what was measured of both",
    ),
    EdgeProfile("weak", 0.04, "a small in-order core, as in cameras and gateways (Cortex-A53, A7)"),
)  # fmt: skip
"""What edges are like, each with its source: a share of one core of the machine that measures."""


def _picture(
    name: str, title: str, codec: PictureCodec, quality: int | None = None, early_exit: bool = True
) -> Alternative:
    title = f"cloud only, {title}"
    return Alternative(name, title, "picture", "uncompressed", early_exit, codec=codec, quality=quality)


ALTERNATIVES: tuple[Alternative, ...] = (
    Alternative("edge-only", "edge only", "edge", "uncompressed", early_exit=False),
    Alternative("edge-only-exit", "edge only, early exit", "edge", "uncompressed", early_exit=True),
    _picture("raw", "raw pixels", "raw"),
    _picture("png", "PNG", "png"),
    *(_picture(f"jpeg-{quality}", f"JPEG q{quality}", "jpeg", quality) for quality in (50, 75, 90, 95)),
    _picture("jpeg-90-full-t", "JPEG q90, no early exit", "jpeg", 90, early_exit=False),
    *(_picture(f"webp-{quality}", f"WebP q{quality}", "webp", quality) for quality in (20, 35, 50, 75, 90)),
    _picture("webp-lossless", "lossless WebP", "webp"),
    *(
        replace(_picture(f"{codec}-equal", f"{name} of equal accuracy,", codec), fitted=True)
        for codec, name in CODECS.items()
    ),
    *(
        Alternative(
            f"http-{codec}",
            f"BentoML by HTTP, {name} of equal accuracy,",
            "http",
            "uncompressed",
            early_exit=False,
            codec=codec,
            fitted=True,
        )
        for codec, name in CODECS.items()
    ),
    Alternative("plain-float32", "edge only, plain ONNX float32", "plain", "uncompressed", early_exit=False),
    Alternative("plain-int8", "edge only, plain ONNX int8", "plain", "uncompressed", early_exit=False, int8=True),
    Alternative("split-float32", "split, float32 features", "float32", "uncompressed", early_exit=True),
    Alternative("split-packed", "split, packed spikes", "pair", "uncompressed", early_exit=True, lookahead=1),
    Alternative("bottleneck-full-t", "bottleneck, fixed T", "pair", "bottleneck", early_exit=False, lookahead=1),
    Alternative("bottleneck-exit", "bottleneck, early exit", "pair", "bottleneck", early_exit=True, lookahead=1),
    Alternative("full", "NeuCODEX", "pair", "bottleneck", early_exit=True, lookahead="auto"),
    Alternative(
        "full-local-first", "NeuCODEX, local exit first", "pair", "bottleneck", True, lookahead="auto", local_first=True
    ),
    Alternative("fallback", "local exit alone", "fallback", "bottleneck", early_exit=True),
)
"""Early exit is each bundle's own calibrated one."""

QUICK = (
    *("edge-only", "edge-only-exit", "jpeg-90", "jpeg-equal", "http-avif", "plain-int8"),
    *("split-float32", "split-packed", "full", "fallback"),
)
COMPARED = ("jpeg-equal", "webp-equal", "avif-equal", "bottleneck-exit", "full", "full-local-first")
"""The others run on the main link alone: they are points on curves of accuracy against bytes, which no link changes, or
send nothing."""

WHOLE_N = ("jpeg-90", "jpeg-equal", "webp-equal", "avif-equal", "full", "full-local-first")
"""On the main profile these have all its samples; the others as many as other profiles have."""

SLOW_RTT_MS = 100.0
"""Over links with such a round trip edges wait more than they compute: several can be measured at once, each over a
link of its own."""

VERY_SLOW_RTT_MS = 500.0
"""Over these a sample takes seconds, and the pair in lockstep is left out."""

MAIN_SHARE = 0.8
"""Of the time of one edge alone, for the main profile where there are others: its samples are worth more."""

SLICES = 4
"""Over slow links the samples of a run are divided among so many edges."""


@dataclass(frozen=True)
class PlannedRun:
    """One run of `n` samples. `weight`: its part of the time, to the parts of all runs that an edge makes alone."""

    alternative: Alternative
    link: LinkProfile
    edge: str
    n: int
    weight: float

    @property
    def key(self) -> str:
        """That of its `TestbedRun`."""
        return f"{self.alternative.name}@{self.link.name}@{self.edge}"


def choose(table: Mapping[str, T], names: Sequence[str], what: str) -> tuple[T, ...]:
    """Entries of a table by their names.

    Raises:
        ConfigError: there is no such entry.
    """
    for name in names:
        if name not in table:
            raise ConfigError(f"no {what} is called {name}: there are {', '.join(table)}")
    return tuple(table[name] for name in names)


def uses_link(alternative: Alternative) -> bool:
    """Whether anything is sent."""
    return alternative.kind not in ("edge", "fallback", "plain")


def plan(
    alternatives: Sequence[Alternative],
    links: Sequence[LinkProfile],
    edges: Sequence[str],
    *,
    main: tuple[str, str],
    n: int,
    n_others: int,
) -> list[PlannedRun]:
    """The runs in order, those of the main link first, and there those of the main edge.

    The main profile has all alternatives; other links have those that a link makes a difference to; other edges have
    those of the main link.
    """
    wanted = []
    for link in sorted(links, key=lambda link: link.name != main[0]):
        for edge in sorted(edges, key=lambda name: name != main[1]) if link.name == main[0] else [main[1]]:
            for alternative in alternatives:
                if (link.name, edge) == main or _compared(alternative, link, on_main_link=link.name == main[0]):
                    wanted.append((alternative, link, edge))
    counts = [
        n if (link.name, edge) == main and alternative.name in WHOLE_N else min(n, n_others)
        for alternative, link, edge in wanted
    ]
    on_main = [(link.name, edge) == main for _, link, edge in wanted]
    totals = {
        where: sum(count for count, here in zip(counts, on_main, strict=True) if here == where)
        for where in (True, False)
    }
    shares = {True: MAIN_SHARE, False: 1 - MAIN_SHARE}
    return [
        PlannedRun(*each, count, shares[here] * count / totals[here])
        for each, count, here in zip(wanted, counts, on_main, strict=True)
    ]


def is_slow(link: LinkProfile) -> bool:
    """Whether several edges may be measured at once, each over such a link of its own."""
    return link.rtt_ms >= SLOW_RTT_MS


def _compared(alternative: Alternative, link: LinkProfile, *, on_main_link: bool) -> bool:
    """Whether an alternative runs over that link beside the main profile too."""
    if link.rtt_ms >= VERY_SLOW_RTT_MS and alternative.name == "bottleneck-exit":
        return False
    return alternative.name in COMPARED or (on_main_link and not uses_link(alternative))
