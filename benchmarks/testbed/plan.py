"""What is measured: the ways to classify a picture, and how many samples there is time for, by the machines' speeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.links.profiles import LinkProfile
from benchmarks.testbed.schema import Alternative, PictureCodec
from shared.errors import ConfigError

JPEG_QUALITIES = (50, 75, 90, 95)
WEBP_QUALITIES = (20, 35, 50, 75, 90)
CURVE_LINK_ONLY = frozenset(
    {
        "raw",
        "png",
        "webp-lossless",
        "jpeg-90-full-t",
        *(f"jpeg-{q}" for q in JPEG_QUALITIES if q != 90),
        *(f"webp-{q}" for q in WEBP_QUALITIES if q != 75),
    }
)
"""Points of the curves of accuracy against bytes: no link changes either, so they are measured on the main one."""


def _pictures() -> list[Alternative]:
    def one(
        name: str, title: str, codec: PictureCodec, quality: int | None = None, *, early_exit: bool = True
    ) -> Alternative:
        return Alternative(
            name,
            f"cloud only, {title}",
            "picture",
            "uncompressed",
            early_exit,
            codec=codec,
            quality=quality,
        )

    return [
        one("raw", "raw pixels", "raw"),
        one("png", "PNG", "png"),
        *(one(f"jpeg-{quality}", f"JPEG q{quality}", "jpeg", quality) for quality in JPEG_QUALITIES),
        one("jpeg-90-full-t", "JPEG q90, no early exit", "jpeg", 90, early_exit=False),
        *(one(f"webp-{quality}", f"WebP q{quality}", "webp", quality) for quality in WEBP_QUALITIES),
        one("webp-lossless", "lossless WebP", "webp"),
    ]


ALTERNATIVES: tuple[Alternative, ...] = (
    Alternative("edge-only", "edge only", "edge", "uncompressed", early_exit=False),
    Alternative("edge-only-exit", "edge only, early exit", "edge", "uncompressed", early_exit=True),
    *_pictures(),
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

QUICK = ("edge-only", "edge-only-exit", "jpeg-90", "webp-75", "split-float32", "split-packed", "full", "fallback")


PAYLOAD = {"raw": 3100.0, "png": 2300.0, "webp": 1000.0, "jpeg": 1100.0}
"""Bytes of a small picture, for the estimate alone."""

LEAST = 5
"""Samples below which a median says nothing: such a run is passed over."""

MAIN_SHARE = 0.8
"""Of the time, that the main profile may take where there are others: its samples are worth more."""

OVERHEAD_S = 1.0
"""Of each run: connecting, warming up."""

MESSAGE_S = 0.0015
MEAN_SHARE = 0.5
"""Timesteps of early exit to T, roughly."""


@dataclass(frozen=True)
class Speeds:
    """Seconds of a timestep, and bytes of one of the split's frames."""

    head_s: float
    whole_edge_s: float
    tail_s: float
    whole_cloud_s: float
    float32_bytes: float
    timesteps: int


@dataclass(frozen=True)
class Planned:
    """One run: `n` of `asked` samples fit into the time, at about `each_s` a sample."""

    alternative: Alternative
    link: LinkProfile
    edge: str
    asked: int
    n: int
    each_s: float

    @property
    def seconds(self) -> float:
        """Estimated, of the whole run."""
        return OVERHEAD_S + self.n * self.each_s


def choose(names: Sequence[str]) -> tuple[Alternative, ...]:
    """Alternatives by their names, all of them for none.

    Raises:
        ConfigError: there is no such alternative.
    """
    known = {alternative.name: alternative for alternative in ALTERNATIVES}
    for name in names:
        if name not in known:
            raise ConfigError(f"no alternative is called {name}: there are {', '.join(known)}")
    return tuple(known[name] for name in names) if names else ALTERNATIVES


def uses_link(alternative: Alternative) -> bool:
    """Whether anything is sent."""
    return alternative.kind not in ("edge", "fallback")


def plan(
    alternatives: Sequence[Alternative],
    links: Sequence[LinkProfile],
    edges: Sequence[str],
    speeds: Mapping[str, Speeds],
    *,
    main: tuple[str, str],
    n: int,
    n_others: int,
    seconds: float,
) -> list[Planned]:
    """The runs in order, the main profile's first, cut to `seconds` all in all: the longest ones lose samples first.

    The main profile has all alternatives; other links those that a link makes a difference to; other edges those of the
    main link. `n` 0: there is no time for it.
    """
    ordered = sorted(links, key=lambda link: link.name != main[0])
    wanted = []
    for link in ordered:
        for edge in sorted(edges, key=lambda name: name != main[1]):
            is_main = (link.name, edge) == main
            if edge != main[1] and link.name != main[0]:
                continue
            for alternative in alternatives:
                if is_main or (
                    alternative.name not in CURVE_LINK_ONLY
                    and (uses_link(alternative) or link.name == main[0])
                ):  # fmt: skip
                    each = estimate(alternative, link, speeds[edge])
                    count = n if is_main else n_others
                    wanted.append(Planned(alternative, link, edge, count, count, each))
    first = [run for run in wanted if (run.link.name, run.edge) == main]
    others = [run for run in wanted if (run.link.name, run.edge) != main]
    kept = _cut(first, seconds * (MAIN_SHARE if others else 1.0))
    return [*kept, *_cut(others, seconds - sum(run.seconds for run in kept))]


def estimate(alternative: Alternative, link: LinkProfile, speeds: Speeds) -> float:
    """Seconds of a sample, roughly."""
    steps = speeds.timesteps * (MEAN_SHARE if alternative.early_exit else 1.0)
    way = link.rtt_ms / 1000 + MESSAGE_S
    if alternative.kind == "edge":
        return steps * speeds.whole_edge_s
    if alternative.kind == "fallback":
        return steps * speeds.head_s
    if alternative.kind == "picture":
        assert alternative.codec is not None
        return way + PAYLOAD[alternative.codec] / _rate(link) + steps * speeds.whole_cloud_s + MESSAGE_S
    if alternative.kind == "float32" or alternative.network == "uncompressed":
        payload = speeds.float32_bytes / (1 if alternative.kind == "float32" else 32)
    else:
        payload = 100.0
    trips = 1.0 if alternative.lookahead == "auto" else steps
    return trips * way + steps * (payload / _rate(link) + speeds.head_s + speeds.tail_s)


def _cut(wanted: Sequence[Planned], seconds: float) -> list[Planned]:
    """Bound each run's time by the same number of seconds, the largest with which all fit."""
    low, high = 0.0, max((run.seconds for run in wanted), default=0.0)
    if sum(run.seconds for run in wanted) <= seconds:
        return list(wanted)
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if sum(_bound(run, middle).seconds for run in wanted) <= seconds else (low, middle)
    return [_bound(run, low) for run in wanted]


def _bound(run: Planned, seconds: float) -> Planned:
    n = min(run.n, int(max(seconds - OVERHEAD_S, 0.0) / run.each_s))
    return Planned(run.alternative, run.link, run.edge, run.asked, n if n >= LEAST else 0, run.each_s)


def _rate(link: LinkProfile) -> float:
    """Bytes a second upwards."""
    return (link.up_mbit or 10_000.0) * 1e6 / 8
