"""A cloud that faults happen to, and a witness beside them: its answers must not change, and nothing may leak."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from shared.bundle import Bundle
from shared.messages import Rejection, RejectionCode, StepResult
from tests.support.known import SAMPLES, assert_close
from tests.support.processes import CloudProcess, cloud_process, wait_for
from tests.support.raw_edge import RawEdge

SPARE_DESCRIPTORS = 4
"""gRPC keeps a few of its own beyond what was open before."""

SPARE_THREADS = 4
"""gRPC's own pool may still grow by its few."""

FLAGS = (
    *("--slots", "48", "--max-open-samples", "40", "--max-outgoing", "8"),
    *("--sample-idle-timeout", "2", "--keepalive", "1"),
)


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory, bundle: Bundle) -> Iterator[CloudProcess]:
    """One process for all faults of a module; a module that wants another defines its own."""
    with cloud_process(tmp_path_factory.mktemp("cloud"), [bundle.path], *FLAGS) as process:
        yield process
        assert "Traceback" not in process.log.read_text()


class Witness:
    """An honest lockstep edge beside the fault: it counts samples answered, and every answer must be the reference."""

    def __init__(
        self, cloud: CloudProcess, bundle: Bundle, frames: NDArray[np.uint8], expected: NDArray[np.float32]
    ) -> None:
        self.cloud, self.bundle, self.frames, self.expected = cloud, bundle, frames, expected
        self.answered = 0
        self.put_off = 0
        """Times that there was no slot for its next sample."""

    async def watch(self, done: asyncio.Event) -> None:
        """Classify one sample after the other until `done`."""
        async with RawEdge(self.cloud.listen, self.bundle) as edge:
            while not done.is_set():
                if await self._begins(edge):
                    for timestep in range(2, 5):
                        self._check(await edge.step(self.answered, timestep, self._frame(timestep)))
                    await edge.stop(self.answered)
                    self.answered += 1

    async def _begins(self, edge: RawEdge) -> bool:
        await edge.send_frame(self.answered, 1, self._frame(1))
        answer = await edge.receive()
        if isinstance(answer, Rejection):
            assert answer.code is RejectionCode.NO_SLOT, answer
            self.put_off += 1
            await edge.stop(self.answered)
            return False
        assert isinstance(answer, StepResult)
        self._check(answer)
        return True

    def _frame(self, timestep: int) -> NDArray[np.uint8]:
        frame: NDArray[np.uint8] = self.frames[timestep - 1, self.answered % SAMPLES]
        return frame

    def _check(self, result: StepResult) -> None:
        assert_close(result.confidences, self.expected, self.answered % SAMPLES, result.timestep)


@pytest.fixture
async def witness(
    cloud: CloudProcess, bundle: Bundle, frames: NDArray[np.uint8], expected: NDArray[np.float32]
) -> AsyncIterator[Witness]:
    """Runs beside the test's fault; after the fault nothing may be left."""
    await asyncio.to_thread(wait_for, lambda: cloud.metric("neucodex_cloud_streams") == 0, "a quiet start")
    async with RawEdge(cloud.listen, bundle) as edge:
        await edge.step(0, 1, frames[0, 0])
    await asyncio.to_thread(wait_for, lambda: cloud.metric("neucodex_cloud_streams") == 0, "a quiet start")
    await asyncio.to_thread(cloud.next_count)
    threads, descriptors, tasks = cloud.threads(), cloud.descriptors(), cloud.metric("neucodex_cloud_tasks")
    seen, done = Witness(cloud, bundle, frames, expected), asyncio.Event()
    watching = asyncio.create_task(seen.watch(done))
    yield seen
    before = seen.answered
    await asyncio.to_thread(wait_for, lambda: seen.answered > before or watching.done(), "the witness to be served")
    done.set()
    await watching
    gc.collect()  # a channel that is closed keeps its connection until its last object is gone

    async def until(what: str, condition: object) -> None:
        await asyncio.to_thread(wait_for, condition, what)

    for gauge in ("streams", "slots_in_use", "queue_length"):
        await until(f"no {gauge}", lambda gauge=gauge: cloud.metric(f"neucodex_cloud_{gauge}") == 0)
    await until("descriptors to be closed", lambda: cloud.descriptors() <= descriptors + SPARE_DESCRIPTORS)
    await until("tasks to end", lambda: cloud.metric("neucodex_cloud_tasks") <= tasks)
    assert cloud.threads() <= threads + SPARE_THREADS, "threads leak"
    assert cloud.process.poll() is None
    assert await cloud.health() == "SERVING"
