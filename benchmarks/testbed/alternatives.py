"""The ways to classify a picture that are compared, and which of them a link makes a difference to."""

from __future__ import annotations

from collections.abc import Sequence

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
