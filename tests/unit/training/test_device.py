"""What a run's process is set up to."""

from __future__ import annotations

import pytest
import torch

from training.device import machine


def test_float32_is_not_tf32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    with machine("cpu"):
        assert not torch.backends.cudnn.allow_tf32
