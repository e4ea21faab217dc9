"""`neucodex-edge doctor` against clouds that are well, wrong, gone, or no clouds at all."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import grpc.aio
import numpy as np
import pytest
import trustme
from click.testing import CliRunner
from grpc_health.v1 import health_pb2, health_pb2_grpc
from numpy.typing import NDArray

from edge_client.__main__ import cli
from edge_client.doctor import Asked, Finding, examine
from edge_client.link.security import IN_CLEAR, LinkSecurity
from shared.bundle import Bundle
from tests.support.bundles import make_bundle
from tests.support.certificates import authority_file, issue
from tests.support.processes import DEADLINE, CloudProcess, cloud_process
from tests.support.raw_edge import RawEdge

DEADLINE_S = 20.0


@pytest.fixture(scope="module")
def cloud(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[CloudProcess]:
    with cloud_process(tmp_path_factory.mktemp("cloud"), [bundle.path]) as running:
        yield running


@pytest.fixture
def nobody() -> Iterator[str]:
    """An address on which nobody listens, kept by a socket that is bound to it."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{taken.getsockname()[1]}"


async def findings(
    *addresses: str, bundle: Bundle | None = None, security: LinkSecurity = IN_CLEAR, deadline_s: float = DEADLINE_S
) -> list[Finding]:
    pairs = tuple((host, int(port)) for host, _, port in (address.rpartition(":") for address in addresses))
    return [finding async for finding in examine(Asked(pairs, bundle, security, deadline_s))]


def outline(found: list[Finding]) -> list[tuple[str, int]]:
    return [(finding.check, finding.exit_code) for finding in found]


def test_all_is_well(bundle: Bundle, cloud: CloudProcess) -> None:
    run = CliRunner().invoke(cli, ["doctor", "--cloud", cloud.listen, "--bundle", str(bundle.path), "--insecure"])
    assert re.fullmatch(
        r"ok     name        127\.0\.0\.1:\d+: 127\.0\.0\.1:\d+\n"
        r"ok     tcp         \S+: connected in [\d.]+ ms\n"
        r"ok     tls         \S+: none: all travels in clear \(--insecure\)\n"
        r"ok     health      \S+: SERVING\n"
        r"ok     round trip  \S+: median [\d.]+ ms of 20 \([\d.]+ to [\d.]+\); lockstep pays it each timestep\n"
        r"ok     bundle      \S+: resnet18-layer1-test0, the same on both sides \([0-9a-f]{12}\); up to \d+ sam.*\n"
        r"ok     head        resnet18-layer1-test0: head and codec [\d.]+ ms a timestep, cloud [\d.]+ ms; "
        r"an empty sample to timestep 4 [\d.]+ ms \(medians of 5\)\n",
        run.stdout,
    ), run.output
    assert cloud.metric("neucodex_cloud_slots_in_use") == 0.0


async def test_another_bundle_than_the_clouds(cloud: CloudProcess, tmp_path: Path) -> None:
    found = await findings(cloud.listen, bundle=make_bundle(tmp_path, seed=4))
    assert outline(found) == [("name", 0), ("tcp", 0), ("tls", 0), ("health", 0), ("round trip", 0), ("bundle", 6)]
    assert "FAILED_PRECONDITION" in found[-1].said
    assert "start the cloud with the bundle that this edge has" in found[-1].todo


async def test_nobody_listens(nobody: str, bundle: Bundle) -> None:
    found = await findings(nobody, bundle=bundle)
    assert outline(found) == [("name", 0), ("tcp", 5)]
    assert found[-1].said == "the machine is there, and no server listens on this port"
    assert "neucodex-cloud --listen" in found[-1].todo


async def test_a_name_that_is_not_known_and_a_second_cloud_that_is_well(cloud: CloudProcess, bundle: Bundle) -> None:
    found = await findings("no-such-machine.invalid:50051", cloud.listen, bundle=bundle)
    assert outline(found)[:2] == [("name", 5), ("name", 0)]
    assert "DNS" in found[0].todo
    assert outline(found)[-1] == ("head", 0)


async def test_a_port_of_something_else(cloud: CloudProcess) -> None:
    found = await findings(cloud.metrics_address, deadline_s=3.0)
    assert outline(found) == [("name", 0), ("tcp", 0), ("tls", 0), ("health", 5)]
    assert "check --cloud" in found[-1].todo


async def test_a_port_that_takes_connections_and_says_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        found = await findings(f"127.0.0.1:{mute.getsockname()[1]}", deadline_s=0.3)
    assert outline(found) == [("name", 0), ("tcp", 0), ("tls", 0), ("health", 5)]
    assert "stopped, frozen or overloaded" in found[-1].todo


