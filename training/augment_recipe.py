"""Which augmentations a stage asks for; `training/augment.py` does them."""

from __future__ import annotations

from dataclasses import dataclass

from shared.errors import ConfigError


@dataclass(frozen=True)
class AugmentRecipe:
    """Shift by up to `shift` pixels in each direction (the margin is black), mirror, enlarge, and erase a square of
    side `erase`.

    mirror: half of the samples, drawn at random in each epoch.
    alternate: that half is drawn once, and is the other half in every other epoch: two epochs in a row then show both
        forms of a sample (Jordan, "94% on CIFAR-10 in 3.29 Seconds on a Single GPU", 2024).
    zoom: a picture is enlarged by a factor drawn from 1 to `zoom`, and a random part as large as before is shown.
    mix: each picture is blended with another one of its batch, which gets a share drawn from 0 to a half (Zhang et al.,
        "mixup", ICLR 2018).
    erase_until: the epoch, counted from 0, from which on nothing is erased; none erases to the end.
    """

    shift: int = 0
    mirror: bool = False
    alternate: bool = False
    zoom: float = 1.0
    mix: bool = False
    erase: int = 0
    erase_until: int | None = None

    def __post_init__(self) -> None:
        if not 1.0 <= self.zoom <= 8.0:
            raise ConfigError(f"augment.zoom is {self.zoom}: it must lie in [1, 8]; 1 enlarges nothing")
        if self.alternate and not self.mirror:
            raise ConfigError("augment.alternate says how pictures are mirrored: set augment.mirror, too")
        if self.erase_until is not None and not self.erase:
            raise ConfigError("augment.erase_until says until when squares are erased: set augment.erase, too")
