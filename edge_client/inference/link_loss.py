"""What happens to a sample when the cloud is gone or silent."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

OnLoss = Literal["fallback", "wait", "fail"]

FALLBACK_AFTER_S = 1.0


@dataclass(frozen=True)
class LinkLossPolicy:
    """How long samples wait, and what happens then.

    `fallback`: after `patience_s` without a cloud, or without an answer from it, the local exit answers; while the link
    stays down, samples do not wait again. `wait`: until the sample's deadline. `fail`: after `patience_s` without a
    stream the run ends.
    """

    on_loss: OnLoss = "wait"
    patience_s: float = math.inf

    @classmethod
    def of(cls, on_loss: OnLoss, *, fallback_after_s: float, connect_deadline_s: float) -> LinkLossPolicy:
        """The policy with the patience that belongs to `on_loss`."""
        patience = {"fallback": fallback_after_s, "wait": math.inf, "fail": connect_deadline_s}
        return cls(on_loss, patience[on_loss])

    @property
    def answer_patience_s(self) -> float:
        """How long a sample waits for an answer while the cloud is silent; its deadline may end the wait before."""
        return self.patience_s if self.on_loss == "fallback" else math.inf

    def stream_by(self, deadline: float, down_since: float | None) -> float:
        """The moment until which a sample waits for a stream."""
        return deadline if down_since is None else min(deadline, down_since + self.patience_s)