async def test_a_frozen_cloud_and_a_second_one_that_is_well(
    cloud: CloudProcess, bundle: Bundle, tmp_path: Path
) -> None:
    with cloud_process(tmp_path, [bundle.path]) as frozen:
        frozen.signal(signal.SIGSTOP)
        found = await findings(frozen.listen, cloud.listen, bundle=bundle, deadline_s=3.0)
    of_frozen = [finding for finding in found if finding.of == frozen.listen]
    assert outline(of_frozen) == [("name", 0), ("tcp", 0), ("tls", 0), ("health", 5)]
    assert "stopped, frozen or overloaded" in of_frozen[-1].todo
    assert outline(found)[-1] == ("head", 0)
    assert [finding.exit_code for finding in found[4:]] == [0] * 7


async def findings_at(server: grpc.aio.Server) -> list[Finding]:
    """What is found at a gRPC server, which runs for as long as it takes."""
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        return await findings(f"127.0.0.1:{port}")
    finally:
        await server.stop(None)


async def test_another_grpc_server() -> None:
    found = await findings_at(grpc.aio.server())
    assert outline(found)[-1] == ("health", 6)
    assert "no neucodex-cloud" in found[-1].todo


async def test_a_health_that_nobody_knows() -> None:
    class Odd(health_pb2_grpc.HealthServicer):
        async def Check(self, request: Any, context: Any) -> health_pb2.HealthCheckResponse:
            return health_pb2.HealthCheckResponse(status=cast(Any, 99))

    server = grpc.aio.server()
    health_pb2_grpc.add_HealthServicer_to_server(Odd(), server)
    found = await findings_at(server)
    assert (found[-1].check, found[-1].said, found[-1].exit_code) == ("health", "health status 99", 5)


async def test_a_cloud_that_drains(bundle: Bundle, frames: NDArray[np.uint8], tmp_path: Path) -> None:
    # The open sample keeps it from ending at once.
    with cloud_process(tmp_path, [bundle.path], "--drain-timeout", "60") as draining:
        async with RawEdge(draining.listen, bundle) as edge:
            await edge.step(1, 1, frames[0, 0])
            draining.signal(signal.SIGTERM)
            async with asyncio.timeout(DEADLINE):
                while await draining.health() != "NOT_SERVING":
                    pass
            found = await findings(draining.listen, bundle=bundle)
    assert outline(found)[-1] == ("health", 5)
    assert found[-1].said == "NOT_SERVING"
    assert "draining" in found[-1].todo


async def test_tls_and_what_may_be_wrong_with_it(bundle: Bundle, tmp_path: Path) -> None:
    authority, other = trustme.CA(), trustme.CA()
    certificate, key = issue(authority, tmp_path, "cloud", "cloud.test")
    ca = authority_file(authority, tmp_path / "ca.pem")
    stranger = authority_file(other, tmp_path / "other.pem")
    (tmp_path / "tokens").write_text("a-token-of-some-length\n")
    (tmp_path / "tokens").chmod(0o600)
    flags = ["--tls-cert", str(certificate), "--tls-key", str(key), "--token-file", str(tmp_path / "tokens")]
    with cloud_process(tmp_path, [bundle.path], *flags) as cloud:
        right = LinkSecurity(ca, name="cloud.test", token_file=tmp_path / "tokens")
        found = await findings(cloud.listen, bundle=bundle, security=right)
        assert outline(found)[-1] == ("head", 0), found
        assert re.match(r"TLSv1\.[23], certificate for cloud\.test, valid for \d+ days", found[2].said)
        for wrong, check, said in (
            (LinkSecurity(stranger, name="cloud.test"), "tls", "not accepted"),
            (LinkSecurity(ca), "tls", "not accepted"),
            (LinkSecurity(ca, name="cloud.test"), "bundle", "UNAUTHENTICATED"),
            (IN_CLEAR, "health", "UNAVAILABLE"),
        ):
            last = (await findings(cloud.listen, bundle=bundle, security=wrong))[-1]
            assert (last.check, said in last.said) == (check, True), last
            assert "--t" in last.todo or "TLS" in last.todo
    with cloud_process(tmp_path / "clear", [bundle.path]) as cloud:
        last = (await findings(cloud.listen, security=right))[-1]
        assert last.check == "tls"
        assert "no TLS there" in last.said


def test_the_exit_code_and_json(nobody: str, tmp_path: Path) -> None:
    def run(*flags: str) -> tuple[int, list[dict[str, Any]], str]:
        command = [sys.executable, "-m", "edge_client", "doctor", "--insecure", *flags]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=DEADLINE)
        return done.returncode, [json.loads(line) for line in done.stdout.splitlines()], done.stderr

    code, found, _ = run("--cloud", nobody, "--json")
    assert code == 5
    assert [finding["check"] for finding in found] == ["name", "tcp"]
    assert found[1].keys() == {"check", "of", "said", "todo", "exit_code"}
    code, _, err = run("--cloud", nobody, "--json", "--bundle", str(tmp_path))
    assert code == 3
    assert len(err.splitlines()) == 1
