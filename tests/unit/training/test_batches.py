import torch

from shared.manifest import Normalisation
from training.augment_recipe import AugmentRecipe
from training.batches import Batches
from training.data import Samples
from training.recipe import StageRecipe

COUNT, SIDE = 32, 8


def batches(**augment: object) -> Batches:
    """Of pictures that say which one they are (their label), and whether they are mirrored: the left half is darker."""
    frames = torch.full((COUNT, 1, SIDE, SIDE), 200, dtype=torch.uint8)
    frames[..., : SIDE // 2] = 100
    stage = StageRecipe("backbone", 4, 0.1, batch_size=8, augment=AugmentRecipe(**augment))  # type: ignore[arg-type]
    return Batches(Samples(frames, torch.arange(COUNT)), Normalisation(1.0, (0.0,), (1.0,)), stage, 3, 0, "static")


def mirrored(of: Batches, epoch: int) -> list[bool]:
    """Of each sample, in the order of the samples."""
    seen = [pair for frames, labels, _ in of.epoch(epoch) for pair in zip(labels.tolist(), frames, strict=True)]
    assert [label for label, _ in sorted(seen, key=lambda pair: pair[0])] == list(range(COUNT))
    return [bool(frame[0, 0, 0] > frame[0, 0, -1]) for _, frame in sorted(seen, key=lambda pair: pair[0])]


def test_alternately_mirrored_pictures_are_seen_both_ways_in_two_epochs() -> None:
    some = batches(mirror=True, alternate=True)
    first, second, third = (mirrored(some, epoch) for epoch in range(3))
    assert [not flipped for flipped in first] == second
    assert first == third
    assert 4 < sum(first) < COUNT - 4
    drawn = batches(mirror=True)
    assert [not flipped for flipped in mirrored(drawn, 0)] != mirrored(drawn, 1)


def test_nothing_is_erased_in_the_last_epochs() -> None:
    some = batches(erase=4, erase_until=2)
    black = [sum(int((frames == 0).sum()) for frames, *_ in some.epoch(epoch)) for epoch in range(4)]
    assert min(black[:2]) > 0
    assert black[2:] == [0, 0]


def test_a_stage_begun_in_the_middle_of_an_epoch_sees_the_same_batches() -> None:
    some = batches(mirror=True, alternate=True, shift=2)
    whole = list(some.epoch(1))
    for (frames, labels, _), (again, same, _) in zip(whole[2:], some.epoch(1, 2), strict=True):
        assert torch.equal(frames, again)
        assert torch.equal(labels, same)
