"""EfficientNet-Lite0 with random weights: its graph, its fine-tuning, and the command; where its package is there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from torch import nn

from shared.errors import ConfigError
from shared.licences import Licence
from training.__main__ import main_group
from training.data import Samples
from training.device import Machine
from training.recipe import StageRecipe
from training.teacher import efficientnet, fine_tune
from training.teacher.cache import teacher_licence
from training.teacher.fine_tune import FineTuning

pytest.importorskip("efficientnet_lite_pytorch", reason="the extra `teacher` is not installed")

SAID = Licence("EfficientNet-Lite0, random", "Apache License", "teacher")
HERE = Machine(torch.device("cpu"), bfloat16=False, checkpoint_seconds=0.0)
PICTURES = torch.randint(0, 256, (12, 3, 32, 32), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
SAMPLES = Samples(PICTURES, torch.arange(12) % 3)


def random_network(seed: int = 0) -> nn.Module:
    """With normalisations that do something."""
    torch.manual_seed(seed)
    network = efficientnet.build(3, 32)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = 1.0
                module.weight.uniform_(0.7, 1.3)
                module.bias.uniform_(-0.2, 0.4)
        network.train()(efficientnet.prepared(PICTURES))
    return network.eval()


def test_the_graph_answers_as_the_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = random_network()

    def answers() -> Any:
        onnx.save(efficientnet.to_onnx(network, 32, SAID), str(tmp_path / "t.onnx"))
        session = onnxruntime.InferenceSession(str(tmp_path / "t.onnx"), providers=["CPUExecutionProvider"])
        return session.run(None, {"picture": PICTURES.numpy()})[0]

    with torch.no_grad():
        expected = network(efficientnet.prepared(PICTURES)).numpy()
    # Random weights magnify what float16 rounds; a trained network differs by a thousandth of its spread on average.
    assert np.abs(answers() - expected).max() < 0.2 * expected.std()
    assert teacher_licence(StageRecipe("backbone", 1, 0.1, distill=1.0, teacher=str(tmp_path / "t.onnx"))) == (SAID,)
    monkeypatch.setattr(efficientnet._Graph, "half", lambda self, value: self.writer.constant(value.numpy(force=True)))
    np.testing.assert_allclose(answers(), expected, atol=1e-3 * expected.std())


def test_a_killed_run_ends_in_the_same_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = FineTuning(side=32, epochs=2, batch_size=12)
    whole, killed, resumed = (random_network() for _ in range(3))
    before = {name: value.clone() for name, value in whole.state_dict().items()}
    fine_tune.fine_tune(whole, SAMPLES, settings, tmp_path / "whole", HERE)
    steps = fine_tune._step
    taken: list[int] = []

    def step(*arguments: Any) -> float:
        if len(taken) == 1:
            raise KeyboardInterrupt
        taken.append(1)
        return steps(*arguments)

    monkeypatch.setattr(fine_tune, "_step", step)
    with pytest.raises(KeyboardInterrupt):
        fine_tune.fine_tune(killed, SAMPLES, settings, tmp_path / "killed", HERE)
    monkeypatch.setattr(fine_tune, "_step", steps)
    fine_tune.fine_tune(resumed, SAMPLES, settings, tmp_path / "killed", HERE)
    for name, value in resumed.state_dict().items():
        assert torch.equal(value, whole.state_dict()[name]), name
        frozen = "running" in name or name.startswith(("_conv_stem", "_bn0", "_blocks.0.", "_blocks.3."))
        if frozen or name.endswith(("_fc.weight", "_blocks.4._project_conv.weight")):
            assert torch.equal(value, before[name]) == frozen, name


@pytest.fixture
def arguments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    random = np.random.default_rng(0)
    for label in range(3):
        folder = tmp_path / "pictures" / str(label)
        folder.mkdir(parents=True)
        for number in range(15):
            Image.fromarray(random.integers(0, 255, (32, 32, 3), np.uint8)).save(folder / f"{number:02}.png")
    (tmp_path / "recipe.toml").write_text("""
        name = "small"
        data = { name = "folder", held_out = 6 }
        network = { backbone = "resnet18", input_shape = [3, 32, 32], classes = 3, split = "layer1", width = 4 }
        stages = [{ kind = "backbone", epochs = 1, learning_rate = 0.01 }]
    """)
    state = random_network(1).state_dict()
    imagenet = {name: value for name, value in state.items() if value.is_floating_point() and "_fc" not in name}
    monkeypatch.setattr(efficientnet, "imagenet_weights", lambda: imagenet)
    monkeypatch.setattr(efficientnet, "licence", lambda _: SAID)
    given = {"--recipe": "recipe.toml", "--data": "pictures", "--out": "teacher.onnx", "--runs": "runs"}
    named = [word for flag, name in given.items() for word in (flag, str(tmp_path / name))]
    return ["teacher", *named, "--side", "32", "--epochs", "1", "--device", "cpu", "--threads", "1"]


def test_the_command_leaves_one_file_that_is_measured(
    tmp_path: Path, arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    result = CliRunner().invoke(main_group, arguments, catch_exceptions=False)
    assert "of 6 held-out pictures" in result.output
    written = (tmp_path / "teacher.onnx").read_bytes()
    (weights,) = (tmp_path / "runs/teachers").glob("*/weights.safetensors")
    monkeypatch.setattr("training.commands.teacher.fine_tune", None)  # what is done is not done again
    for again in ([], ["--weights", str(weights)]):
        (tmp_path / "teacher.onnx").unlink()
        CliRunner().invoke(main_group, [*arguments, *again], catch_exceptions=False)
        assert (tmp_path / "teacher.onnx").read_bytes() == written


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        (["--out", "teacher.pt"], "name an .onnx file"),
        (["--side", "100"], "a multiple of 32"),
        (["--set", "network.input_shape=[1,32,32]"], "coloured pictures"),
        (["--weights", "recipe.toml"], "no weights file"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, arguments: list[str], changed: list[str], named: str) -> None:
    where = [str(tmp_path / "recipe.toml") if word == "recipe.toml" else word for word in changed]
    with pytest.raises(ConfigError, match=named):
        CliRunner().invoke(main_group, [*arguments, *where], catch_exceptions=False)


def test_weights_of_another_network_are_refused() -> None:
    network = random_network()
    state = {name: value for name, value in network.state_dict().items() if value.is_floating_point()}
    del state["_blocks.4._bn1.bias"]
    with pytest.raises(ConfigError, match=r"_blocks\.4\._bn1\.bias"):
        efficientnet.take(network, state, "x.pth", classifier=True)
    with pytest.raises(ConfigError, match="another network"):
        efficientnet.take(network, {"_fc.bias": torch.zeros(7)}, "x.pth", classifier=True)
