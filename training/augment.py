"""Augmentation of whole batches of uint8 samples at once: one gather shifts and mirrors, one resampling zooms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from training.augment_recipe import AugmentRecipe

Border = Literal["constant", "reflect"]
"""How the margin of a shifted picture is filled: black, or the picture mirrored at its edge."""


@dataclass(frozen=True)
class Draws:
    """Random numbers for each sample of a batch of B, on the CPU.

    shift: int64 [2, B, 1], rows and columns down and right, from 0 to twice the recipe's shift.
    mirrored: bool [B, 1].
    corner: float32 [2, B, 1], the centre of the erased square, in sides of the picture.
    zoom: float32 [B, 1], how much larger the picture becomes, from 1 to the recipe's zoom.
    window: float32 [2, B, 1], which part of the enlarged picture is shown: 0 the top or left end, 1 the other one.
    share: float32 [B, 1], how much of a mixed picture is the other one, from 0 to a half.
    """

    shift: Tensor
    mirrored: Tensor
    corner: Tensor
    zoom: Tensor
    window: Tensor
    share: Tensor


def draw(recipe: AugmentRecipe, count: int, generator: torch.Generator) -> Draws:
    """Draw for `count` samples. A generator always gives the same numbers, whichever of them the recipe uses."""
    shift = torch.randint(0, 2 * recipe.shift + 1, (2, count, 1), generator=generator)
    mirrored = torch.rand(count, 1, generator=generator) < (0.5 if recipe.mirror else 0.0)
    corner = torch.rand(2, count, 1, generator=generator)
    zoom = 1.0 + (recipe.zoom - 1.0) * torch.rand(count, 1, generator=generator)
    window = torch.rand(2, count, 1, generator=generator)
    return Draws(shift, mirrored, corner, zoom, window, 0.5 * torch.rand(count, 1, generator=generator))


def augment(frames: Tensor, recipe: AugmentRecipe, draws: Draws, border: Border = "constant") -> Tensor:
    """Shift, mirror, zoom, mix and erase; all frames of a clip alike.

    Args:
        frames: uint8 [B, C, H, W] or [B, T, C, H, W].
        recipe: which augmentations, and how strong they are.
        draws: for each sample.
        border: how the margin of a shifted picture is filled.

    Returns:
        The same shape and dtype; the input is not changed.
    """
    batch, height, width = len(frames), frames.shape[-2], frames.shape[-1]
    device = frames.device
    flat = frames.flatten(1, -3)  # [B, T * C, H, W]
    rows = torch.arange(height) + draws.shift[0]
    columns = torch.arange(width)
    columns = torch.where(draws.mirrored, columns.flip(0), columns) + draws.shift[1]
    padded = _padded(flat, recipe.shift, border) if recipe.shift else flat
    sample = torch.arange(batch, device=device)[:, None, None]
    out = padded.permute(0, 2, 3, 1)[sample, rows.to(device)[:, :, None], columns.to(device)[:, None, :]]
    out = out.permute(0, 3, 1, 2)
    if recipe.zoom > 1.0:
        out = _zoomed(out, draws.zoom.to(device), draws.window.to(device))
    if recipe.mix:
        out = _mixed(out, draws.share.to(device)[:, :, None, None])
    if recipe.erase:
        out = out * _outside_square(draws.corner, recipe.erase, height, width).to(device)
    return out.reshape(frames.shape).contiguous()


def _zoomed(flat: Tensor, zoom: Tensor, window: Tensor) -> Tensor:
    """Each picture's window of 1 / zoom of its sides, enlarged to the whole (bilinear); uint8 [B, C, H, W]."""
    side = 1.0 / zoom
    centre = (2.0 * window - 1.0) * (1.0 - side)  # in affine_grid's units: the picture reaches from -1 to 1
    zero = torch.zeros_like(side)
    theta = torch.stack([torch.cat([side, zero, centre[1]], 1), torch.cat([zero, side, centre[0]], 1)], 1)
    grid = F.affine_grid(theta, list(flat.shape), align_corners=False)
    shown = F.grid_sample(flat.float(), grid, padding_mode="border", align_corners=False)
    return shown.round_().clamp_(0, 255).byte()


def _mixed(flat: Tensor, share: Tensor) -> Tensor:
    """Each picture blended with the next one of the batch, the last one with the first; uint8 [B, C, H, W]."""
    return torch.lerp(flat.float(), flat.roll(-1, 0).float(), share).round_().byte()


def _padded(flat: Tensor, width: int, border: Border) -> Tensor:
    if border == "constant":
        return F.pad(flat, (width,) * 4)
    return F.pad(flat.float(), (width,) * 4, mode="reflect").byte()  # PyTorch reflects floats alone


def _outside_square(corner: Tensor, side: int, height: int, width: int) -> Tensor:
    """uint8 [B, 1, H, W], 0 within a square whose centre lies anywhere in the picture (DeVries and Taylor's Cutout)."""
    top = (corner[0] * height).long() - side // 2
    left = (corner[1] * width).long() - side // 2
    rows, columns = torch.arange(height), torch.arange(width)
    inside_rows = (rows >= top) & (rows < top + side)
    inside_columns = (columns >= left) & (columns < left + side)
    return (~(inside_rows[:, :, None] & inside_columns[:, None, :])).to(torch.uint8).unsqueeze(1)
