from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from shared.exit_policy import ExitPolicy
from shared.licences import Licence
from shared.network_spec import NeuronSpec
from tests.unit.training.teacher.teachers import write_onnx
from training import deploy
from training.calibrate import Calibration
from training.data import TrainingData
from training.device import machine
from training.recipe import read_recipe
from training.stages import build_network, train_stage
from training.weights import save_weights, weights_digest

RECIPES = Path(__file__).parents[3] / "recipes"


def test_a_bundle_carries_the_licences_of_its_weights(
    tmp_path: Path, data: TrainingData, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = (Licence("ResNet-18, from a package", "MIT License"),)
    write_onnx(tmp_path / "t.onnx", weights=np.ones((3, 10)), source="Net", licence="Apache License")
    recipe = read_recipe(RECIPES / "resnet18-cifar10.toml", ("network.width=4",))
    network = replace(recipe.network, bottleneck=None, neuron=NeuronSpec(leak=0.9))  # no `rate`, so no graphs
    stage = replace(recipe.stages[0], epochs=0, neurons="spiking", resolutions=(), init=str(tmp_path / "w.safetensors"))
    stage = replace(stage, teacher=str(tmp_path / "t.onnx"), distill=1.0)
    recipe = replace(recipe, network=network, stages=(stage,))
    calibration = Calibration(1.0, ExitPolicy("margin", 1.0), 0.1, 0.1, 4, 4.0, 1.0, 1.0, None)
    monkeypatch.setattr(deploy, "read_calibration", lambda *_: {"spiking": calibration})
    with machine("cpu", threads=1) as where:
        save_weights(build_network(recipe, stage, where), tmp_path / "w.safetensors", theirs)
        train_stage(recipe, 0, data, tmp_path, where)
        bundle = deploy.export_bundle(recipe, data, tmp_path, tmp_path / "bundle", where)
    assert bundle.licences() == (*theirs, Licence("Net", "Apache License", "teacher"))
    assert [entry["licence"] for entry in bundle.manifest.provenance["licences"]] == ["MIT License", "Apache License"]
    (described,) = bundle.manifest.provenance["stages"]
    assert (described["teacher"], described["teacher_sha256"]) == ("t.onnx", weights_digest(tmp_path / "t.onnx"))
    assert bundle.manifest.provenance["seconds"] == [0.0]
