import torch

from training.augment_recipe import AugmentRecipe
from training.teacher.views import Views

N = 40
PICTURES = torch.randint(1, 256, (N, 3, 6, 6), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
ALL = torch.arange(N)


def test_a_view_is_the_same_whoever_else_is_shown() -> None:
    views = Views(AugmentRecipe(shift=2, mirror=True, erase=3), N, 3)
    whole = [views.show(PICTURES, view, ALL) for view in range(3)]
    some = torch.tensor([7, 3, 30])
    for view in range(3):
        assert torch.equal(views.show(PICTURES[some], view, some), whole[view][some])
    assert not torch.equal(whole[0], whole[1])
    mixed = views.draws(torch.tensor([2, 0]), torch.tensor([5, 6]))
    single = views.draws(torch.tensor([0]), torch.tensor([6]))
    assert torch.equal(mixed.shift[:, 1:], single.shift)
    assert torch.equal(mixed.mirrored[1:], single.mirrored)


def test_fewer_views_are_the_first_of_more() -> None:
    few, many = (Views(AugmentRecipe(shift=2, mirror=True), N, count) for count in (2, 5))
    assert torch.equal(few.show(PICTURES, 1, ALL), many.show(PICTURES, 1, ALL))


def test_a_teacher_sees_nothing_erased() -> None:
    erasing = Views(AugmentRecipe(mirror=True, erase=4), N, 1)
    assert (erasing.show(PICTURES, 0, ALL) > 0).all()


def test_alternate_views_mirror_what_the_one_before_did_not() -> None:
    views = Views(AugmentRecipe(mirror=True, alternate=True), N, 4)
    shown = [views.draws(torch.full((N,), view), ALL).mirrored for view in range(4)]
    assert torch.equal(shown[0], ~shown[1])
    assert torch.equal(shown[0], shown[2])
    assert 8 < int(shown[0].sum()) < N - 8
