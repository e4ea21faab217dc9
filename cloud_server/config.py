"""The settings of a cloud process, as plain values. Only `__main__` reads them from the command line."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cloud_server.security import PLAINTEXT, ServerSecurity
from shared.errors import ConfigError
from shared.execution import Execution
from shared.metrics_page import OPEN_PAGE, PageSecurity
from shared.security import is_loopback

Device = Literal["cpu", "cuda"]
Precision = Literal["fp32", "bf16", "fp16"]
TailRuntime = Literal["onnx", "onnx-int8", "torch"]


@dataclass(frozen=True)
class CloudConfig:
    """All settings of a cloud process; `docs/serving.md` says how to choose them.

    Attributes:
        bundles: folders of the bundles to serve.
        bundles_dir: every bundle in a subfolder of this folder is served. At SIGHUP it and `bundles` are read again.
        trust: files with public keys, of which one must have signed each bundle; read again at SIGHUP. None: all do.
        listen, metrics: (host, port); port 0 takes a free port.
        metrics_security: who may read the metrics, and whether the page is encrypted.
        health: (host, port) that answers health checks without TLS, and nothing else; None for no such port.
        security: who may connect, and whether the connection is encrypted.
        execution: of the bundles; None for each bundle's default.
        device: what the tails run on.
        runtime: the library that runs the tails; "auto" is onnxruntime on a CPU if the bundle has a graph, else torch.
        precision: of convolutions and spikes; membranes, logits and confidences are always fp32.
        batch_invariant: whether answers have the same bits in every batch; CPU only, one thread. Integers do anyway.
        slots: samples in flight at once, of each bundle.
        max_batch: most samples that are stepped together.
        max_wait: seconds that a batch that is not full waits for more frames; 0 never waits.
        max_queue: frames of a bundle that may wait for a batch; None for slots x T.
        max_streams: streams open at once; an edge has one. One identity gets at most 8/9 of them, as of the slots and
            the queue; see `Shares`.
        max_streams_per_peer: streams open from one address; None for no such limit.
        max_open_samples: samples that one stream may have in flight.
        max_outgoing: messages that may wait to be written to a stream before nothing more is read from it.
        sample_idle_timeout: seconds without a frame after which a sample is rejected, or a stream without Open ends.
        stream_idle_timeout: seconds without a sample after which a stream ends while more than half of `max_streams`
            are open.
        keepalive: seconds of silence after which a peer is pinged; it has half as long to answer.
        drain_timeout: seconds after SIGTERM in which open samples may finish.
        threads: CPU threads of a tail step; None for the fastest number, measured at start.
        max_message_bytes: of the longest message that is read; None for what the bundles' largest frame needs.
        processes: engine processes that share the port.
        reflection: whether the server describes its service to tools; None for only on loopback.
        ready_file: a JSON object is written here once requests are served.
    """

    bundles: tuple[Path, ...] = ()
    bundles_dir: Path | None = None
    trust: tuple[Path, ...] = ()
    listen: tuple[str, int] = ("127.0.0.1", 50051)
    metrics: tuple[str, int] = ("127.0.0.1", 9464)
    metrics_security: PageSecurity = OPEN_PAGE
    health: tuple[str, int] | None = None
    security: ServerSecurity = PLAINTEXT
    execution: Execution | Literal["all"] | None = None
    device: Device = "cpu"
    runtime: TailRuntime | Literal["auto"] = "auto"
    precision: Precision = "fp32"
    batch_invariant: bool = False
    slots: int = 288
    max_batch: int = 32
    max_wait: float = 0.0
    max_queue: int | None = None
    max_streams: int = 1152
    max_streams_per_peer: int | None = None
    max_open_samples: int = 32
    max_outgoing: int = 64
    sample_idle_timeout: float = 30.0
    stream_idle_timeout: float = 60.0
    keepalive: float = 20.0
    drain_timeout: float = 10.0
    threads: int | None = None
    max_message_bytes: int | None = None
    processes: int = 1
    reflection: bool | None = None
    ready_file: Path | None = None

    def __post_init__(self) -> None:
        if not self.bundles and self.bundles_dir is None:
            raise ConfigError(
                "no bundle to serve: name one with --bundle DIR, such as models/resnet18-digits, or a folder of them "
                "with --bundles-dir DIR"
            )
        if self.precision == "fp16" and self.device == "cpu":
            raise ConfigError("--precision fp16 needs --device cuda; on the CPU use bf16 or fp32")
        if self.batch_invariant and (self.device != "cpu" or self.threads not in (None, 1)):
            raise ConfigError("--batch-invariant needs --device cpu and one thread: use more cores by --processes")
        for name in (
            *("slots", "max_batch", "max_queue", "max_streams", "max_streams_per_peer"),
            *("max_open_samples", "max_outgoing", "threads", "processes"),
        ):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"--{name.replace('_', '-')} is {value}: at least 1")
        for name in ("max_wait", "drain_timeout"):
            if not 0.0 <= getattr(self, name) < float("inf"):
                raise ConfigError(f"--{name.replace('_', '-')} is {getattr(self, name)}: a time of 0 or more")
        for name in ("sample_idle_timeout", "stream_idle_timeout"):
            if not 0.001 <= getattr(self, name) <= 86_400:
                flag = f"--{name.replace('_', '-')}"
                raise ConfigError(f"{flag} is {getattr(self, name)} s: it must lie in 0.001..86400")
        if not 1.0 <= self.keepalive <= 86_400:
            raise ConfigError(f"--keepalive is {self.keepalive} s: it must lie in 1..86400")
        if self.max_message_bytes is not None and self.max_message_bytes < 64:
            raise ConfigError(f"--max-message-bytes is {self.max_message_bytes}: at least 64, or no Open fits")

    @property
    def reflection_enabled(self) -> bool:
        """Whether reflection is on: as `reflection` says, or else only on loopback."""
        return is_loopback(self.listen[0]) if self.reflection is None else self.reflection
