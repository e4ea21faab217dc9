"""Augmentation of whole batches of uint8 samples at once; one gather does shift and mirror."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from training.recipe import AugmentRecipe


def augment(
    frames: Tensor, recipe: AugmentRecipe, generator: torch.Generator, mirrored: Tensor | None = None
) -> Tensor:
    """Shift, mirror and erase, drawn anew for each sample; all frames of a clip alike.

    Args:
        frames: uint8 [B, C, H, W] or [B, T, C, H, W].
        recipe: what is done, and how much of it.
        generator: a CPU one; all that is random comes from it.
        mirrored: which samples are, bool [B]; drawn like the rest if not given.

    Returns:
        The same shape and dtype; the input is not changed.
    """
    batch, height, width = len(frames), frames.shape[-2], frames.shape[-1]
    device = frames.device
    flat = frames.flatten(1, -3)  # [B, T * C, H, W]
    shift = torch.randint(0, 2 * recipe.shift + 1, (2, batch, 1), generator=generator)
    drawn = torch.rand(batch, 1, generator=generator) < (0.5 if recipe.mirror else 0.0)
    flipped = drawn if mirrored is None else mirrored.view(batch, 1)
    corner = torch.rand(2, batch, 1, generator=generator)

    rows = torch.arange(height) + shift[0]
    columns = torch.arange(width)
    columns = torch.where(flipped, columns.flip(0), columns) + shift[1]
    padded = F.pad(flat, (recipe.shift,) * 4) if recipe.shift else flat
    sample = torch.arange(batch, device=device)[:, None, None]
    out = padded.permute(0, 2, 3, 1)[sample, rows.to(device)[:, :, None], columns.to(device)[:, None, :]]
    if recipe.erase:
        out = out * _outside_square(corner, recipe.erase, height, width).to(device)
    return out.permute(0, 3, 1, 2).reshape(frames.shape).contiguous()


def _outside_square(corner: Tensor, side: int, height: int, width: int) -> Tensor:
    """uint8 [B, H, W, 1], 0 within a square whose centre lies anywhere in the picture (DeVries and Taylor's Cutout)."""
    top = (corner[0] * height).long() - side // 2
    left = (corner[1] * width).long() - side // 2
    rows, columns = torch.arange(height), torch.arange(width)
    inside_rows = (rows >= top) & (rows < top + side)
    inside_columns = (columns >= left) & (columns < left + side)
    return (~(inside_rows[:, :, None] & inside_columns[:, None, :])).to(torch.uint8).unsqueeze(-1)
