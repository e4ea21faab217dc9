"""The training loop of one stage, resumable at any batch."""

from __future__ import annotations

import json
import logging
import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.tensorboard import SummaryWriter

from shared.models.split import SplitNetwork
from training import checkpoint
from training.batches import Batch, Batches
from training.data import Samples, TrainingData
from training.device import Machine
from training.evaluate import accuracy_by_timestep
from training.objectives import StageObjective, set_trainable
from training.optimiser import StageOptimiser
from training.progress import Place, Progress
from training.recipe import StageRecipe

log = logging.getLogger("neucodex.train")

WATCHED_SAMPLES = 1000
"""Held-out samples that are evaluated after each epoch; more would only cost time."""


class Fit:
    """One stage in training: the networks, the optimiser, and how far it has come."""

    def __init__(
        self,
        objective: StageObjective,
        batches: Batches,
        data: TrainingData,
        folder: Path,
        machine: Machine,
        stages: int = 1,
    ) -> None:
        self.stage = batches.stage
        self.place = Place(batches.stage_index + 1, stages, self.stage)
        self.batches = batches
        self.data = data
        self.folder = folder
        self.machine = machine
        self.network = objective.network
        self.optimiser = StageOptimiser(self.network, self.stage)
        decay = get_ema_multi_avg_fn(self.stage.average)  # type: ignore[no-untyped-call]
        self.average = AveragedModel(self.network, multi_avg_fn=decay, use_buffers=True)
        self.parallel: nn.Module = DistributedDataParallel(objective) if machine.world > 1 else objective
        self.lines: list[dict[str, Any]] = []
        self.seconds_before = 0.0
        self.started = self.last_saved = time.monotonic()

    @property
    def kept(self) -> SplitNetwork:
        """The network that the stage is for: the averaged one where the recipe asks for an average."""
        network = self.average.module if self.stage.average else self.network
        assert isinstance(network, SplitNetwork)
        return network

    def run(self) -> SplitNetwork:
        """Train from the checkpoint, if there is one, to the end; returns the network that is kept."""
        first_epoch, first_batch, sums = self._resume()
        board = SummaryWriter(str(self.folder)) if self.machine.leads else None
        total = self.stage.epochs * self.batches.per_epoch
        with Progress(str(self.place), total, quiet=not self.machine.leads) as progress:
            for epoch in range(first_epoch, self.stage.epochs):
                self._epoch(epoch, first_batch, sums, progress)
                self._end_epoch(epoch, sums, board)
                first_batch, sums = 0, _Sums()
        if board is not None:
            board.close()
        return self.kept

    def _epoch(self, epoch: int, start: int, sums: _Sums, progress: Progress) -> None:
        set_trainable(self.network, self.stage)
        for number, batch in enumerate(self.batches.epoch(epoch, start), start):
            step = epoch * self.batches.per_epoch + number
            loss, logits = self._step(batch, rate_fraction(self.stage, step, self.batches.per_epoch))
            sums.add(loss, logits, batch.labels)
            progress.at(
                step + 1, f"{self.place.epoch(epoch)}, loss {sums.loss:.3f}, train accuracy {sums.accuracy:.1%}"
            )
            if time.monotonic() - self.last_saved > self.machine.checkpoint_seconds:
                self._save(epoch, number + 1, sums)

    def _step(self, batch: Batch, fraction: float) -> tuple[Tensor, Tensor]:
        with self.machine.autocast():
            loss, logits = self.parallel(*batch)
        self.network.zero_grad(set_to_none=True)
        loss.backward()
        if self.stage.clip_gradient:
            nn.utils.clip_grad_norm_(self.network.parameters(), self.stage.clip_gradient)
        self.optimiser.step(fraction)
        if self.stage.average:
            self.average.update_parameters(self.network)
        return loss, logits

    def _end_epoch(self, epoch: int, sums: _Sums, board: SummaryWriter | None) -> None:
        watched = Samples(self.data.held_out.frames[:WATCHED_SAMPLES], self.data.held_out.labels[:WATCHED_SAMPLES])
        accuracies = accuracy_by_timestep(self.kept, watched, self.data.normalisation, self.machine)
        line = {
            "epoch": epoch + 1,
            "loss": round(sums.loss, 4),
            "train_accuracy": round(sums.accuracy, 4),
            "held_out_accuracy": [round(value, 4) for value in accuracies],
            "seconds": round(self._seconds(), 1),
        }
        self.lines.append(line)
        self._save(epoch + 1, 0, _Sums())
        if board is None:
            return
        self._write_log()
        self.place.log(line)
        board.add_scalar("loss", sums.loss, epoch + 1)
        board.add_scalar("train accuracy", sums.accuracy, epoch + 1)
        for t, value in enumerate(accuracies, 1):
            board.add_scalar(f"held-out accuracy, T={t}", value, epoch + 1)

    def _resume(self) -> tuple[int, int, _Sums]:
        state = checkpoint.load(self.folder)
        if state is None:
            return 0, 0, _Sums()
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.average.load_state_dict(state["average"])
        self.lines, self.seconds_before = state["lines"], state["seconds"]
        if self.machine.leads:
            self._write_log()
        log.info("%s goes on at epoch %d, batch %d", self.place, state["epoch"] + 1, state["batch"])
        return state["epoch"], state["batch"], _Sums(**state["sums"])

    def _write_log(self) -> None:
        """Write the whole log. Lines that a kill kept from the file are still in the checkpoint."""
        (self.folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in self.lines))

    def _save(self, epoch: int, batch: int, sums: _Sums) -> None:
        self.last_saved = time.monotonic()
        if self.machine.leads:
            state = {
                "network": self.network.state_dict(),
                "optimiser": self.optimiser.state_dict(),
                "average": self.average.state_dict(),
                "epoch": epoch,
                "batch": batch,
                "sums": asdict(sums),
                "lines": self.lines,
                "seconds": self._seconds(),
            }
            checkpoint.save(self.folder, state)

    def _seconds(self) -> float:
        """Seconds of training so far, over all processes that took part."""
        return self.seconds_before + time.monotonic() - self.started


def rate_fraction(stage: StageRecipe, step: int, per_epoch: int) -> float:
    """The current share of the peak learning rate: linear warm-up, then the schedule down to `final_rate`.

    A function of the step alone.
    """
    warmup = stage.warmup_epochs * per_epoch
    total = stage.epochs * per_epoch
    if step < warmup:
        return (step + 1) / max(warmup, 1)
    phase = (step - warmup) / max(total - warmup, 1)
    left = 1 - phase if stage.schedule == "linear" else 0.5 * (1 + math.cos(math.pi * phase))
    return stage.final_rate + (1 - stage.final_rate) * left


@dataclass
class _Sums:
    """Mean loss, and accuracy of the mean over timesteps, over the batches of an epoch that this process trained."""

    losses: float = 0.0
    right: int = 0
    seen: int = 0
    batches: int = 0

    def add(self, loss: Tensor, logits: Tensor, labels: Tensor) -> None:
        self.losses += float(loss.detach())
        self.right += int((logits.mean(0).argmax(-1) == labels).sum())
        self.seen += len(labels)
        self.batches += 1

    @property
    def loss(self) -> float:
        return self.losses / max(self.batches, 1)

    @property
    def accuracy(self) -> float:
        return self.right / max(self.seen, 1)
