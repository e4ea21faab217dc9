"""Pictures and spikes as elements of a page: small enough to draw by hand, and spikes take the page's colour."""

from __future__ import annotations

import base64

import numpy as np
from numpy.typing import NDArray

from edge_client.inputs.images import encoded

GAP = 2
"""SpikingState between the timesteps of a raster."""


def picture(pixels: NDArray[np.uint8], title: str) -> str:
    """An image element of uint8 [C, H, W]; two channels are events of both polarities, shown in red and blue."""
    channels = pixels.shape[0]
    if channels == 2:
        pixels = np.stack([pixels[0], np.zeros_like(pixels[0]), pixels[1]])
        pixels = (pixels / max(int(pixels.max()), 1) * 255).astype(np.uint8)
    data = base64.b64encode(encoded(pixels, "PNG", optimize=True)).decode()
    return f'<img class="picture" alt="{title}" src="data:image/png;base64,{data}">'


def raster(spikes: NDArray[np.uint8], title: str) -> str:
    """The spikes [T, C, H, W] of a sample: a band for each timestep, a row for each channel."""
    timesteps, channels = spikes.shape[:2]
    places = int(np.prod(spikes.shape[2:]))
    height = timesteps * channels + (timesteps - 1) * GAP
    bands, marks = [], []
    for timestep in range(timesteps):
        top = timestep * (channels + GAP)
        bands.append(f'<rect class="band" x="0" y="{top}" width="{places}" height="{channels}"/>')
        rows, columns = np.nonzero(spikes[timestep].reshape(channels, places))
        marks += [f"M{x} {y + top}h1v1h-1z" for y, x in zip(rows.tolist(), columns.tolist(), strict=True)]
    return (
        f'<svg class="raster" viewBox="0 0 {places} {height}" preserveAspectRatio="none" role="img" '
        f'aria-label="{title}">{"".join(bands)}<path d="{"".join(marks)}"/></svg>'
    )
