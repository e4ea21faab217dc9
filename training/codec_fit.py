"""Fit the spike codec's tables to frames: a logistic model of each spike, rounded to integers.

The model sees only those neighbours of a spike that `shared.spike_codec.model` knows when it codes the spike. There
every pass is a matrix product; here a frame is one convolution for each colour of the checkerboard, whose taps that are
coded later are masked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import zstandard
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from shared.datasets.base import OnProgress
from shared.network_spec import Shape
from shared.spike_codec import CodecTables, SpikeCodec
from shared.spike_codec.range_coder import WHOLE
from shared.spike_codec.tables import ModelTables
from training.collect_spikes import SpikeTrain

LEVELS = 256
UNITS = 16
"""Levels per natural unit of the log-odds. Rounding to 1/16 costs less than a thousandth of the bits."""

DEPTH = 3
"""How many of a neuron's past spikes the model sees."""

TABLE_BYTES = 32 * 1024
"""Size limit of `base`. In larger frames neighbouring positions share one cell."""

STEPS = 1500
LEAST_STEPS = 300
EPOCHS = 60
MOST_TAPS = 64
"""Spikes around a position that count, in one pass: what they number is what coding costs. Those that matter least go
after two thirds of the steps, and the others make up for them."""

BATCH = 64
RATE = 0.03
PRIOR_COUNT = 2.0
WEIGHT_PRIOR = 3.0
BASE_PRIOR = 14.0
"""Strength of the regularisation towards zero weights and the counted base, in samples."""

DICTIONARY_BYTES = 4096
DICTIONARY_SHARE = 0.01
"""A zstd dictionary is kept if it gives the smallest form for this share of the held-back frames."""


def default_reach(channels: int) -> int:
    """How many rows and columns around a position count. Decoding time grows with the number of neighbours."""
    if channels <= 8:
        return 2
    return 1 if channels <= 64 else 0


def fit_tables(
    frames: SpikeTrain,
    reach: int | None = None,
    progress: OnProgress | None = None,
    *,
    depth: int = DEPTH,
    neighbours: bool = True,
) -> CodecTables:
    """Tables for frames like these.

    Args:
        frames: [N, T, C, H, W], in order of time; not those it will be measured on.
        reach: rows and columns around a position whose spikes count; by default after the number of channels.
        progress: called as progress(done, all) after each step.
        depth: spikes of a neuron's own past that count, at most.
        neighbours: whether other spikes count at all.
    """
    reach = default_reach(frames.shape[2]) if reach is None else reach
    tables = CodecTables(_fit_model(frames, reach, depth, neighbours, progress))
    dictionary = train_dictionary(frames)
    if dictionary is not None and _wins(frames, tables, dictionary):
        return CodecTables(tables.model, dictionary)
    return tables


def train_dictionary(frames: SpikeTrain) -> bytes | None:
    """A zstd dictionary for packed frames [N, T, C, H, W]; None if there are too few frames."""
    packed: list[Any] = [np.packbits(frame).tobytes() for frame in frames.reshape(-1, *frames.shape[2:])]
    try:
        return zstandard.train_dictionary(DICTIONARY_BYTES, packed).as_bytes()
    except zstandard.ZstdError:
        return None


