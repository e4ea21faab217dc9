"""Fetch a data set from its publisher: checked against the published checksum, unpacked without trusting it."""

from __future__ import annotations

import hashlib
import shutil
import tarfile
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path

from shared.datasets import DatasetInfo
from shared.errors import SourceError

CHUNK = 1 << 20
TIMEOUT_SECONDS = 30.0

OnBytes = Callable[[int, int | None], None]
"""Called with the bytes so far, and the bytes in all or None if the server does not give them."""


def download(known: DatasetInfo, root: Path, *, url: str | None = None, progress: OnBytes | None = None) -> None:
    """Fetch and unpack a set into `root`; a file that fails its checksum is deleted and nothing is unpacked.

    Args:
        known: the set. It needs a checksum: the publishers of the others let only people download.
        root: the data folder; created if it is missing.
        url: where to fetch instead of the publisher's address, such as a mirror; the checksum stays the publisher's.
        progress: called after each chunk.

    Raises:
        SourceError: the set cannot be fetched, the server does not answer, or the archive is not the published one.
    """
    if known.md5 is None or not known.urls:
        raise SourceError(f"{known.name} cannot be fetched by itself: {known.how_to_get}; see {', '.join(known.urls)}")
    address = url or known.urls[0]
    root.mkdir(parents=True, exist_ok=True)
    archive = root / (Path(urllib.parse.urlsplit(address).path).name or "archive")
    partial = archive.with_name(archive.name + ".part")
    try:
        digest = _fetch(address, partial, progress)
        if digest != known.md5:
            raise SourceError(f"{address}: checksum {digest} instead of {known.md5}: not the published file, not kept")
        partial.replace(archive)
    finally:
        partial.unlink(missing_ok=True)
    unpack(archive, root)
    archive.unlink()


def unpack(archive: Path, root: Path) -> None:
    """Unpack plain files and folders of a tar archive below `root`.

    Raises:
        SourceError: the archive is damaged, or a member is a link or device or leads out of `root`; nothing of an
            archive with such a member is unpacked.
    """
    try:
        with tarfile.open(archive) as tar:
            members = tar.getmembers()
            for member in members:
                inside = (root / member.name).resolve().is_relative_to(root.resolve())
                if not inside or not (member.isfile() or member.isdir()):
                    raise SourceError(f"{archive}: refuses to unpack {member.name!r}, which is no plain file below it")
            for member in members:
                _extract(tar, member, root / member.name)
    except (tarfile.TarError, EOFError, OSError) as error:
        raise SourceError(f"{archive}: damaged archive ({error}): download it again") from None


def _extract(tar: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> None:
    if member.isdir():
        target.mkdir(parents=True, exist_ok=True)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    source = tar.extractfile(member)
    if source is not None:
        with source, target.open("wb") as file:
            shutil.copyfileobj(source, file, CHUNK)


def _fetch(address: str, target: Path, progress: OnBytes | None) -> str:
    """Download `address` to `target` and return its MD5, the checksum that publishers give (against damage, not
    malice)."""
    if urllib.parse.urlsplit(address).scheme not in ("http", "https"):
        raise SourceError(f"{address}: only http and https addresses are fetched")
    digest = hashlib.md5(usedforsecurity=False)
    done = 0
    try:
        with urllib.request.urlopen(address, timeout=TIMEOUT_SECONDS) as answer, target.open("wb") as file:  # noqa: S310 - scheme checked above
            length = answer.headers.get("Content-Length")
            total = int(length) if length else None
            while chunk := answer.read(CHUNK):
                file.write(chunk)
                digest.update(chunk)
                done += len(chunk)
                if progress is not None:
                    progress(done, total)
    except (OSError, ValueError, urllib.error.URLError) as error:
        reason = getattr(error, "reason", None) or error
        raise SourceError(
            f"{address}: cannot be fetched ({reason}): check the network, or give --url a mirror"
        ) from None
    if total is not None and done != total:
        raise SourceError(f"{address}: the connection ended after {done} of {total} bytes: try again")
    return digest.hexdigest()
