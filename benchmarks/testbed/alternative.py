"""One way to classify a picture, and the codecs of picture files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Kind = Literal["edge", "picture", "float32", "pair", "fallback", "plain", "http"]
"""edge: the whole network on the edge; picture: all of it in the cloud; float32: the split's features as float32; pair:
`neucodex-edge` and `neucodex-cloud`; fallback: the pair's local exit alone; plain: the plain ONNX network on the edge;
http: that one in the cloud, behind BentoML."""

PictureCodec = Literal["raw", "png", "jpeg", "webp", "avif"]

CODECS: Mapping[PictureCodec, str] = {"jpeg": "JPEG", "webp": "WebP", "avif": "AVIF"}
"""Those with a quality."""


@dataclass(frozen=True)
class Alternative:
    """One way to classify a picture. `codec` and `quality` are those of a picture; quality None is lossless. `fitted`:
    the quality is that at which files are as accurate as the pair. `int8`: of the plain network.
    """

    name: str
    title: str
    kind: Kind
    network: Literal["bottleneck", "uncompressed"]
    early_exit: bool
    lookahead: int | Literal["auto"] | None = None
    local_first: bool = False
    codec: PictureCodec | None = None
    quality: int | None = None
    fitted: bool = False
    int8: bool = False
