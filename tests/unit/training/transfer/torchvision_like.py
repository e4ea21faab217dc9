"""Plain networks with torchvision's names, written out here: what an import is held against."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class BasicBlock(nn.Module):
    def __init__(self, given: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(given, channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.downsample: nn.Module | None = None
        if stride != 1 or given != channels:
            self.downsample = nn.Sequential(nn.Conv2d(given, channels, 1, stride, bias=False), nn.BatchNorm2d(channels))

    def forward(self, x: Tensor) -> Tensor:
        branch = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(branch + (x if self.downsample is None else self.downsample(x)))


class ResNet(nn.Module):
    """As torchvision's, for `width` channels in layer1."""

    def __init__(self, width: int, blocks: tuple[int, ...], classes: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        given = width
        for index, count in enumerate(blocks):
            channels = width << index
            layer = [
                BasicBlock(given if i == 0 else channels, channels, 2 if i == 0 < index else 1) for i in range(count)
            ]
            setattr(self, f"layer{index + 1}", nn.Sequential(*layer))
            given = channels
        self.fc = nn.Linear(given, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        for index in range(4):
            x = getattr(self, f"layer{index + 1}")(x)
        logits: Tensor = self.fc(x.mean((-2, -1)))
        return logits


def vgg_features(width: int, *, norm: bool) -> nn.Module:
    """`features` of torchvision's VGG-16, without or with batch normalisation; its convolutions have a bias."""
    layers: list[nn.Module] = []
    given = 3
    for block, count in enumerate((2, 2, 3, 3, 3)):
        channels = width * min(1 << block, 8)
        for _ in range(count):
            layers += [
                nn.Conv2d(given, channels, 3, padding=1),
                *([nn.BatchNorm2d(channels)] if norm else []),
                nn.ReLU(),
            ]
            given = channels
        layers.append(nn.MaxPool2d(2))
    network = nn.Module()
    network.features = nn.Sequential(*layers)
    return network


def lively(network: nn.Module) -> nn.Module:
    """Normalisation with statistics and gains of its own."""
    torch.manual_seed(1)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.normal_(0.0, 0.2)
            module.running_var.uniform_(0.3, 1.5)
            nn.init.uniform_(module.weight, 0.7, 1.5)
            nn.init.normal_(module.bias, 0.0, 0.3)
    return network.eval()
