"""The example edge in Node against a real cloud: another language, from protos/ and docs/wire-format.md alone."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
import trustme

from shared.bundle import Bundle
from shared.datasets import load_split
from tests.support.certificates import authority_file, issue
from tests.support.processes import DEADLINE, cloud_process

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "node"
DIGITS = Bundle.open(ROOT / "models" / "resnet18-digits", "rate")
TOKEN = "the-token-that-is-known"
PICTURES = 20

pytestmark = pytest.mark.skipif(
    shutil.which("node") is None or not (EXAMPLE / "node_modules" / ".installed").exists(),
    reason="Node is missing, or `make node`",
)


def node_edge(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["node", EXAMPLE / "edge.mjs", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE, check=False)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Files of held-out digits, and what is on them."""
    folder, test = tmp_path_factory.mktemp("pictures"), load_split("digits", None, "test", size=32)
    found = {}
    for index in range(0, len(test.labels), len(test.labels) // PICTURES):
        path = folder / f"{index}.pgm"
        path.write_bytes(b"P5 32 32 255\n" + test.frames[index].tobytes())
        found[str(path)] = str(test.labels[index])
    return found


def test_it_classifies_digits_behind_tls_with_a_token(pictures: dict[str, str], tmp_path: Path) -> None:
    authority = trustme.CA()
    certificate, key = issue(authority, tmp_path, "cloud", "127.0.0.1")
    ca = authority_file(authority, tmp_path / "ca.pem")
    tokens = tmp_path / "tokens"
    tokens.write_text(f"# known\n{TOKEN}\n")
    guard = ("--tls-cert", str(certificate), "--tls-key", str(key), "--token-file", str(tokens))
    with cloud_process(tmp_path / "cloud", [DIGITS.path], *guard) as cloud:
        here = ("--bundle", str(DIGITS.path), "--cloud", cloud.listen, "--ca", str(ca))
        done = node_edge(*here, "--token-file", str(tokens), *pictures)
        refused = node_edge(*here, *pictures)
        assert cloud.metric("neucodex_cloud_rejections_total") == 0
    assert done.returncode == 0, done.stderr
    verdicts = [json.loads(line) for line in done.stdout.splitlines()]
    assert [verdict["sample"] for verdict in verdicts] == list(pictures)
    right = sum(verdict["prediction"] == pictures[verdict["sample"]] for verdict in verdicts)
    assert right >= len(verdicts) - 1
    for verdict in verdicts:
        assert verdict["payload_bytes"] == 32 * verdict["timesteps"]
        certain = verdict["confidence"] >= DIGITS.settings.exit_policy.threshold
        assert certain or verdict["timesteps"] == DIGITS.manifest.network.timesteps
    assert any(verdict["timesteps"] == 1 for verdict in verdicts)
    assert refused.returncode == 1
    assert "UNAUTHENTICATED" in refused.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [((), "name --bundle DIR"), (("--bundle", str(DIGITS.path), "--cloud", "127.0.0.1:9"), "UNAVAILABLE")],
)
def test_what_is_wrong_is_one_line(arguments: tuple[str, ...], said: str) -> None:
    done = node_edge(*arguments)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
