"""A stream's session with a fake engine, a fake clock, and no network."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from cloud_server.engine.requests import Answered, StepRequest
from cloud_server.rpc.session import StreamSession
from shared.messages import Codec, Frame, Rejection
from shared.metric_table import CLOUD_METRICS
from shared.metrics import Metrics

TIMESTEPS = 3
MAX_OPEN = 2
TIMEOUT = 10.0


class FakeSlots:
    """Rows that count themselves: none is freed twice."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.free_rows = list(range(count))
        self.shared_out = False
        self.owners: set[object] = set()

    @property
    def in_use(self) -> int:
        return self.count - len(self.free_rows)

    def allocate(self, owner: object) -> int | None:
        self.owners.add(owner)
        return self.free_rows.pop() if self.free_rows and not self.shared_out else None

    def free(self, row: int) -> None:
        assert row not in self.free_rows, "freed twice"
        self.free_rows.append(row)


@dataclass
class FakeEngine:
    """Keeps what is submitted."""

    queue: list[StepRequest] = field(default_factory=list)
    room: int = 100
    owners: set[object] = field(default_factory=set)

    def submit(self, loaded: Any, owner: object, stream: int, sample: int, request: StepRequest) -> bool:
        self.owners.add(owner)
        if len(self.queue) >= self.room:
            return False
        self.queue.append(request)
        return True

    def drop(self, loaded: Any, sample: int) -> None:
        self.queue = [request for request in self.queue if request.token.key != sample]

    def retry_after_ms(self, loaded: Any) -> int:
        return 50


class Desk:
    """One session and everything around it."""

    def __init__(self, slots: int = 3, top_k: int = 0, metrics: Metrics | None = None) -> None:
        self.now = 0.0
        self.sent: list[Any] = []
        self.limited: list[str] = []
        self.queue_room = True
        self.engine = FakeEngine()
        self.slots = FakeSlots(slots)
        loaded = SimpleNamespace(
            name="b",
            timesteps=TIMESTEPS,
            slots=self.slots,
            scheduler=SimpleNamespace(max_waiting=100, waiting=0, has_room=lambda owner: self.queue_room),
        )
        self.session = StreamSession(
            loaded,
            self.engine,
            owner="an edge",
            top_k=top_k,
            max_open=MAX_OPEN,
            idle_timeout=TIMEOUT,
            metrics=metrics or Metrics(CLOUD_METRICS, {"bundle": ("b",)}),
            send=self.sent.append,
            on_limited=self.limited.append,
            clock=lambda: self.now,
        )

    def frame(self, sample: int, timestep: int) -> None:
        self.session.handle_frame(Frame(sample, timestep, Codec.PACKED_BITS, b""))

    def answer(self, request: StepRequest | None = None, confidences: tuple[float, ...] = (0.25, 0.5, 0.25)) -> None:
        request = request or self.engine.queue.pop(0)
        self.session.handle_outcome(request.token, Answered(request, confidences, 1, 2, 3))

    def step(self, sample: int, timestep: int) -> None:
        self.frame(sample, timestep)
        self.answer()

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.session.expire_idle()

    def said(self) -> list[Any]:
        sent = [
            (message.sample, message.code.name if isinstance(message, Rejection) else message.timestep)
            for message in self.sent
        ]
        self.sent.clear()
        return sent
