"""Batches for one stage: which samples, in which order, augmented how, all decided by (seed, stage, epoch, batch).

Nothing is drawn from a global generator, so a run that is killed and resumed sees the batches it would have seen.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from shared.manifest import Normalisation
from shared.network_spec import InputKind
from training.augment import augment, draw
from training.data import Samples, to_input
from training.recipe import StageRecipe
from training.teacher.classifier import Classifier
from training.teacher.views import Answers


class Batch(NamedTuple):
    """Input for the network, labels [B], and the logits of an external teacher, float32 [B, K], if there is one."""

    frames: Tensor
    labels: Tensor
    answers: Tensor | None


@dataclass(frozen=True)
class Batches:
    """The batches of one stage, for a network that takes inputs of `kind`.

    With several ranks each takes every `world`-th sample of the same global batch. With stored `Answers` of a teacher,
    pictures are shown in the views that it was asked about: each begins with any of them, and goes on by one an epoch.
    A `Classifier` is asked about every batch as it is shown.
    """

    samples: Samples
    normalisation: Normalisation
    stage: StageRecipe
    seed: int
    stage_index: int
    kind: InputKind
    rank: int = 0
    world: int = 1
    teacher: Answers | Classifier | None = None

    @property
    def per_epoch(self) -> int:
        """Batches in an epoch. An incomplete last batch is left out, so that all batches weigh the same."""
        return max(1, int(len(self.samples) * self.stage.part) // self.stage.batch_size)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yield the batches from `start` on. Each is prepared while the network trains on the one before it."""
        order = torch.randperm(len(self.samples), generator=self._generator(epoch))
        with ThreadPoolExecutor(1) as ahead:
            coming = ahead.submit(self._make, order, epoch, start)
            for index in range(start, self.per_epoch):
                batch = coming.result()
                if index + 1 < self.per_epoch:
                    coming = ahead.submit(self._make, order, epoch, index + 1)
                yield batch

    def _make(self, order: Tensor, epoch: int, index: int) -> Batch:
        size = self.stage.batch_size
        rows = order[index * size : (index + 1) * size][self.rank :: self.world]
        chosen = rows.to(self.samples.labels.device)
        recipe = self.stage.augment
        if recipe.erase_until is not None and epoch >= recipe.erase_until:
            recipe = replace(recipe, erase=0, erase_until=None)
        draws = draw(recipe, len(rows), self._generator(epoch, index + 1, self.rank))
        answers = None
        if isinstance(self.teacher, Answers):
            views = (self._first_view[rows] + epoch) % self.teacher.views.count
            seen = self.teacher.views.draws(views, rows)
            draws = replace(seen, corner=draws.corner)
            answers = self.teacher.of(views, rows).to(chosen.device)
        elif recipe.alternate:
            draws = replace(draws, mirrored=((self._half[rows] + epoch) % 2 == 1).unsqueeze(1))
        frames = augment(self.samples.frames[chosen], recipe, draws)
        if isinstance(self.teacher, Classifier):
            answers = self.teacher.logits(frames.cpu()).to(chosen.device)
        frames = to_input(frames, self.normalisation, self.kind)
        return Batch(self._reduce(frames, epoch), self.samples.labels[chosen], answers)

    @cached_property
    def _half(self) -> Tensor:
        """0 or 1 for each sample: whether the stage shows it mirrored in its even or its odd epochs."""
        return torch.randint(0, 2, (len(self.samples),), generator=self._generator())

    @cached_property
    def _first_view(self) -> Tensor:
        """The view of each sample in its first epoch."""
        assert isinstance(self.teacher, Answers)
        return torch.randint(0, self.teacher.views.count, (len(self.samples),), generator=self._generator(0, 0))

    def _reduce(self, frames: Tensor, epoch: int) -> Tensor:
        side = next((side for first, side in reversed(self.stage.resolutions) if epoch >= first), frames.shape[-1])
        if side == frames.shape[-1]:
            return frames
        return F.interpolate(frames, size=side, mode="bilinear", antialias=True, align_corners=False)

    def _generator(self, *position: int) -> torch.Generator:
        mixed = self.seed
        for number in (self.stage_index, *position):
            mixed = (mixed * 1_000_003 + number + 1) % (2**63)
        return torch.Generator().manual_seed(mixed)
