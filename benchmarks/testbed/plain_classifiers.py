"""What the edge does with a sample for the plain network: all of it here, or the picture's file by HTTP."""

from __future__ import annotations

import asyncio
import http.client
import json
import time
from pathlib import Path

from benchmarks.testbed.alternative import Alternative
from benchmarks.testbed.cpu_throttle import CpuThrottle
from benchmarks.testbed.picture_files import encode
from benchmarks.testbed.plain_network import FLOAT, INT8, PlainNetwork
from benchmarks.testbed.schema import CLOUD, EDGE, SampleRow
from edge_client.inference.sample import Sample
from shared.errors import CloudUnavailable

PATH = "/classify"
LONGEST_S = 600.0


class PlainOnEdge:
    """The plain network here, in float32 or int8."""

    def __init__(self, folder: Path, alternative: Alternative, throttle: CpuThrottle, threads: int) -> None:
        self._network = PlainNetwork(folder / (INT8 if alternative.int8 else FLOAT), threads)
        self._throttle = throttle

    async def classify(self, sample: Sample) -> SampleRow:
        """See `benchmarks.testbed.classifiers.SampleClassifier`."""
        began = time.perf_counter()
        found = self._network.classify(sample.pixels)
        self._throttle.wait()
        spent = (time.perf_counter() - began) * 1000
        answer = {"predicted": int(found.argmax()), "confidence": [float(found.max())], "timesteps": 1}
        return {**answer, "answered_by": EDGE, "latency_ms": spent, "head_ms": spent}


class PlainOverHttp:
    """The picture's file to `benchmarks.testbed.rival_server`, over one connection that is kept."""

    def __init__(self, address: str, alternative: Alternative, throttle: CpuThrottle) -> None:
        assert alternative.codec is not None
        self._connection = http.client.HTTPConnection(address, timeout=LONGEST_S)
        self._codec, self._quality = alternative.codec, alternative.quality
        self._throttle = throttle

    async def classify(self, sample: Sample) -> SampleRow:
        """See `benchmarks.testbed.classifiers.SampleClassifier`."""
        began = time.perf_counter()
        data = encode(sample.pixels, self._codec, self._quality)
        self._throttle.wait()
        encoded = (time.perf_counter() - began) * 1000
        said = await asyncio.to_thread(self._ask, data)
        self._throttle.wait()
        latency = (time.perf_counter() - began) * 1000
        return {
            "predicted": said["class"],
            "confidence": [said["p"]],
            "timesteps": 1,
            "answered_by": CLOUD,
            "payload_bytes": len(data),
            "message_bytes": len(data),
            "latency_ms": latency,
            "encode_ms": encoded,
            "tail_ms": said["ms"],
            "transit_ms": max(latency - encoded - said["ms"], 0.0),
            "on_air_ms": latency - encoded,
        }

    def close(self) -> None:
        """End the connection."""
        self._connection.close()

    def _ask(self, data: bytes) -> dict[str, float]:
        try:
            self._connection.request("POST", PATH, data, {"Content-Type": f"image/{self._codec}"})
            answer = self._connection.getresponse()
            text = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise CloudUnavailable(f"the rival's server does not answer: {error}") from None
        if answer.status != http.HTTPStatus.OK:
            raise CloudUnavailable(f"the rival's server answers {answer.status}: {text[:200]!r}")
        said: dict[str, float] = json.loads(text)
        return said
