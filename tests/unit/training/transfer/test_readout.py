import torch
from torch import nn

from shared.models.split import SplitNetwork
from shared.network_spec import NetworkSpec
from training.activations import rectify, use
from training.transfer.readout import features, fit_readout


def test_what_a_line_divides_is_told_apart() -> None:
    random = torch.Generator().manual_seed(0)
    labels = torch.arange(300) % 3
    centres = torch.tensor([[0.0, 500.0, 1.0], [3.0, 500.0, 1.0], [0.0, 503.0, 1.0]])
    seen = centres[labels] + 0.3 * torch.randn(300, 3, generator=random)
    seen[:, 2] = 1.0  # a feature that never changes
    readout = nn.Linear(3, 3)
    fit_readout(readout, seen, labels)
    assert (readout(seen).argmax(1) == labels).float().mean() > 0.98


@torch.no_grad()
def test_the_features_are_what_the_readout_sees() -> None:
    torch.manual_seed(0)
    network = SplitNetwork(NetworkSpec("resnet18", (3, 16, 16), 4, "layer2", width=4, timesteps=1)).eval()
    use(network, rectify)
    pictures = torch.rand(3, 3, 16, 16)
    torch.testing.assert_close(network.cloud.readout.linear(features(network, pictures)), network(pictures)[0])
