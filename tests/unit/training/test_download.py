from __future__ import annotations

import hashlib
import io
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from shared.datasets import DATASETS
from shared.errors import SourceError
from training.datasets.download import download, unpack

CONTENT = b"a batch of pictures" * 1000


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def published(tmp_path: Path) -> Iterator[str]:
    """The address of an archive served on loopback."""
    folder = tmp_path / "published"
    folder.mkdir()
    with tarfile.open(folder / "set.tar.gz", "w:gz") as tar:
        member = tarfile.TarInfo("cifar-10-batches-bin/test_batch.bin")
        member.size = len(CONTENT)
        tar.addfile(member, io.BytesIO(CONTENT))
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/set.tar.gz"
        server.shutdown()
        thread.join()


def md5(tmp_path: Path) -> str:
    return hashlib.md5((tmp_path / "published" / "set.tar.gz").read_bytes()).hexdigest()


def test_fetches_checks_and_unpacks(published: str, tmp_path: Path) -> None:
    known = replace(DATASETS["cifar10"], md5=md5(tmp_path))
    seen: list[tuple[int, int | None]] = []
    root = tmp_path / "data"
    download(known, root, url=published, progress=lambda done, total: seen.append((done, total)))
    assert (root / "cifar-10-batches-bin" / "test_batch.bin").read_bytes() == CONTENT
    assert [path.name for path in root.iterdir()] == ["cifar-10-batches-bin"]
    assert seen[-1][0] == seen[-1][1]


def test_wrong_checksum_leaves_nothing(published: str, tmp_path: Path) -> None:
    root = tmp_path / "data"
    with pytest.raises(SourceError, match="c32a1d4ab5d03f1284b67883e8d87530: not the published file"):
        download(DATASETS["cifar10"], root, url=published)
    assert list(root.iterdir()) == []


def test_missing_file_and_dead_server(published: str, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"set\.tar\.gz\.gone: cannot be fetched"):
        download(DATASETS["cifar10"], tmp_path / "data", url=published + ".gone")
    with pytest.raises(SourceError, match="cannot be fetched"):
        download(DATASETS["cifar10"], tmp_path / "data", url="http://127.0.0.1:9/set.tar.gz")
    with pytest.raises(SourceError, match="only http and https"):
        download(DATASETS["cifar10"], tmp_path / "data", url="file:///etc/hostname")


def test_a_set_without_a_checksum_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"nmnist cannot be fetched by itself: unpack Train\.zip"):
        download(DATASETS["nmnist"], tmp_path)


def archive(path: Path, *members: tarfile.TarInfo) -> Path:
    with tarfile.open(path, "w") as tar:
        for member in members:
            tar.addfile(member, io.BytesIO(b"x" * member.size))
    return path


def plain(name: str) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size = 3
    return member


def link(name: str, target: str) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = tarfile.SYMTYPE, target
    return member


@pytest.mark.parametrize("evil", [plain("../outside"), plain("/tmp/outside"), link("inside", "/etc")])
def test_archives_cannot_lead_out(evil: tarfile.TarInfo, tmp_path: Path) -> None:
    root = tmp_path / "data"
    root.mkdir()
    with pytest.raises(SourceError, match="refuses to unpack"):
        unpack(archive(tmp_path / "evil.tar", plain("good"), evil), root)
    assert list(root.iterdir()) == []
    assert not (tmp_path / "outside").exists()


def test_damaged_archive_is_named(tmp_path: Path) -> None:
    path = tmp_path / "set.tar.gz"
    path.write_bytes(b"\x1f\x8bnot an archive")
    with pytest.raises(SourceError, match=r"set\.tar\.gz: damaged archive"):
        unpack(path, tmp_path)
