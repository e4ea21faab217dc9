"""Computes the energy that an edge spends on a sample, in joules, from operations, bytes and time on the air. Pure.

Two kinds of joules are kept apart by their types: `Modelled` ones are computed from published constants and compare two
methods; `Measured` ones come from a meter, and include everything else that the meter sees. Neither turns into the
other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Literal, get_args

from shared.operations import dense

if TYPE_CHECKING:  # numpy is for later: a wrong flag is answered at once
    from shared.bundle import Bundle
    from shared.manifest import ExecutionSpec

RadioName = Literal["none", "wifi", "lte", "3g", "lora"]
Meter = Literal["rapl", "ina3221", "file"]
METERS: tuple[Meter, ...] = get_args(Meter)

MAC_J = 4.6e-12
"""One 32-bit floating-point multiplication (3.7 pJ) and addition (0.9 pJ)."""

AC_J = 0.9e-12
"""The addition alone, which is all that a spike asks for."""

INTEGER_MAC_J = 0.3e-12
"""One 8-bit integer multiplication (0.2 pJ) and 32-bit integer addition (0.1 pJ)."""

OPERATIONS_SOURCE = (
    '45 nm CMOS at 0.9 V: M. Horowitz, "Computing\'s energy problem (and what we can do about it)", ISSCC 2014, '
    "figure 1.1.9"
)

_HUANG = (
    'J. Huang et al., "A Close Examination of Performance and Power Characteristics of 4G LTE Networks", MobiSys 2012, '
    "table 4"
)
_NANOJOULES_PER_BIT = 8e-9
"""Their mW per Mbit/s are nanojoules a bit; times this they are joules a byte."""


@dataclass(frozen=True)
class Radio:
    """A radio's power: joules for a byte in each direction, and watts while it is awake and nothing is on the air.

    A radio sleeps for nothing between samples: what it costs to stay reachable belongs to the device, not to a sample.
    """

    title: str
    up_j_per_byte: float
    down_j_per_byte: float
    listening_w: float
    source: str


RADIOS: Mapping[RadioName, Radio] = {
    "none": Radio("no radio (a cable)", 0.0, 0.0, 0.0, "not counted"),
    "wifi": Radio("Wi-Fi", 283.17 * _NANOJOULES_PER_BIT, 137.01 * _NANOJOULES_PER_BIT, 0.13286, _HUANG),
    "lte": Radio("LTE", 438.39 * _NANOJOULES_PER_BIT, 51.97 * _NANOJOULES_PER_BIT, 1.28804, _HUANG),
    "3g": Radio("3G", 868.98 * _NANOJOULES_PER_BIT, 122.12 * _NANOJOULES_PER_BIT, 0.81788, _HUANG),
    # At 3.3 V and 50 kbit/s: 29 mA to send with 13 dBm, above the 11.5 mA of the receiver, which listens all the time.
    "lora": Radio(
        "LoRa class, 50 kbit/s",
        3.3 * (0.029 - 0.0115) * 8 / 50e3,
        0.0,
        3.3 * 0.0115,
        "Semtech, SX1276/77/78/79 datasheet, revision 7, table 6",
    ),
}
"""The one table of radio constants; docs/energy.md says what they were compared with. Received bytes cost LoRa's
listening receiver nothing more."""


@dataclass(frozen=True)
class Modelled:
    """Joules from a model, by part."""

    compute_j: float
    radio_j: float


@dataclass(frozen=True)
class Measured:
    """Joules that a meter counted, of everything that it measures: a processor (rapl) or a board (ina3221, file)."""

    joules: float
    meter: Meter


@dataclass(frozen=True)
class Cost:
    """What an edge's half of a network asks for: multiply-accumulates once for a picture (`macs`) and at each timestep
    (`macs_per_step`, frames of events), and accumulates at each timestep (`accumulates_per_step`). In `rate` the layers
    after the first multiply small integers: `integer_macs` once for a picture, `integer_macs_per_step` for a frame.
    """

    macs: float
    macs_per_step: float
    accumulates_per_step: float
    integer_macs: float = 0.0
    integer_macs_per_step: float = 0.0

    def joules(self, steps: float) -> float:
        """The energy of `steps` timesteps, which may be a mean number."""
        if not steps:
            return 0.0
        macs = self.macs + self.macs_per_step * steps
        integer = self.integer_macs + self.integer_macs_per_step * steps
        return compute_joules(macs, self.accumulates_per_step * steps) + integer * INTEGER_MAC_J


def compute_joules(macs: float, accumulates: float) -> float:
    """The energy of operations alone, without memory and the idle processor, as is usual with these constants."""
    return macs * MAC_J + accumulates * AC_J


def radio_joules(radio: Radio, up_bytes: float, down_bytes: float, awake_s: float) -> float:
    """The energy of bytes on the link, and of the time from the first byte to the answer.

    Args:
        radio: its constants.
        up_bytes: bytes sent.
        down_bytes: bytes received.
        awake_s: seconds from the first byte to the answer.
    """
    return up_bytes * radio.up_j_per_byte + down_bytes * radio.down_j_per_byte + awake_s * radio.listening_w


def local_exit_macs(settings: ExecutionSpec) -> float:
    """Multiply-accumulates each time that the local exit of an execution is asked; 0 where there is none."""
    exit_ = settings.measured.get("local_exit")
    operations = exit_.get("operations") if isinstance(exit_, Mapping) else None
    return float(operations) if isinstance(operations, (int, float)) else 0.0


def edge_cost(bundle: Bundle) -> Cost | None:
    """What head and encoder ask for in the bundle's execution: the first layer counted from the specification, the
    others with the firing rates that the bundle was measured to have. None for a bundle that was never evaluated.
    """
    test = bundle.settings.measured.get("test")
    operations = test.get("accumulates_edge") if isinstance(test, Mapping) else None
    if not isinstance(operations, (int, float)):
        return None
    spec = bundle.manifest.network
    first = float(dense(spec, "edge", real_valued=True))
    static = spec.input_kind == "static"
    macs, macs_per_step = (first, 0.0) if static else (0.0, first)
    if bundle.execution == "spiking":
        return Cost(macs, macs_per_step, operations / spec.timesteps)
    neurons = float(prod(bundle.manifest.frame_shape))  # each adds its current at every timestep
    if static:
        return Cost(macs, macs_per_step, neurons, integer_macs=operations)
    return Cost(macs, macs_per_step, neurons, integer_macs_per_step=operations / spec.timesteps)
