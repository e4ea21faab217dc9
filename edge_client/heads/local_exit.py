"""The edge's local exit: a small classifier on the encoder's spikes, for use without a cloud.

It needs neither torch nor another runtime: numpy alone, a few hundred thousand multiplications. training/local_exit.py
trains it and has a diagram.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from shared.bundle import Bundle, Weights
from shared.errors import BundleError
from shared.exit_policy import ExitPolicy
from shared.manifest import LocalExitSpec
from shared.network_spec import Shape

Float32Array = NDArray[np.float32]

KERNEL = 3


class LocalExit(Protocol):
    """A classifier on the spikes that would cross the link. It keeps no state. `policy` decides when its answer counts
    without the cloud.
    """

    @property
    def policy(self) -> ExitPolicy:
        """The exit policy, calibrated for this exit and not for the cloud's."""

    def confidences(self, mean_spikes: NDArray[np.float32]) -> tuple[float, ...]:
        """The confidences of all classes from the mean [C', H', W'] of the encoder's spikes so far."""


class NumpyLocalExit:
    """A bundle's local exit: pooling, convolution, pooling, two layers.

    Args:
        spec: its pooling, temperature and policy.
        weights: of the layers `features`, `hidden` and `readout`.
        shape: of the mean spikes.
        classes: how many.

    Raises:
        BundleError: weights are missing or do not fit.
    """

    def __init__(self, spec: LocalExitSpec, weights: Weights, shape: Shape, classes: int) -> None:
        self._pools = spec.pools
        self._temperature = spec.temperature
        self._policy = spec.exit_policy
        try:
            self._features, self._hidden, self._readout = (
                (np.asarray(weights[f"{layer}.weight"], np.float32), np.asarray(weights[f"{layer}.bias"], np.float32))
                for layer in ("features", "hidden", "readout")
            )
            found = len(self.confidences(np.zeros(shape, np.float32)))
        except (KeyError, ValueError, TypeError, IndexError, OverflowError) as error:
            raise BundleError(f"the local exit does not fit the manifest: {error}; copy the bundle again") from None
        if found != classes:
            raise BundleError(f"the local exit knows {found} classes, the manifest {classes}; copy the bundle again")

    @property
    def policy(self) -> ExitPolicy:
        return self._policy

    def confidences(self, mean_spikes: NDArray[np.float32]) -> tuple[float, ...]:
        maps = pooled(mean_spikes.astype(np.float32, copy=False), self._pools[0])
        maps = pooled(np.maximum(convolved(maps, *self._features), 0.0), self._pools[1])
        hidden = np.maximum(self._hidden[0] @ maps.ravel() + self._hidden[1], 0.0)
        scores = (self._readout[0] @ hidden + self._readout[1]).astype(np.float64) / self._temperature
        shares = np.exp(scores - scores.max())
        return tuple((shares / shares.sum()).tolist())


def convolved(maps: Float32Array, weight: Float32Array, bias: Float32Array) -> Float32Array:
    """Maps [C, H, W] and a 3 x 3 kernel [F, C, 3, 3] -> [F, H, W], zeros around the edge."""
    _, height, width = maps.shape
    padded = np.pad(maps, ((0, 0), (1, 1), (1, 1)))
    patches = sliding_window_view(padded, (KERNEL, KERNEL), axis=(1, 2)).transpose(0, 3, 4, 1, 2)
    columns = patches.reshape(-1, height * width)
    out: Float32Array = (weight.reshape(len(weight), -1) @ columns + bias[:, np.newaxis]).reshape(-1, height, width)
    return out


def pooled(maps: Float32Array, side: int) -> Float32Array:
    """Means over squares of this side; squares at the border are cut, and their means cover what is left."""
    if side == 1:
        return maps
    rows, columns = (np.arange(0, length, side) for length in maps.shape[1:])
    sums = np.add.reduceat(np.add.reduceat(maps, rows, axis=1), columns, axis=2)
    heights, widths = (
        np.diff(np.append(starts, length)) for starts, length in zip((rows, columns), maps.shape[1:], strict=True)
    )
    means: Float32Array = (sums / np.outer(heights, widths)).astype(np.float32)
    return means


def open_local_exit(bundle: Bundle) -> LocalExit | None:
    """Load the local exit of a bundle; None if it has none.

    Raises:
        BundleError: its weights are missing, damaged, or do not fit.
    """
    spec, weights = bundle.settings.local_exit, bundle.local_exit_weights()
    if spec is None or weights is None:
        return None
    return NumpyLocalExit(spec, weights, bundle.manifest.frame_shape, bundle.manifest.network.classes)
