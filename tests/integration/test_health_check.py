"""The check that containers and probes run, against a real cloud."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import grpc
import pytest
import trustme
from grpc_health.v1 import health_pb2, health_pb2_grpc

from shared.bundle import Bundle
from tests.support.certificates import authority_file, issue
from tests.support.edges import ROOT
from tests.support.processes import DEADLINE, cloud_process


def check(*flags: str, **variables: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("NEUCODEX_")}
    command = [sys.executable, "-m", "shared.health_check", *flags]
    return subprocess.run(
        command, env={**inherited, **variables}, cwd=ROOT, check=False, capture_output=True, text=True, timeout=DEADLINE
    )


def test_a_cloud_that_serves_drains_and_is_gone(bundle: Bundle, tmp_path: Path) -> None:
    with cloud_process(tmp_path, [bundle.path], "--drain-timeout", "30") as cloud:
        assert check("--cloud", cloud.listen, "--insecure").returncode == 0
        # As in an edge's container, where one of two clouds is enough.
        both = check(NEUCODEX_CLOUD=f"127.0.0.1:1 {cloud.listen}", NEUCODEX_INSECURE="1")
        assert both.returncode == 0, both.stderr
        assert both.stderr.startswith("127.0.0.1:1: UNAVAILABLE")
        cloud.signal(signal.SIGTERM)
        assert cloud.wait() == 0
        gone = check("--cloud", cloud.listen, "--insecure")
        assert (gone.returncode, gone.stderr.partition(": ")[0]) == (1, cloud.listen)


def test_a_cloud_behind_mutual_tls(bundle: Bundle, tmp_path: Path) -> None:
    authority = trustme.CA()
    ca = str(authority_file(authority, tmp_path / "ca.pem"))
    certificate, key = (str(file) for file in issue(authority, tmp_path, "cloud", "cloud.test"))
    tls = ("--tls-cert", certificate, "--tls-key", key, "--tls-client-ca", ca)
    with cloud_process(tmp_path / "cloud", [bundle.path], *tls) as cloud:
        # As in the cloud's own container, whose variables hold its certificate.
        variables = {"NEUCODEX_TLS_CERT": certificate, "NEUCODEX_TLS_KEY": key, "NEUCODEX_TLS_CA": ca}
        assert check("--cloud", cloud.listen, "--tls-name", "cloud.test", **variables).returncode == 0
        assert check("--cloud", cloud.listen, "--tls-name", "other.test", **variables).returncode == 1
        assert check("--cloud", cloud.listen, "--insecure").returncode == 1
        missing = check("--cloud", cloud.listen, "--tls-ca", "nowhere.pem")
        assert missing.returncode == 2
        assert missing.stderr.startswith("error: --tls-ca nowhere.pem: cannot be read")


@pytest.mark.parametrize("processes", ["1", "2"])
def test_a_probe_that_speaks_no_tls_has_a_port_where_nothing_else_is(
    bundle: Bundle, tmp_path: Path, processes: str
) -> None:
    authority = trustme.CA()
    ca = str(authority_file(authority, tmp_path / "ca.pem"))
    certificate, key = (str(file) for file in issue(authority, tmp_path, "cloud", "cloud.test"))
    tls = ("--tls-cert", certificate, "--tls-key", key, "--tls-client-ca", ca)
    flags = (*tls, "--health", "127.0.0.1:0", "--processes", processes)
    with cloud_process(tmp_path / "cloud", [bundle.path], *flags) as cloud:
        assert cloud.probed is not None
        assert check("--cloud", cloud.probed, "--insecure").returncode == 0
        assert check("--cloud", cloud.listen, "--insecure").returncode == 1  # edges' port speaks TLS alone
        with grpc.insecure_channel(cloud.probed) as channel:
            stream = channel.stream_stream("/neucodex.v1.CoInference/Infer")(iter([b""]), timeout=DEADLINE)
            with pytest.raises(grpc.RpcError) as refused:
                next(stream)
            assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED
            health = health_pb2_grpc.HealthStub(channel)
            with pytest.raises(grpc.RpcError) as unknown:
                health.Check(health_pb2.HealthCheckRequest(service="nobody"), timeout=DEADLINE)
            assert unknown.value.code() is grpc.StatusCode.NOT_FOUND
            with pytest.raises(grpc.RpcError) as unwatched:
                next(health.Watch(health_pb2.HealthCheckRequest(), timeout=DEADLINE))
            assert unwatched.value.code() is grpc.StatusCode.UNIMPLEMENTED
            cloud.signal(signal.SIGTERM)
        assert cloud.wait() == 0


def test_a_port_for_probes_that_is_taken_is_said(bundle: Bundle, tmp_path: Path) -> None:
    with cloud_process(tmp_path, [bundle.path], "--health", "127.0.0.1:0") as first:
        flags = ("--insecure", "--bundle", str(bundle.path), "--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0")
        for processes in ("1", "2"):
            taken = subprocess.run(
                [sys.executable, "-m", "cloud_server", *flags, "--health", str(first.probed), "--processes", processes],
                cwd=ROOT, check=False, capture_output=True, text=True, timeout=DEADLINE,
            )  # fmt: skip
            assert taken.returncode == 2
            assert f"error: cannot listen on {first.probed}" in taken.stderr
            assert "see --health" in taken.stderr
