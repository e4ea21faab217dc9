"""`--trust` on real processes: an edge and a cloud refuse a bundle of unknown origin, and so does a reload."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

import pytest
from PIL import Image

from shared.bundle import Bundle
from shared.signatures import make_key, sign
from tests.support.edges import EdgeRun, rename_classes, run_edge
from tests.support.processes import DEADLINE, cloud_process, starting_cloud, wait_for


@pytest.fixture
def key(tmp_path: Path) -> Path:
    make_key(tmp_path / "key")
    return tmp_path / "key"


@pytest.fixture
def served(bundle: Bundle, tmp_path: Path) -> Path:
    """A folder of bundles with one in it, not signed."""
    shutil.copytree(bundle.path, tmp_path / "bundles" / "one")
    return tmp_path / "bundles"


def classify(bundle: Path, cloud: str, trusted: Path, tmp_path: Path) -> EdgeRun:
    Image.new("L", (16, 16)).save(tmp_path / "picture.png")
    picture = ("--images", str(tmp_path / "picture.png"), "--runtime", "torch", "--json")
    return run_edge("--bundle", str(bundle), "--cloud", cloud, "--trust", str(trusted), *picture)


def one_line(err: str) -> str:
    (line,) = [line for line in err.splitlines() if line.startswith("error: ")]
    assert "Traceback" not in err
    return line


def test_edge_and_cloud_refuse_what_nobody_signed_and_take_what_the_key_did(
    key: Path, served: Path, tmp_path: Path
) -> None:
    bundle, trusted = served / "one", key.with_suffix(".pub")
    run = classify(bundle, "127.0.0.1:1", trusted, tmp_path)
    assert (run.code, run.out) == (3, "")
    assert "it bears no signature" in one_line(run.err)
    with starting_cloud(tmp_path / "refused", [bundle], "--trust", str(trusted)) as (cloud, log):
        assert cloud.wait(DEADLINE) == 3
        assert "it bears no signature" in one_line(log.read_text())

    sign(bundle, Bundle.open(bundle).fingerprint, key)
    make_key(tmp_path / "other")
    both = ("--trust", str(tmp_path / "other.pub"), "--trust", str(trusted))
    with cloud_process(tmp_path / "cloud", [bundle], *both) as running:
        run = classify(bundle, running.listen, trusted, tmp_path)
        assert run.code == 0, run.err


def test_a_reload_takes_only_what_is_signed_and_reads_the_keys_again(key: Path, served: Path, tmp_path: Path) -> None:
    trusted = key.with_suffix(".pub")
    sign(served / "one", Bundle.open(served / "one").fingerprint, key)
    with cloud_process(tmp_path / "cloud", [], "--bundles-dir", str(served), "--trust", str(trusted)) as cloud:

        def reload(said: str) -> None:
            before = cloud.log.read_text().count(said)
            cloud.signal(signal.SIGHUP)
            wait_for(lambda: cloud.log.read_text().count(said) > before, said)

        another = Bundle.open(Path(shutil.copytree(served / "one", served / "two")))
        another = rename_classes(
            another, tuple(f"class {number}" for number in range(another.manifest.network.classes))
        )
        reload("bundles are not reloaded, what was served is served on: bundle")
        sign(another.path, another.fingerprint, key)
        reload("bundles reloaded: 1 new, 0 retired")

        make_key(tmp_path / "new")
        shutil.copy(tmp_path / "new.pub", trusted)
        reload("is not signed by a key of --trust")
        for folder in served.iterdir():
            sign(folder, Bundle.open(folder).fingerprint, tmp_path / "new")
        reload("bundles reloaded: 0 new, 0 retired")
        assert "Traceback" not in cloud.log.read_text()
