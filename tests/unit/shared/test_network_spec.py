from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import ConfigError
from shared.network_spec import SPLITS, BottleneckSpec, NetworkSpec, NeuronSpec

VALID: dict[str, Any] = {"backbone": "resnet18", "input_shape": [3, 32, 32], "classes": 10, "split": "layer1"}

specs = st.sampled_from(sorted(SPLITS)).flatmap(
    lambda backbone: st.builds(
        NetworkSpec,
        backbone=st.just(backbone),
        input_shape=st.tuples(*[st.integers(1, 64)] * 3),
        classes=st.integers(1, 101),
        split=st.sampled_from(SPLITS[backbone]),
        width=st.integers(1, 64),
        timesteps=st.integers(1, 16),
        stem=st.just("cifar"),
        blocks=st.tuples(*[st.integers(1, 3)] * 4) if backbone == "resnet18" else st.just((2, 2, 2, 2)),
        shortcut=st.sampled_from(["currents", "spikes"] if backbone == "resnet18" else ["currents"]),
        input_kind=st.sampled_from(["static", "events"]),
        neuron=st.builds(NeuronSpec, leak=st.floats(0.1, 1.0), threshold=st.floats(0.5, 4.0)),
        bottleneck=st.none() | st.builds(BottleneckSpec, st.integers(1, 64), st.sampled_from([1, 2, 4, 8])),
    )
)


@given(specs)
def test_plain_values_and_back(spec: NetworkSpec) -> None:
    assert NetworkSpec.from_dict(spec.to_dict()) == spec


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"backbone": "resnet50"}, "resnet50"),
        ({"split": "block1"}, "layer4"),
        ({"input_shape": [3, 32]}, "input_shape"),
        ({"input_shape": [3, 32, 0]}, "input_shape"),
        ({"classes": 0}, "classes"),
        ({"classes": "ten"}, "classes"),
        ({"timesteps": -1}, "timesteps"),
        ({"stem": "none"}, "stem"),
        ({"input_kind": "sound"}, "input_kind"),
        ({"depth": 3}, "depth"),
        ({"blocks": [2, 2, 2]}, "blocks"),
        ({"blocks": [2, 2, 0, 2]}, "blocks"),
        ({"shortcut": "none"}, "shortcut"),
        ({"backbone": "vgg16", "split": "block1", "blocks": [2, 2, 2, 3]}, "blocks"),
        ({"backbone": "vgg16", "split": "block1", "shortcut": "spikes"}, "shortcut"),
        ({"neuron": {"leak": 0.0}}, "leak"),
        ({"neuron": {"threshold": -1.0}}, "threshold"),
        ({"neuron": {"initial_membrane": 1.5}}, "initial_membrane"),
        ({"neuron": {"surrogate": "relu"}}, "surrogate"),
        ({"bottleneck": {"channels": 0}}, "channels"),
        ({"bottleneck": {"stride": 3}}, "stride"),
        ({"backbone": "vgg16", "split": "block1", "stem": "imagenet"}, "stem"),
    ],
)
def test_what_is_wrong_is_named(change: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        NetworkSpec.from_dict(VALID | change)


def test_what_was_written_before_there_were_blocks_and_shortcuts_is_read_as_it_was() -> None:
    spec = NetworkSpec.from_dict(VALID)
    assert (spec.blocks, spec.shortcut) == ((2, 2, 2, 2), "currents")


def test_a_missing_field_is_named() -> None:
    with pytest.raises(ConfigError, match="classes"):
        NetworkSpec.from_dict({name: value for name, value in VALID.items() if name != "classes"})