def _wins(frames: SpikeTrain, tables: CodecTables, dictionary: bytes) -> bool:
    """Whether zstd is the smallest form often enough to justify its time on every frame."""
    shape = frames.shape[2:]
    assert len(shape) == 3
    without, squeezed = SpikeCodec(shape, tables), SpikeCodec(shape, CodecTables(None, dictionary))
    won = tried = 0
    for sample in frames[:: max(1, len(frames) // 100)]:
        past = None
        for frame in sample:
            tried += 1
            won += len(squeezed.encode(frame)[1]) < len(without.encode(frame, past)[1])
            past = without.next_context(past, frame)
    return won >= DICTIONARY_SHARE * tried


@dataclass(frozen=True)
class _Inputs:
    """Spikes [N, T, C, H, W] and, for each, the row of the base that its past has."""

    spikes: Tensor
    rows: Tensor


class _Model:
    """The model's parameters in natural units. It returns log-odds."""

    def __init__(self, inputs: _Inputs, depth: int, reach: int) -> None:
        _, _, channels, height, width = inputs.spikes.shape
        size = 2 * reach + 1
        rows = 2 ** (depth + 1) - 1
        self.group = torch.arange(channels) * 2 // channels
        self._cell = _cell(rows, (channels, height, width))
        self.base = _counted(inputs, rows, self._cell)
        self.prior = self.base.clone()
        self.first, self.later, self.past = (torch.zeros(channels, 2, channels, size, size) for _ in range(3))
        self.parameters = (self.base, self.first, self.later, self.past)
        for parameter in self.parameters:
            parameter.requires_grad_()
        self._colour = torch.from_numpy(np.add.outer(np.arange(height), np.arange(width)) % 2)
        offset = torch.from_numpy(np.add.outer(np.arange(size), np.arange(size)) - (size - 1))
        lower = (self.group[:, None] > self.group)[..., None, None]
        same = (self.group[:, None] == self.group)[..., None, None]
        known = torch.stack([lower | (same & ((offset + colour) % 2 < colour)) for colour in (0, 1)], dim=1).float()
        self._counts = [known, known.clone(), torch.ones_like(known)]
        """Which taps of `first`, `later` and `past` count."""
        self._variance = (
            inputs.spikes.float().mean((0, 1, 3, 4)) * (1 - inputs.spikes.float().mean((0, 1, 3, 4)))
        ).view(-1, 1, 1)

    def log_odds(self, spikes: Tensor, rows: Tensor) -> Tensor:
        """[B, T, C, H, W] from the frames themselves and their base's rows."""
        full = self.base.repeat_interleave(self._cell[0], 2).repeat_interleave(self._cell[1], 3)
        place = torch.arange(full[0].numel())
        base = full.flatten(1)[rows.flatten(2), place].view_as(spikes)
        first, later, past = self.weights()
        around = [self._around(spikes[:, :1], first)]
        if spikes.shape[1] > 1:
            around.append(self._around(spikes[:, 1:], later) + self._around(spikes[:, :-1], past))
        return base + torch.cat(around, dim=1)

    def weights(self) -> list[Tensor]:
        """`first`, `later` and `past`, with zeros for taps that are not used."""
        return [part * counts for part, counts in zip(self.parameters[1:], self._counts, strict=True)]

    @torch.no_grad()
    def prune(self) -> None:
        """Keep for each pass the taps that change its levels most, at most `MOST_TAPS`."""
        moves = [part.square() * self._variance for part in self.weights()]
        for group in (0, 1):
            ours = self.group == group
            for colour in (0, 1):
                for members in ((0,), (1, 2)):  # the passes of a first frame have one kind of tap, the others two
                    strength = torch.cat([moves[part][ours, colour].sum(0).flatten() for part in members])
                    if len(strength) <= MOST_TAPS:
                        continue
                    keep = (strength >= strength.topk(MOST_TAPS).values[-1]).float().chunk(len(members))
                    for part, kept in zip(members, keep, strict=True):
                        self._counts[part][ours, colour] *= kept.view(moves[part].shape[2:])

    def _around(self, spikes: Tensor, weights: Tensor) -> Tensor:
        # Both colours of a channel are two outputs of one convolution: half the calls, and each twice as wide.
        either = functional.conv2d(spikes.flatten(0, 1), weights.flatten(0, 1), padding=weights.shape[-1] // 2)
        even, odd = either.view(len(either), -1, 2, *spikes.shape[3:]).unbind(2)
        return torch.where(self._colour == 0, even, odd).view_as(spikes)

    def penalty(self) -> Tensor:
        weights = sum((part.square().sum() for part in (self.first, self.later, self.past)), torch.zeros(()))
        return WEIGHT_PRIOR * weights + BASE_PRIOR * (self.base - self.prior).square().sum()

    def tables(self) -> ModelTables:
        """Rounded."""
        chances = WHOLE / (1.0 + np.exp((LEVELS // 2 - np.arange(LEVELS)) / UNITS))
        group = self.group.numpy().astype(np.uint8)
        weights = (_rounded(part) for part in self.weights())
        return ModelTables(chances.round().astype(np.uint32), _rounded(self.base), group, *weights)


def _fit_model(
    frames: SpikeTrain, reach: int, depth: int, neighbours: bool, progress: OnProgress | None
) -> ModelTables:
    torch.manual_seed(0)
    samples, timesteps = frames.shape[:2]
    depth = min(timesteps - 1, depth)
    inputs = _Inputs(torch.from_numpy(frames), torch.from_numpy(_rows(frames, depth)))
    model = _Model(inputs, depth, reach)
    if not neighbours:
        return model.tables()
    optimiser = torch.optim.Adam(model.parameters, RATE)
    steps = min(STEPS, max(LEAST_STEPS, EPOCHS * samples // BATCH))
    for step in range(steps):
        if step == 2 * steps // 3:
            model.prune()
        for group in optimiser.param_groups:
            group["lr"] = RATE * (1.0 - step / steps)
        taken = torch.randint(samples, (min(BATCH, samples),))
        spikes = inputs.spikes[taken].float()
        odds = model.log_odds(spikes, inputs.rows[taken].long())
        misses = functional.binary_cross_entropy_with_logits(odds, spikes, reduction="sum") / len(taken)
        optimiser.zero_grad()
        (misses + model.penalty() / samples).backward()
        optimiser.step()
        if progress is not None:
            progress(step + 1, steps)
    return model.tables()


def _rows(frames: SpikeTrain, depth: int) -> NDArray[np.uint8]:
    """The row of the base for each spike: its past less 1, as `SpikeModel.after` makes it."""
    rows = np.empty_like(frames)
    past = np.ones(frames[:, 0].shape, np.int64)
    forget = 2**depth
    for timestep in range(frames.shape[1]):
        rows[:, timestep] = past - 1
        past = past << 1 | frames[:, timestep]
        past = np.where(past < 2 * forget, past, past & (forget - 1) | forget)
    return rows


def _cell(rows: int, shape: Shape) -> tuple[int, int]:
    """Height and width of the cells that keep the base small."""
    channels, height, width = shape
    down = right = 1
    while rows * channels * (height // down) * (width // right) > TABLE_BYTES and (down < height or right < width):
        down = next((each for each in range(down + 1, height + 1) if height % each == 0), height)
        right = next((each for each in range(right + 1, width + 1) if width % each == 0), width)
    return down, right


def _counted(inputs: _Inputs, rows: int, cell: tuple[int, int]) -> Tensor:
    """The log-odds of a spike in each row and cell, pulled towards those of the row where there are few."""
    channels, height, width = inputs.spikes.shape[2:]
    down, right = cell
    cells = (channels, height // down, down, width // right, right)
    out = []
    for row in range(rows):
        here = inputs.rows == row
        seen = here.sum((0, 1)).view(cells).sum((2, 4)).double()
        fired = (here & (inputs.spikes > 0)).sum((0, 1)).view(cells).sum((2, 4)).double()
        overall = (fired.sum() + 0.5) / (seen.sum() + 1.0)
        chance = (fired + PRIOR_COUNT * overall) / (seen + PRIOR_COUNT)
        out.append(torch.logit(chance).float())
    return torch.stack(out)


def _rounded(values: Tensor) -> NDArray[np.int8]:
    whole: NDArray[np.int8] = (values.detach() * UNITS).round().clamp(-128, 127).to(torch.int8).numpy()
    return whole
