"""Slots: a row holds the state of its owner alone, whatever its former owner left."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from cloud_server.tails.membranes import ALIGNED, MembraneSlots, SpikingState
from shared.models.layers import State
from shared.models.split import CloudNetwork
from shared.network_spec import BottleneckSpec, NetworkSpec, NeuronSpec

COUNT = 5


@pytest.fixture(scope="module")
def network() -> CloudNetwork:
    spec = NetworkSpec(
        "resnet18",
        (1, 16, 16),
        4,
        "layer2",
        width=4,
        bottleneck=BottleneckSpec(1, 2),
        neuron=NeuronSpec(initial_membrane=0.25),
    )
    return CloudNetwork(spec).eval()


@pytest.fixture
def slots(network: CloudNetwork) -> MembraneSlots:
    made = MembraneSlots(network, COUNT, torch.device("cpu"), torch.float32)
    made._buffer.fill_(float("nan"))  # what memory held before; no sample may see it
    return made


def random_rows(slots: MembraneSlots, batch: int, seed: int = 0) -> SpikingState:
    generator = torch.Generator().manual_seed(seed)
    rows = slots.fresh(batch)
    for part in (*rows.membranes, rows.logits):
        part.copy_(torch.randn(part.shape, generator=generator))
    return rows


def assert_equal(left: SpikingState, right: SpikingState) -> None:
    assert all(torch.equal(a, b) for a, b in zip(left.membranes, right.membranes, strict=True))
    assert torch.equal(left.logits, right.logits)


def initial(network: CloudNetwork, batch: int) -> SpikingState:
    return plain(network.initial_state(batch), torch.zeros(batch, network.spec.classes))


def plain(membranes: State, logits: Tensor) -> SpikingState:
    """MembraneSlots and logits to compare with, of no block."""
    return SpikingState(membranes, logits, torch.empty(0))


def test_every_row_is_handed_out_once(slots: MembraneSlots) -> None:
    rows = [slots.allocate("an edge") for _ in range(COUNT)]
    assert sorted(rows) == list(range(COUNT))
    assert slots.in_use == COUNT
    assert slots.allocate("an edge") is None
    slots.free(rows[2])
    assert slots.in_use == COUNT - 1
    assert slots.allocate("an edge") == rows[2]


def test_a_reset_row_is_the_initial_state(slots: MembraneSlots, network: CloudNetwork) -> None:
    slots.reset([3, 1])
    assert_equal(slots.gather([1, 3]), initial(network, 2))
    slots.reset([])


def test_what_is_scattered_is_gathered_in_any_order(slots: MembraneSlots, network: CloudNetwork) -> None:
    state = random_rows(slots, 3)
    slots.scatter([4, 0, 2], state)
    got = slots.gather([2, 4])
    assert_equal(got, plain(tuple(m[[2, 0]] for m in state.membranes), state.logits[[2, 0]]))


def test_a_row_handed_to_a_new_sample_shows_nothing_of_the_old_one(slots: MembraneSlots, network: CloudNetwork) -> None:
    slots.scatter([0, 1], random_rows(slots, 2))
    before = slots.gather([1])
    before = plain(tuple(membrane.clone() for membrane in before.membranes), before.logits.clone())
    slots.reset([0])
    assert_equal(slots.gather([0]), initial(network, 1))
    assert_equal(slots.gather([1]), before)


def test_who_gathers_may_overwrite(slots: MembraneSlots, network: CloudNetwork) -> None:
    slots.reset([0])
    for tensor in (got := slots.gather([0])).membranes:
        tensor.fill_(9.0)
    got.logits.fill_(9.0)
    assert_equal(slots.gather([0]), initial(network, 1))


def test_a_state_that_does_not_fit_changes_nothing(slots: MembraneSlots, network: CloudNetwork) -> None:
    slots.reset([0, 1])
    good = random_rows(slots, 2)
    for bad in (random_rows(slots, 3), replace(good, block=good.block[:, :-1])):
        with pytest.raises(ValueError, match="does not fit"):
            slots.scatter([0, 1], bad)
    assert_equal(slots.gather([0, 1]), initial(network, 2))


def test_bytes_per_row(slots: MembraneSlots, network: CloudNetwork) -> None:
    parts = [membrane.numel() for membrane in network.initial_state(1)] + [network.spec.classes]
    assert slots.bytes_per_row == 4 * sum(-(-numbers // ALIGNED) * ALIGNED for numbers in parts)


def test_batches_are_gathered_into_the_same_memory(slots: MembraneSlots) -> None:
    slots.reset(range(COUNT))
    largest = slots.gather(range(COUNT)).block.data_ptr()
    assert {slots.gather(rows).block.data_ptr() for rows in ([1], [2, 0], range(COUNT))} == {largest}


def test_a_batch_is_one_block_and_its_parts_lie_as_channels_last_tensors_do(slots: MembraneSlots) -> None:
    rows = slots.fresh(3)
    filled = random_rows(slots, 3)
    rows.block.copy_(filled.block)
    assert_equal(rows, filled)
    for part in rows.membranes:
        assert part.data_ptr() % (4 * ALIGNED) == 0
        assert torch.empty_like(part).is_contiguous(memory_format=torch.channels_last)
