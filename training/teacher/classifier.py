"""Runs a picture classifier from an ONNX or TorchScript file: pictures to logits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
import torch.nn.functional as F
from torch import Tensor

from shared.errors import ConfigError
from training import imagenet
from training.recipe import StageRecipe

TORCHSCRIPT = (".pt", ".ts")

INPUT_TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(uint8)": np.uint8}
"""Input types of a graph. uint8 means the picture itself, 0 to 255, without normalisation."""

LEAST_PROBABILITY = 1e-7


@dataclass(frozen=True)
class _Network:
    """A classifier read from a file.

    run: a batch [B, C, H, W] of its own type to [B, classes] float32.
    size: its height and width; None for any.
    takes_bytes: uint8, not normalised.
    """

    run: Callable[[Tensor], Tensor]
    size: tuple[int, int] | None
    takes_bytes: bool


class Classifier:
    """A loaded teacher.

    Args:
        stage: names its file, and says what it takes.
        classes: its classes, in the order of the data set's.
        device: for TorchScript, and for ONNX where onnxruntime knows it.

    Raises:
        ConfigError: the file is none of these, or is a network with other classes or for another kind of input.
    """

    def __init__(self, stage: StageRecipe, classes: int, device: torch.device) -> None:
        assert stage.teacher is not None
        self._path = Path(stage.teacher)
        if not self._path.is_file():
            raise ConfigError(f"teacher {self._path} is no file")
        self._stage = stage
        self._network = (_torchscript if self._path.suffix in TORCHSCRIPT else _onnx)(self._path, device)
        self._size = self._own_size()
        if self._network.takes_bytes and (stage.teacher_mean, stage.teacher_std) != (imagenet.MEAN, imagenet.STD):
            raise ConfigError(f"teacher {self._path} takes pictures as they are: teacher_mean and _std have no effect")
        self._gives_probabilities = self._probe(classes)

    def logits(self, pictures: Tensor) -> Tensor:
        """Of pictures, uint8 [B, C, H, W] of any size: float32 [B, classes], on the CPU.

        Raises:
            ConfigError: they are no finite numbers.
        """
        answers = self._network.run(self._prepared(pictures))
        if self._gives_probabilities:
            answers = answers.clamp(min=LEAST_PROBABILITY).log()
        if not answers.half().isfinite().all():
            raise ConfigError(f"teacher {self._path} gives logits that are no finite numbers (in float16)")
        return answers

    def _own_size(self) -> tuple[int, int]:
        fixed, side = self._network.size, self._stage.teacher_side
        if fixed is None:
            if side is None:
                raise ConfigError(f"teacher {self._path} takes pictures of any size: set teacher_side")
            return side, side
        if side is not None and fixed != (side, side):
            raise ConfigError(f"teacher {self._path} takes {fixed[0]} x {fixed[1]} pixels, teacher_side is {side}")
        return fixed

    def _prepared(self, pictures: Tensor) -> Tensor:
        mean, std = (torch.tensor(v).view(-1, 1, 1) for v in (self._stage.teacher_mean, self._stage.teacher_std))
        resized = resize(pictures, self._size)
        if resized.shape[1] == 1:
            resized = resized.expand(-1, len(mean), -1, -1)  # a grey picture in colours
        return resized if self._network.takes_bytes else (resized.float() / 255.0 - mean) / std

    def _probe(self, classes: int) -> bool:
        """Run it once on noise; return whether its answers are probabilities."""
        channels = len(self._stage.teacher_mean)
        noise = torch.randint(0, 256, (2, channels, 32, 32), generator=torch.Generator().manual_seed(0))
        try:
            answers = self._network.run(self._prepared(noise.byte()))
        except Exception as error:  # a different type for each framework and mistake
            raise ConfigError(
                f"teacher {self._path} cannot answer for {channels} x {self._size[0]} x {self._size[1]} values: {error}"
            ) from None
        if answers.shape != (2, classes):
            raise ConfigError(
                f"teacher {self._path} gives {tuple(answers.shape[1:])} numbers a picture, network.classes is {classes}"
            )
        return bool((answers >= 0.0).all() and ((answers.sum(1) - 1.0).abs() < 1e-3).all())


def resize(pictures: Tensor, size: tuple[int, int]) -> Tensor:
    """Bicubic, with antialiasing where pictures shrink: uint8 [B, C, H, W] -> uint8 [B, C, *size]."""
    if tuple(pictures.shape[-2:]) == size:
        return pictures
    shrinks = size[0] < pictures.shape[-2]
    resized = F.interpolate(pictures.float(), size=size, mode="bicubic", antialias=shrinks, align_corners=False)
    return resized.round_().clamp_(0.0, 255.0).byte()


def _onnx(path: Path, device: torch.device) -> _Network:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    wanted = ["CUDAExecutionProvider"] if device.type == "cuda" else []
    providers = [name for name in wanted if name in onnxruntime.get_available_providers()]
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=[*providers, "CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises a different type for each kind of damage
        raise ConfigError(f"teacher {path} is no ONNX file that onnxruntime runs ({error})") from None
    first, *others = session.get_inputs()
    if others or len(first.shape) != 4 or first.type not in INPUT_TYPES:
        found = ", ".join(f"{value.name} {value.type} {value.shape}" for value in session.get_inputs())
        raise ConfigError(f"teacher {path} takes {found}: one picture of four dimensions is expected")
    batch, *shape = first.shape
    channels_last = shape[2] in (1, 3) and shape[0] not in (1, 3)
    height, width = shape[:2] if channels_last else shape[1:]
    output = session.get_outputs()[0].name

    def ask(pictures: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        answers: np.ndarray[Any, Any] = session.run([output], {first.name: pictures})[0]
        return answers.reshape(len(pictures), -1).astype(np.float32)

    def run(pictures: Tensor) -> Tensor:
        values = (pictures.permute(0, 2, 3, 1) if channels_last else pictures).contiguous().numpy()
        values = values.astype(INPUT_TYPES[first.type], copy=False)
        if not isinstance(batch, int):
            return torch.from_numpy(ask(values))
        pieces = [values[start : start + batch] for start in range(0, len(values), batch)]
        last = len(pieces[-1])
        pieces[-1] = np.concatenate([pieces[-1], np.repeat(pieces[-1][-1:], batch - last, 0)])
        return torch.from_numpy(np.concatenate([ask(piece) for piece in pieces])[: len(values)])

    fixed = isinstance(height, int) and isinstance(width, int)
    return _Network(run, (height, width) if fixed else None, first.type == "tensor(uint8)")


def _torchscript(path: Path, device: torch.device) -> _Network:
    try:
        module = torch.jit.load(str(path), map_location=device).eval()  # type: ignore[no-untyped-call]
    except (RuntimeError, ValueError) as error:
        raise ConfigError(f"teacher {path} is no TorchScript file ({error})") from None

    @torch.inference_mode()
    def run(pictures: Tensor) -> Tensor:
        answers: Tensor = module(pictures.to(device))
        return answers.flatten(1).float().cpu()

    return _Network(run, None, takes_bytes=False)
