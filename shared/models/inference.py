"""The form of a network that answers, not learns: the same functions with less work.

Batch normalisation is folded into the convolution before it, weights are laid out channels last, and neurons write
into the membrane they are given. The folding rounds anew, so currents differ in their last bits, and a spike may differ
where a membrane comes that close to its threshold: rare, and tested against the reference.
"""

from __future__ import annotations

import copy
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from shared.models.layers import SpikingModule
from shared.network_spec import NeuronSpec

Network = TypeVar("Network", bound=SpikingModule)


def inference_form(network: Network) -> Network:
    """A copy of `network` for inference alone; `network` itself is left as it is.

    The copy is called like the original, and **overwrites the state that it is given**: hand it a state that nobody
    else reads, and keep the one it returns. Inputs are fastest in `torch.channels_last`; results are the same in any.
    """
    fast = copy.deepcopy(network).eval().requires_grad_(False)
    for module in fast.modules():
        if isinstance(module, nn.Sequential):
            _fold_normalisation(module)
    for neuron in fast.neurons:
        neuron.recurrence = in_place_recurrence
    for parameter in fast.parameters():
        if parameter.dim() == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return fast


def in_place_recurrence(currents: Tensor, membrane: Tensor, spec: NeuronSpec) -> tuple[Tensor, Tensor]:
    """`inference_recurrence` with the same operations in the same order, so the same bits, written into `membrane`.

    A membrane that is one number seen many times, as `initial_state` gives it, is copied first.
    """
    if 0 in membrane.stride():
        membrane = torch.empty_like(currents[0]).copy_(membrane)
    spikes = []
    for current in currents:
        fired = torch.gt(membrane, spec.threshold, out=torch.empty_like(membrane))
        if spec.leak != 1.0:
            membrane.mul_(spec.leak)
        membrane.add_(current).sub_(fired, alpha=spec.threshold)
        spikes.append(torch.gt(membrane, spec.threshold, out=fired))
    return (spikes[0].unsqueeze(0) if len(spikes) == 1 else torch.stack(spikes)), membrane


def _fold_normalisation(pair: nn.Sequential) -> None:
    """Make (convolution, batch normalisation) one convolution with a bias, and nothing after it."""
    if len(pair) != 2:
        return
    convolution, norm = pair[0], pair[1]
    if isinstance(convolution, nn.Conv2d | nn.ConvTranspose2d) and isinstance(norm, nn.BatchNorm2d):
        transposed = isinstance(convolution, nn.ConvTranspose2d)
        pair[0] = fuse_conv_bn_eval(convolution, norm, transpose=transposed)
        pair[1] = nn.Identity()
