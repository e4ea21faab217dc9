"""The fixed views in which a teacher sees the training pictures, and its answers to them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.augment import Draws, augment, draw
from training.augment_recipe import AugmentRecipe

_HALVES_SEED = 2**62
"""Far from the views' own seeds, which are their numbers."""


@dataclass(frozen=True)
class Views:
    """`count` views of each of `samples` pictures: shifted, mirrored and enlarged as `recipe` says, and no more.

    They depend on nothing else, so that stages and seeds share a teacher's answers to them. With `alternate` a picture
    that is mirrored in one view is not in the next.
    """

    recipe: AugmentRecipe
    samples: int
    count: int

    def draws(self, views: Tensor, chosen: Tensor) -> Draws:
        """The draws for pictures `chosen` [B] in their views `views` [B], both int64."""
        drawn = self._drawn
        corner = torch.zeros(2, len(chosen), 1)
        return Draws(
            drawn.shift[:, views, chosen],
            drawn.mirrored[views, chosen],
            corner,
            drawn.zoom[views, chosen],
            drawn.window[:, views, chosen],
            torch.zeros(len(chosen), 1),
        )

    def show(self, frames: Tensor, view: int, chosen: Tensor) -> Tensor:
        """One view of pictures `chosen`, which are `frames`, uint8 [B, C, H, W]."""
        whole = replace(self.recipe, erase=0, erase_until=None)
        return augment(frames, whole, self.draws(torch.full_like(chosen, view), chosen))

    @cached_property
    def _drawn(self) -> Draws:
        """The draws for all pictures in all views: shift and window [2, K, N, 1], mirrored and zoom [K, N, 1]."""
        each = [draw(self.recipe, self.samples, _generator(view)) for view in range(self.count)]
        mirrored = torch.stack([drawn.mirrored for drawn in each])
        if self.recipe.alternate:
            half = torch.randint(0, 2, (self.samples, 1), generator=_generator(_HALVES_SEED))
            mirrored = (half + torch.arange(self.count).view(-1, 1, 1)) % 2 == 1
        shift, window = (torch.stack(rows, 1) for rows in zip(*((d.shift, d.window) for d in each), strict=True))
        zoom, absent = torch.stack([drawn.zoom for drawn in each]), torch.empty(0)
        return Draws(shift, mirrored, absent, zoom, window, absent)


@dataclass(frozen=True)
class Answers:
    """A teacher's logits for all views, float16 [K, N, classes], on disk."""

    views: Views
    logits: NDArray[np.float16]

    def of(self, views: Tensor, chosen: Tensor) -> Tensor:
        """The answers for pictures `chosen` [B] in their views `views` [B]: float32 [B, classes]."""
        return torch.from_numpy(self.logits[views.numpy(), chosen.numpy()].astype(np.float32))


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
