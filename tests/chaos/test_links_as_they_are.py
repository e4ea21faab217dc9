"""Links with proxies, authorities of the system, zones and dead addresses in the way."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import grpc
import grpc.aio
import pytest
import trustme
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1.health import aio as health

from edge_client.doctor import Asked, examine
from edge_client.input_config import InputConfig
from edge_client.inputs.factory import open_source
from edge_client.link.addresses import Target, resolve_name
from edge_client.link.security import IN_CLEAR, LinkSecurity
from shared.bundle import Bundle
from shared.command_line import parse_address
from tests.chaos.test_link_faults import SHIPPED
from tests.support.certificates import authority_file, issue
from tests.support.edges import edge_here
from tests.support.processes import DEADLINE, cloud_process

ROOT = Path(__file__).resolve().parents[2]
VARIABLES = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
IPV6_ADDRESSES = Path("/proc/net/if_inet6")


@pytest.fixture
def dead() -> Iterator[str]:
    """An address where connections are made, and nothing is ever said."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        yield f"127.0.0.1:{taken.getsockname()[1]}"


@pytest.fixture
def own_address() -> str:
    """A link-local address of this machine with its zone: of all its own ones the kind that is everywhere."""
    lines = IPV6_ADDRESSES.read_text().splitlines() if IPV6_ADDRESSES.exists() else []
    for number, _, _, scope, _, interface in map(str.split, lines):
        if scope == "20":
            return f"{socket.inet_ntop(socket.AF_INET6, bytes.fromhex(number))}%{interface}"
    pytest.skip("this machine has no link-local address")


@pytest.fixture
async def server() -> AsyncIterator[int]:
    """The port of a server that is healthy on all addresses of this machine."""
    server = grpc.aio.server()
    health_pb2_grpc.add_HealthServicer_to_server(health.HealthServicer(), server)
    port = server.add_insecure_port("[::]:0")
    await server.start()
    yield port
    await server.stop(0)


def run_python(*arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, *arguments], env={**os.environ, **VARIABLES}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


async def asked(target: Target) -> str:
    async with IN_CLEAR.channel(target, ()) as channel:
        try:
            answer = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=DEADLINE)
        except grpc.aio.AioRpcError as error:
            return error.code().name
    return health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)


async def test_loopback_is_never_reached_by_a_proxy(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("grpc_proxy", "http_proxy", "https_proxy"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
    with cloud_process(tmp_path, [bundle.path]) as cloud:
        await asyncio.to_thread(run_python, "-m", "shared.health_check", "--cloud", cloud.listen, "--insecure")
        asked = Asked((parse_address(cloud.listen),), bundle, IN_CLEAR, DEADLINE)
        found = [finding async for finding in examine(asked)]
    assert [finding.exit_code for finding in found] == [0] * 7, found


async def test_a_name_in_no_proxy_holds_and_the_doctor_names_a_proxy(
    own_address: str, server: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = Target(f"[{own_address}]:{server}", f"cloud.example:{server}")
    monkeypatch.setenv("http_proxy", "http://somebody:secret@127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    assert await asked(target) == "UNAVAILABLE"
    found = [item async for item in examine(Asked(((own_address, server),), None, IN_CLEAR, DEADLINE))]
    assert [(item.check, item.exit_code) for item in found] == [("name", 0), ("proxy", 0), ("health", 5)]
    assert "by the proxy 127.0.0.1:9 (http_proxy in the environment)" in found[1].said
    monkeypatch.setenv("no_proxy", "other.example,cloud.example")
    assert await asked(target) == "SERVING"


async def test_a_zone_is_kept(own_address: str, server: int) -> None:
    (target,) = await resolve_name(parse_address(f"[{own_address}]:{server}"))
    assert await asked(target) == "SERVING"
    assert "%" not in target.authority


async def test_the_number_of_a_zone_is_part_of_the_address() -> None:
    (target,) = await resolve_name(parse_address("[fe80::1%1]:7"))
    assert target == Target("[fe80::1%1]:7", "[fe80::1%1]:7")
    assert LinkSecurity().server_name(target) == "fe80::1"


@pytest.mark.parametrize("where", ["file", "folder"])
def test_without_an_authority_of_its_own_an_edge_takes_the_systems(
    bundle: Bundle, tmp_path: Path, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = trustme.CA()
    certificate, key = issue(authority, tmp_path, "cloud", "127.0.0.1")
    ca = authority_file(authority, tmp_path / "ca.pem")
    store = {"SSL_CERT_FILE": str(ca), "SSL_CERT_DIR": str(tmp_path / "none")}
    if where == "folder":
        (tmp_path / "store").mkdir()
        shutil.copy(ca, tmp_path / "store" / "ca.pem")
        subprocess.run(["openssl", "rehash", tmp_path / "store"], check=True)
        store = {"SSL_CERT_FILE": str(tmp_path / "none"), "SSL_CERT_DIR": str(tmp_path / "store")}
    monkeypatch.delenv("GRPC_DEFAULT_SSL_ROOTS_FILE_PATH", raising=False)
    for variable, value in store.items():
        monkeypatch.setenv(variable, value)
    tls = ("--tls-cert", str(certificate), "--tls-key", str(key))
    with cloud_process(tmp_path / "cloud", [bundle.path], *tls) as cloud:
        run_python("-m", "edge_client", "doctor", "--cloud", cloud.listen, "--bundle", str(bundle.path))
        run_python("-m", "shared.health_check", "--cloud", cloud.listen)


async def test_a_dead_address_does_not_hold_up_the_next_one(dead: str, tmp_path: Path) -> None:
    digits = InputConfig(dataset="digits", limit=3)
    assert open_source(digits, SHIPPED.manifest).count == 3
    with cloud_process(tmp_path, [SHIPPED.path], "--execution", SHIPPED.execution) as cloud:
        # One try after the other would not be done by then.
        async with asyncio.timeout(DEADLINE):
            done = await edge_here(SHIPPED, (dead, cloud.listen), digits, connect_deadline_s=4 * DEADLINE)
    assert done.code == 0, done.err
    assert [line["answered_by"] for line in done.lines] == ["cloud"] * 3


def test_a_clone_on_windows_has_the_same_fingerprint(tmp_path: Path) -> None:
    """`core.autocrlf` is what Git for Windows sets."""

    def git(*arguments: str, folder: Path = tmp_path / "origin") -> None:
        who = ["-c", "user.name=x", "-c", "user.email=x@example.invalid"]
        subprocess.run(["git", "-C", folder, *who, *arguments], check=True, capture_output=True)

    (tmp_path / "origin").mkdir()
    shutil.copy(ROOT / ".gitattributes", tmp_path / "origin")
    shutil.copytree(SHIPPED.path, tmp_path / "origin" / "models" / SHIPPED.path.name)
    (tmp_path / "origin" / "run.sh").write_bytes(b"#!/bin/sh\n")
    git("init")
    git("add", ".")
    git("commit", "-m", "x")
    git("-c", "core.autocrlf=true", "clone", tmp_path / "origin", tmp_path / "clone", folder=tmp_path)
    assert Bundle.open(tmp_path / "clone" / "models" / SHIPPED.path.name).fingerprint == SHIPPED.fingerprint
    assert (tmp_path / "clone" / "run.sh").read_bytes() == b"#!/bin/sh\n"
