from dataclasses import replace

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from training.augment import augment, draw
from training.augment_recipe import AugmentRecipe


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(seed: int = 0, *shape: int) -> torch.Tensor:
    return torch.randint(1, 256, shape or (6, 3, 9, 7), generator=generator(seed), dtype=torch.uint8)


def augmented(frames: torch.Tensor, recipe: AugmentRecipe, seed: int) -> torch.Tensor:
    return augment(frames, recipe, draw(recipe, len(frames), generator(seed)))


def test_without_anything_asked_it_is_the_identity() -> None:
    assert torch.equal(augmented(pictures(), AugmentRecipe(), 0), pictures())


@given(st.integers(0, 1000), st.integers(1, 3))
@settings(max_examples=20, deadline=None)
def test_a_shift_moves_whole_pictures(seed: int, shift: int) -> None:
    before = pictures(seed)
    after = augmented(before, AugmentRecipe(shift=shift), seed)
    for one, other in zip(before, after, strict=True):
        padded = torch.nn.functional.pad(one, (shift,) * 4)
        windows = [padded[:, y : y + 9, x : x + 7] for y in range(2 * shift + 1) for x in range(2 * shift + 1)]
        assert any(torch.equal(other, window) for window in windows)


def test_what_comes_in_may_be_a_reflection() -> None:
    recipe = AugmentRecipe(shift=2)
    before = pictures(5)
    after = augment(before, recipe, draw(recipe, len(before), generator(5)), "reflect")
    assert after.dtype == torch.uint8
    assert (after > 0).all(), "nothing black, as the pictures have none"
    for one, other in zip(before, after, strict=True):
        padded = torch.nn.functional.pad(one.float(), (2,) * 4, mode="reflect").byte()
        assert any(torch.equal(other, padded[:, y : y + 9, x : x + 7]) for y in range(5) for x in range(5))


def test_mirroring_takes_some_and_leaves_some() -> None:
    before = pictures(1, 40, 1, 4, 5)
    after = augmented(before, AugmentRecipe(mirror=True), 1)
    same = [torch.equal(a, b) for a, b in zip(before, after, strict=True)]
    flipped = [torch.equal(a.flip(-1), b) for a, b in zip(before, after, strict=True)]
    assert all(s or f for s, f in zip(same, flipped, strict=True))
    assert 5 < sum(flipped) < 35


def test_who_is_mirrored_can_be_told() -> None:
    before = pictures(1, 40, 1, 4, 5)
    mirrored = torch.arange(40) % 3 == 0
    recipe = AugmentRecipe(mirror=True)
    after = augment(before, recipe, replace(draw(recipe, 40, generator(1)), mirrored=mirrored.unsqueeze(1)))
    assert torch.equal(after[mirrored], before[mirrored].flip(-1))
    assert torch.equal(after[~mirrored], before[~mirrored])


def test_erasing_leaves_a_black_square_at_most_so_large() -> None:
    after = augmented(pictures(2, 20, 3, 16, 16), AugmentRecipe(erase=6), 2)
    black = (after == 0).all(1).sum((1, 2))
    assert black.max() == 36
    assert black.min() >= 9


@given(st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_a_zoomed_picture_is_a_window_of_it(seed: int) -> None:
    rows, columns = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")
    slope = torch.stack([rows, columns]).mul(7).byte().expand(4, 2, 32, 32)  # what a pixel holds says where it lies
    recipe = AugmentRecipe(zoom=2.0)
    draws = draw(recipe, 4, generator(seed))
    after = augment(slope, recipe, draws).float()
    for axis in (0, 1):
        line = after[:, axis].amin(2 - axis)
        extent = (line[:, -2] - line[:, 1]) / 7 / 29  # the outermost pixels lie half outside
        assert torch.allclose(extent, 1 / draws.zoom[:, 0], atol=0.02)
        start = line[:, 1] / 7 - extent
        assert torch.allclose(start, draws.window[axis, :, 0] * (32 - 32 * extent) + extent / 2 - 0.5, atol=0.7)


def test_a_mixed_picture_is_mostly_itself_and_partly_the_next() -> None:
    levels = torch.tensor([0, 100, 200], dtype=torch.uint8).view(3, 1, 1, 1).expand(3, 1, 4, 4)
    draws = draw(AugmentRecipe(mix=True), 3, generator(4))
    after = augment(levels, AugmentRecipe(mix=True), draws)
    assert draws.share.max() <= 0.5
    share = draws.share.view(3)
    expected = torch.stack([100 * share[0], 100 + 100 * share[1], 200 - 200 * share[2]])
    assert torch.equal(after[:, 0, 0, 0].float(), expected.round())


def test_all_frames_of_a_clip_move_alike() -> None:
    clip = pictures(3, 4, 1, 2, 8, 8).expand(4, 5, 2, 8, 8).contiguous()
    after = augmented(clip, AugmentRecipe(shift=2, mirror=True, zoom=1.5, mix=True, erase=3), 3)
    assert after.shape == clip.shape
    for t in range(1, 5):
        assert torch.equal(after[:, t], after[:, 0])
    assert not torch.equal(after, clip)


def test_the_same_generator_gives_the_same() -> None:
    recipe = AugmentRecipe(shift=2, mirror=True, erase=3)
    assert torch.equal(augmented(pictures(), recipe, 7), augmented(pictures(), recipe, 7))
