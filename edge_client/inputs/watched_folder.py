"""A watched folder: the files in it, and those that come, until the run is interrupted."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from edge_client.inputs.base import Item, Skip, Source, Unreadable
from edge_client.inputs.files import FileReader, read_items
from shared.errors import ConfigError, SourceError
from shared.folders import is_hidden

if TYPE_CHECKING:
    from watchfiles import Change

SETTLE_S = 0.5
"""A file is read when nothing has changed it for this time."""

GIVE_UP_S = 10.0
"""A file that cannot be read then may still be on its way. It is reported when nothing has changed it for this time."""

WAKE_MS = 100
"""How often files that are waited for are looked at."""


@dataclass
class Waiting:
    """A file that is not read yet: unchanged since a moment, and whether reading it has failed since."""

    since: float
    failed: bool = False


class WatchedFolder(Source):
    """Files in `folder`, to the bottom: first those that are there, by name, then the others as they come.

    Each is a sample once; changing it later does not make it another one, unless it was gone in between. Hidden files
    are left out: many programs write under such a name first.

    Raises:
        SourceError: there is no such folder.
        ConfigError: watchfiles is not installed.
    """

    def __init__(self, folder: Path, reader: FileReader, skip: Skip, limit: int | None) -> None:
        if not folder.is_dir():
            raise SourceError(f"--watch is {folder}: no such folder")
        try:
            import watchfiles  # noqa: PLC0415  the extra `watch`
        except ImportError:
            raise ConfigError("watching a folder needs watchfiles: pip install '.[watch]' in a checkout") from None
        self._watch = watchfiles.watch
        self._folder = folder
        self._reader = reader
        self._skip = skip
        self._stop = threading.Event()
        self._looking = threading.Lock()
        self.count = limit

    def close(self) -> None:
        self._stop.set()
        # A thread that is inside the library when Python ends would take the process down.
        if self._looking.acquire(timeout=1.0):
            self._looking.release()

    def __iter__(self) -> Iterator[Item]:
        waiting: dict[Path, Waiting] = {}
        taken: set[Path] = set()
        number = 0
        for changed in self._changes():
            now = time.monotonic()
            taken.difference_update(path for path in changed if not path.exists())
            waiting.update((path, Waiting(now)) for path in changed if path not in taken)
            for path in [path for path, file in waiting.items() if now - file.since >= SETTLE_S]:
                if (found := self._read(number, path, waiting[path], now)) is None:
                    continue
                del waiting[path]
                for item in found:
                    number += 1
                    # What could not be read may be put right; what was read is done with.
                    if not isinstance(item, Unreadable):
                        taken.add(path)
                    if item is not None:
                        yield item
                    if number == self.count:
                        return
            waiting = {path: file for path, file in waiting.items() if path.exists()}

    def _read(self, number: int, path: Path, file: Waiting, now: float) -> Iterator[Item | None] | None:
        """What the file holds; None while it may still be on its way, and then a file without its end is none."""
        last_try = now - file.since >= GIVE_UP_S and path.exists()
        if file.failed and not last_try:
            return None
        items = read_items(self._reader, number, path, self._skip, torn=last_try)
        first = next(items, None)
        if isinstance(first, Unreadable) and not last_try:
            file.failed = True
            return None
        return chain([first], items)

    def _changes(self) -> Iterator[list[Path]]:
        """Changed files, every moment; first those that are there, as soon as no later change can be missed."""
        changes = self._watch(
            self._folder,
            watch_filter=None,
            debounce=WAKE_MS,
            step=WAKE_MS // 2,
            rust_timeout=WAKE_MS,
            yield_on_timeout=True,
            stop_event=self._stop,
            raise_interrupt=False,
        )
        # The watch is on when the first answer is here: it reports what comes after this look at the folder.
        look_at = [(0.0, self._folder)]
        while (changed := self._look(changes)) is not None:
            if not self._folder.is_dir():
                raise SourceError(f"--watch: the folder {self._folder} is gone")
            now = time.monotonic()
            paths = {Path(name) for _, name in changed}
            # The watch misses what came with a new folder, or into it before it was watched: look now, and once more.
            look_at += [(due, path) for path in paths if path.is_dir() for due in (now, now + SETTLE_S)]
            for folder in [folder for due, folder in look_at if due <= now]:
                paths.update(folder.rglob("*"))
            look_at = [(due, folder) for due, folder in look_at if due > now]
            yield sorted(filter(self._counts, paths))

    def _look(self, changes: Iterator[set[tuple[Change, str]]]) -> set[tuple[Change, str]] | None:
        with self._looking:
            try:
                return None if self._stop.is_set() else next(changes, None)
            except OSError as error:
                raise SourceError(f"--watch {self._folder}: cannot be watched ({error})") from None

    def _counts(self, path: Path) -> bool:
        counts = path.suffix.lower() in self._reader.suffixes and not is_hidden(path, self._folder)
        return counts and not path.is_dir()
