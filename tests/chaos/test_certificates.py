"""What `make certs` makes, over the years: edges come, are renewed, and are shut out, without a restart."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from edge_client.input_config import InputConfig
from edge_client.link.security import LinkSecurity
from shared.errors import CloudRefused, CloudUnavailable
from tests.chaos.test_link_faults import SHIPPED
from tests.support.edges import EdgeRun, edge_here
from tests.support.processes import DEADLINE, CloudProcess, cloud_process, wait_for

ROOT = Path(__file__).resolve().parents[2]
DIGITS = InputConfig(dataset="digits", limit=2)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    assert certs(tmp_path / "certs", "127.0.0.1") == 0
    return tmp_path / "certs"


@pytest.fixture
def cloud(folder: Path, tmp_path: Path) -> Iterator[CloudProcess]:
    with guarded_cloud(folder, "cloud", tmp_path / "cloud") as running:
        yield running


def certs(folder: Path, *arguments: str) -> int:
    return subprocess.run([sys.executable, ROOT / "deploy" / "certs.py", folder, *arguments], check=False).returncode


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def guarded_cloud(folder: Path, name: str, logs: Path) -> AbstractContextManager[CloudProcess]:
    tls = ("--tls-cert", f"{folder / name}.pem", "--tls-key", f"{folder / name}.key")
    known = ("--tls-client-ca", str(folder / "ca.pem"), "--token-file", str(folder / "tokens.txt"))
    return cloud_process(logs, [SHIPPED.path], "--execution", SHIPPED.execution, *tls, *known)


async def classify(
    cloud: CloudProcess, folder: Path, name: str, token: str | None = None, inputs: InputConfig = DIGITS
) -> EdgeRun:
    files = [folder / "ca.pem", folder / f"{name}.pem", folder / f"{name}.key"]
    security = LinkSecurity(*files, token_file=folder / f"{token or name}.token")
    return await edge_here(SHIPPED, cloud.listen, inputs, security=security, connect_deadline_s=5.0)


async def test_edges_come_are_renewed_and_are_shut_out(cloud: CloudProcess, folder: Path) -> None:
    assert (await classify(cloud, folder, "edge")).code == 0
    before = contents(folder)
    assert certs(folder, "127.0.0.1") != 0, "a second time"
    assert contents(folder) == before

    assert certs(folder, "--edge", "hall") == 0
    assert certs(folder, "--renew", "cloud") == 0
    assert certs(folder, "--renew", "edge") == 0
    for name in ("edge", "hall"):
        assert (await classify(cloud, folder, name)).code == 0
    assert certs(folder, "--revoke", "hall") == 0
    with pytest.raises(CloudRefused, match="knows no such token"):
        await classify(cloud, folder, "hall")
    assert (await classify(cloud, folder, "edge")).code == 0


async def test_a_token_that_is_taken_back_ends_its_streams_and_frees_its_share(
    cloud: CloudProcess, folder: Path
) -> None:
    """Certificates cannot be taken back: the edge still has one, and it does not help."""
    assert certs(folder, "--edge", "hall") == 0
    without_end = InputConfig(dataset="digits", repeat=0)

    async def run(name: str) -> EdgeRun:
        return await classify(cloud, folder, name, inputs=without_end)

    running = {name: asyncio.create_task(run(name)) for name in ("edge", "hall")}
    await asyncio.to_thread(wait_for, lambda: cloud.metric("neucodex_cloud_streams") == 2, "both to classify")
    assert certs(folder, "--revoke", "hall") == 0
    with pytest.raises(CloudRefused, match="knows no such token"):
        await asyncio.wait_for(running["hall"], DEADLINE)
    await asyncio.to_thread(wait_for, lambda: cloud.metric("neucodex_cloud_streams") == 1, "its share to be free")
    answered = cloud.metric("neucodex_cloud_frames_total")
    await asyncio.to_thread(
        wait_for, lambda: cloud.metric("neucodex_cloud_frames_total") > answered + 20, "the other to go on"
    )
    assert cloud.metric("neucodex_cloud_ended_streams_total", reason="revoked") == 1
    assert cloud.metric("neucodex_cloud_slots_in_use") <= 1
    running["edge"].cancel()
    await asyncio.gather(running["edge"], return_exceptions=True)


async def test_a_certificate_is_for_a_cloud_or_for_an_edge(cloud: CloudProcess, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(CloudUnavailable):
        await classify(cloud, folder, "cloud", token="edge")
    assert certs(folder, "--renew", "edge", "127.0.0.1") == 0, "the name would do"
    with guarded_cloud(folder, "edge", tmp_path / "impostor") as impostor, pytest.raises(CloudUnavailable):
        await classify(impostor, folder, "edge")
