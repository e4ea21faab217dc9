"""The check that containers and probes run, against a real cloud."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import trustme

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
