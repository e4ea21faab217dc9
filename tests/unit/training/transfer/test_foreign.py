from pathlib import Path

import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from safetensors.torch import save_file

from shared.errors import ConfigError
from training.transfer.foreign import read_state

WEIGHT = torch.arange(6.0).reshape(2, 3)
STATE = {"conv1.weight": WEIGHT, "bn1.num_batches_tracked": torch.tensor(7)}


@pytest.mark.parametrize("wrapped", ["", "state_dict", "model"])
def test_a_state_dict_alone_or_in_a_checkpoint(tmp_path: Path, wrapped: str) -> None:
    path = tmp_path / "w.pth"
    parallel = {f"module.{name}": value for name, value in STATE.items()}
    torch.save({wrapped: parallel, "epoch": 3} if wrapped else parallel, path)
    read = read_state(path)
    assert list(read) == ["conv1.weight"], "counters are no weights"
    assert torch.equal(read["conv1.weight"], WEIGHT)


def test_halves_become_float32(tmp_path: Path) -> None:
    save_file({"conv1.weight": WEIGHT.half()}, tmp_path / "w.safetensors")
    read = read_state(tmp_path / "w.safetensors")["conv1.weight"]
    assert read.dtype == torch.float32
    assert torch.equal(read, WEIGHT)


def test_the_initializers_of_an_onnx_file(tmp_path: Path) -> None:
    values = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
    stored = numpy_helper.from_array(WEIGHT.numpy(), "conv1.weight")
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "g", [values], [], [stored])
    onnx.save(helper.make_model(graph), str(tmp_path / "w.onnx"))
    assert torch.equal(read_state(tmp_path / "w.onnx")["conv1.weight"], WEIGHT)


@pytest.mark.parametrize("name", ["junk.pth", "junk.safetensors", "junk.onnx"])
def test_what_is_no_weights_file_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"junk" * 20)
    with pytest.raises(ConfigError, match=f"{name} is no weights file"):
        read_state(tmp_path / name)
    with pytest.raises(ConfigError, match="no file"):
        read_state(tmp_path / f"none-{name}")


class Code:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("code of the file was run",)


def test_code_in_a_file_is_not_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"conv1.weight": WEIGHT, "more": Code()}, tmp_path / "w.pth")
    with pytest.raises(ConfigError, match="no weights file"):
        read_state(tmp_path / "w.pth")
    assert not capsys.readouterr().out


def test_a_file_of_something_else(tmp_path: Path) -> None:
    torch.save([WEIGHT], tmp_path / "w.pth")
    with pytest.raises(ConfigError, match="holds a list"):
        read_state(tmp_path / "w.pth")
