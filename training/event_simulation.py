"""Simulates the events that a camera would record of a still picture that moves in front of it.

The pixel model is the usual one of a dynamic vision sensor (Lichtsteiner, Posch, Delbruck, "A 128x128 120 dB 15 us
Latency Asynchronous Temporal Contrast Vision Sensor", JSSC 2008), simulated as ESIM (Rebecq et al., CoRL 2018) and v2e
(Hu et al., CVPRW 2021) do: a pixel remembers the log intensity at its last event and fires ON or OFF each time the
present one is a threshold above or below; the time of the event is interpolated within the simulation's step.
Thresholds differ from pixel to pixel, a pixel rests after an event, leaks towards ON, and fires at random now and then.

Two presets move the picture as two data sets did and were fitted to one real recording each whose picture is known;
benchmarks/event_simulation.py measures how close they come. Simulated events are no recording: say so beside any
figure that rests on them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shared.datasets.digits import bilinear_matrix
from shared.datasets.event_collector import make_events
from shared.datasets.event_type import Events

Image = NDArray[np.float32]
"""Luminance [H, W], 0 (black) to 1 (white), one value a camera pixel."""

_Fired = tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.bool_]]
"""Events as pixel number, time (us), and whether ON; all [n]."""

LUMA = np.array([0.299, 0.587, 0.114], np.float32)


@dataclass(frozen=True)
class Motion:
    """The motion of the picture: knots of time (us) and displacement (camera pixels, right and down), linear between
    them.

    `margin` is the largest displacement: a picture larger than the sensor by this much never shows its edge.
    """

    t_us: tuple[float, ...]
    right: tuple[float, ...]
    down: tuple[float, ...]

    @property
    def margin(self) -> int:
        """The largest displacement, in whole pixels."""
        return int(np.ceil(max(map(abs, (*self.right, *self.down)))))

    def at(self, t_us: NDArray[np.float64]) -> NDArray[np.float64]:
        """Displacements [n, 2] (right, down) at times [n]."""
        return np.stack([np.interp(t_us, self.t_us, self.right), np.interp(t_us, self.t_us, self.down)], axis=1)


@dataclass(frozen=True)
class Camera:
    """A dynamic vision sensor, the motion of the picture, and its size in the camera's view.

    The picture is scaled to fit `box` (height, width), its aspect kept; the sensor sees all but `crop` pixels at each
    edge. Thresholds are steps of log intensity; `mismatch` is their standard deviation from pixel to pixel, relative to
    their mean. `floor` is the stray light added to the picture's 0..1 before the logarithm: it bounds the contrast.
    `blur` is the standard deviation of the optics in pixels. `leak_hz` and `noise_hz` are the events a second of a
    pixel before which nothing moves (leak: ON alone; noise: ON or OFF). After an event a pixel is blind for
    `refractory_us`. `step_us` is the simulation's step; times are interpolated within it.
    """

    motion: Motion
    box: tuple[int, int]
    crop: int
    threshold_on: float
    threshold_off: float
    mismatch: float
    floor: float
    blur: float
    refractory_us: float
    leak_hz: float
    noise_hz: float
    step_us: float


def _loops(side: float, period_us: float, loops: int) -> Motion:
    """A diamond, `side` pixels across, traced `loops` times from its right corner downwards."""
    right = [*np.tile([0.5, 0.0, -0.5, 0.0], loops).tolist(), 0.5]
    down = [*np.tile([0.0, 0.5, 0.0, -0.5], loops).tolist(), 0.0]
    t = np.linspace(0, period_us * loops, 4 * loops + 1)
    return Motion(tuple(t.tolist()), tuple(side * v for v in right), tuple(side * v for v in down))


# Three saccades along a triangle (Orchard et al. 2015). The knots were fitted by least squares to the signed event maps
# of the recording of Faces_easy/image_0001, in 40 slices of time (R^2 0.60); the third returns to within 0.6 pixels.
# fmt: off
_SACCADES = Motion(
    t_us=tuple(15_000.0 * i for i in range(21)),
    right=(-3.12, -3.13, -3.17, -3.10, -2.49, -1.65, -1.42, -1.39, -1.12, -0.36, 0.68,
           1.14, 1.55, 1.78, 1.89, 1.87, 1.39, 0.20, -1.30, -2.30, -2.70),
    down=(-3.05, -2.94, -2.32, -0.81, 1.07, 2.00, 2.09, 2.00, 1.95, 1.78, 0.27,
          -1.69, -2.84, -3.06, -3.04, -3.03, -3.15, -3.28, -3.35, -3.50, -3.53),
)
# fmt: on

NCALTECH101 = Camera(
    motion=_SACCADES,
    box=(180, 240),
    crop=7,
    threshold_on=0.1038,
    threshold_off=0.1026,
    mismatch=0.1,
    floor=0.3,
    blur=0.0,
    refractory_us=1_000.0,
    leak_hz=0.2,
    noise_hz=0.3,
    step_us=1_000.0,
)

CIFAR10_DVS = Camera(
    # a closed loop of four straight paths, repeated (Li et al. 2017). Fitted to the one recording, five frames of equal
    # count: its size, and that five loops make them (with six, frames keep a direction the real ones lack). Which way
    # round it ran and how long a loop took the frames do not tell.
    motion=_loops(side=11.0, period_us=200_000.0, loops=5),
    box=(142, 142),
    crop=14,
    threshold_on=0.1991,
    threshold_off=0.2455,
    mismatch=0.15,
    floor=0.1,
    blur=1.0,
    refractory_us=1_000.0,
    leak_hz=0.35,
    noise_hz=0.02,
    step_us=4_000.0,
)


def luminance(picture: NDArray[np.uint8]) -> Image:
    """Luminance 0..1 [H, W] of a uint8 picture [3, H, W] or [1, H, W]; display gamma is left in (see `floor`)."""
    values = picture.astype(np.float32) / 255
    return values[0] if len(values) == 1 else np.tensordot(LUMA, values, axes=1).astype(np.float32)


def resize(image: Image, height: int, width: int) -> Image:
    """Bilinear resize to [height, width]; for enlarging (reducing aliases: blur first)."""
    rows, columns = (
        bilinear_matrix(s, n).astype(np.float32) for s, n in zip(image.shape, (height, width), strict=True)
    )
    return np.asarray(rows @ image @ columns.T, np.float32)


def record(picture: NDArray[np.uint8], camera: Camera, *, seed: int | Sequence[int]) -> tuple[Events, tuple[int, int]]:
    """The events of a uint8 picture [3 or 1, H, W] in the camera's view, and the sensor's (height, width) in pixels."""
    scale = min(side / have for side, have in zip(camera.box, picture.shape[1:], strict=True))
    height, width = (max(camera.crop + 1, round(have * scale)) for have in picture.shape[1:])
    sensor = (height - camera.crop, width - camera.crop)
    return simulate(resize(luminance(picture), height, width), camera, sensor, seed=seed), sensor


def simulate(image: Image, camera: Camera, sensor: tuple[int, int], *, seed: int | Sequence[int]) -> Events:
    """The events of `image`, one value a pixel, moved along `camera.motion` before a sensor of (height, width) pixels.

    The image's centre lies on the sensor's when the displacement is 0; beyond its edge, its edge pixels are repeated.
    Times count in us from 0. The same arguments and seed give the same events on the same version of numpy.

    Args:
        image: luminance 0..1, [H, W].
        camera: the sensor's model and the motion.
        sensor: (height, width) in pixels.
        seed: of all random numbers.
    """
    random = np.random.default_rng(seed)
    view = _View(image, camera, sensor)
    duration = camera.motion.t_us[-1]
    times = np.linspace(0, duration, max(1, round(duration / camera.step_us)) + 1)
    displacement = camera.motion.at(times)
    pixels = _Pixels(view.at(displacement[0]), camera, random)
    found = [_noise(random, sensor[0] * sensor[1], duration, camera.noise_hz)]
    for start, end, place in zip(times[:-1], times[1:], displacement[1:], strict=True):
        found += pixels.step(view.at(place), float(start), float(end))
    index, t, polarity = (np.concatenate(column) for column in zip(*found, strict=True))
    return make_events(index % sensor[1], index // sensor[1], polarity, t.astype(np.int64))


class _View:
    """The log intensity at each pixel for any displacement, by bilinear interpolation of one padded picture."""

    def __init__(self, image: Image, camera: Camera, sensor: tuple[int, int]) -> None:
        self._height, self._width = sensor
        light = np.log(_blur(image, camera.blur) + np.float32(camera.floor)).astype(np.float32)
        pad = camera.motion.margin + 1
        self._top, self._left = ((n - s) / 2 + pad for n, s in zip(image.shape, sensor, strict=True))
        short = [max(0, s - n) // 2 + 1 for n, s in zip(image.shape, sensor, strict=True)]
        self._light = np.pad(light, [(pad + s, pad + s) for s in short], mode="edge")
        self._top, self._left = self._top + short[0], self._left + short[1]

    def at(self, displacement: NDArray[np.float64]) -> NDArray[np.float32]:
        """Log intensity of every pixel, float32 [H * W], with the picture moved by (right, down)."""
        top, left = self._top - displacement[1], self._left - displacement[0]
        row, column = int(np.floor(top)), int(np.floor(left))
        v, u = np.float32(top - row), np.float32(left - column)
        block = self._light[row : row + self._height + 1, column : column + self._width + 1]
        rows = block[:-1] + v * (block[1:] - block[:-1])
        return np.asarray(rows[:, :-1] + u * (rows[:, 1:] - rows[:, :-1]), np.float32).ravel()


class _Pixels:
    """The pixels' state: their last log intensity, the one at their last event, and the time of that event."""

    def __init__(self, level: NDArray[np.float32], camera: Camera, random: np.random.Generator) -> None:
        count = len(level)
        spread = np.maximum(1 + camera.mismatch * random.standard_normal((2, count)), 0.2).astype(np.float32)
        self._on, self._off = camera.threshold_on * spread[0], camera.threshold_off * spread[1]
        # a pixel has seen other scenes before: its memory starts anywhere within its thresholds
        offset = random.uniform(-1, 1, count).astype(np.float32)
        self._memory = level + offset * np.minimum(self._on, self._off)
        self._level = level
        self._last = np.full(count, -np.inf)
        self._leak_us = self._on * np.float32(camera.leak_hz * 1e-6)
        self._refractory_us = camera.refractory_us

    def step(self, level: NDArray[np.float32], start: float, end: float) -> list[_Fired]:
        """The events while the log intensity runs linearly to `level`, at most one event of a pixel in each item."""
        before, self._level = self._level, level
        self._memory -= self._leak_us * np.float32(end - start)
        change = level - self._memory
        active = np.flatnonzero((change >= self._on) | (change <= -self._off))
        if not active.size:
            return []
        threshold = np.where(change[active] > 0, self._on[active], -self._off[active])
        counts = (change[active] / threshold).astype(np.int64)
        held, since = self._memory[active], before[active]
        slope = level[active] - since
        slope = np.where(np.abs(slope) < 1e-6, np.copysign(np.float32(1e-6), threshold), slope)
        found: list[_Fired] = []
        for nth in range(1, int(counts.max()) + 1):
            t = start + (end - start) * np.clip((held + nth * threshold - since) / slope, 0, 1)
            fires = (counts >= nth) & (t - self._last[active] >= self._refractory_us)
            found.append((active[fires], t[fires], threshold[fires] > 0))
            self._last[active[fires]] = t[fires]
        self._memory[active] = held + counts * threshold
        return found


def _noise(random: np.random.Generator, pixels: int, duration_us: float, rate_hz: float) -> _Fired:
    """Events anywhere at any time, ON and OFF alike."""
    count = int(random.poisson(rate_hz * duration_us * 1e-6 * pixels))
    return random.integers(0, pixels, count), random.uniform(0, duration_us, count), random.random(count) < 0.5


def _blur(image: Image, sigma: float) -> Image:
    """Gaussian blur, separable, edges repeated."""
    if sigma <= 0:
        return image
    reach = int(np.ceil(3 * sigma))
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2).astype(np.float32)
    kernel /= kernel.sum()
    for axis in (0, 1):
        padded = np.pad(image, [(reach, reach) if a == axis else (0, 0) for a in (0, 1)], mode="edge")
        windows = np.lib.stride_tricks.sliding_window_view(padded, len(kernel), axis=axis)
        image = np.asarray(windows @ kernel, np.float32)
    return image
