"""The inference form of a network: the same functions with fewer operations.

Batch normalisation is folded into the convolution before it, weights are laid out channels last, and neurons overwrite
their membrane. The folding rounds differently, so currents differ in their last bits. A spike may differ where a
membrane is that close to its threshold; this is rare, and tested against the reference.
"""

from __future__ import annotations

import copy
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from shared.models.layers import Gain, SpikingModule
from shared.network_spec import NeuronSpec

_Network = TypeVar("_Network", bound=SpikingModule)


def inference_form(network: _Network, dtype: torch.dtype = torch.float32) -> _Network:
    """A copy of `network` for inference alone; `network` itself is left as it is.

    The copy is called like the original, but **overwrites its state**: pass a state that nothing else reads, and keep
    the one that it returns. Inputs are fastest in `torch.channels_last`; results are the same in any.

    Args:
        network: in float32.
        dtype: of convolutions and spikes, hence of the inputs too. Membranes keep the type they are given in, and the
            readout float32: sums over space and time are not rounded. Below float32 weights and
            currents are rounded, so some spikes differ.
    """
    fast = copy.deepcopy(network).eval().requires_grad_(False)
    for module in fast.modules():
        if isinstance(module, nn.Sequential):
            _fold_normalisation(module)
    for module in fast.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | Gain):
            module.to(dtype)
    for neuron in fast.neurons:
        neuron.recurrence = in_place_recurrence
    for parameter in fast.parameters():
        if parameter.dim() == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return fast


def in_place_recurrence(currents: Tensor, membrane: Tensor, spec: NeuronSpec) -> tuple[Tensor, Tensor]:
    """`inference_recurrence` with the same operations in the same order, so the same bits, written into `membrane`.

    A membrane that is one number expanded to a shape, as from `initial_state`, is copied first.
    """
    if 0 in membrane.stride():
        membrane = torch.empty_like(currents[0], dtype=membrane.dtype).copy_(membrane)
    spikes = []
    for current in currents:
        fired = torch.gt(membrane, spec.threshold, out=torch.empty_like(membrane))
        if spec.leak != 1.0:
            membrane.mul_(spec.leak)
        # Convert to one type first: on the CPU mixed types are added three times slower.
        membrane.add_(current.to(membrane.dtype)).sub_(fired, alpha=spec.threshold)
        spikes.append(torch.gt(membrane, spec.threshold, out=fired).to(current.dtype))
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
