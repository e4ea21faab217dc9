"""Counts the files and the calls across files that one picture costs, in the steady state of an edge or a cloud.

    profile = CallProfile(("edge_client", "shared", "protos"))
    with profile:
        ...  # run pictures, and call `profile.next_picture()` after each
    print(profile.typical)

A call counts when it enters a Python function of the named packages from another file of theirs, or from outside (the
event loop, a thread). Resuming a coroutine or a generator is no call.
"""

from __future__ import annotations

import inspect
import sys
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

ROOT = Path(__file__).resolve().parents[2]

GENERATORS = inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR

Call = tuple[str, str, str]
"""File of the caller ("" for outside), file of the function, name of the function."""


@dataclass(frozen=True)
class PictureCalls:
    """What one picture costs: every call into another file, with how often it was made."""

    calls: Counter[Call]

    @property
    def files(self) -> list[str]:
        """The files that were entered, sorted, relative to the repository."""
        return sorted({file for _, file, _ in self.calls})

    @property
    def across_files(self) -> int:
        """Calls from one of these files into another one."""
        return sum(count for (caller, _, _), count in self.calls.items() if caller)

    def __str__(self) -> str:
        lines = [
            f"{count:3}  {caller or 'outside'} -> {file}: {name}" for (caller, file, name), count in self._sorted()
        ]
        return "\n".join([f"{len(self.files)} files, {self.across_files} calls across files", *lines])

    def _sorted(self) -> list[tuple[Call, int]]:
        return sorted(self.calls.items(), key=lambda item: (item[0][1], item[0][0]))


class CallProfile:
    """Watches this thread, and every thread started while it is entered.

    Args:
        packages: top-level folders of the repository.
    """

    def __init__(self, packages: Sequence[str]) -> None:
        self._folders = tuple(f"{ROOT / package}/" for package in packages)
        self._calls: list[Call] = []
        self._entered: set[FrameType] = set()
        """Of coroutines and generators. Held, so that no later one gets the identity of one that has ended."""
        self.pictures: list[PictureCalls] = []

    def __enter__(self) -> CallProfile:
        threading.setprofile(self._on_event)
        sys.setprofile(self._on_event)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        sys.setprofile(None)
        threading.setprofile(None)  # type: ignore[arg-type]  takes None as sys.setprofile does

    def next_picture(self) -> None:
        """The calls from now on belong to the next picture."""
        calls, self._calls = self._calls, []
        self.pictures.append(PictureCalls(Counter(calls)))

    @property
    def typical(self) -> PictureCalls:
        """The picture with the median number of calls across files, of the second half: the first ones warm up."""
        steady = self.pictures[len(self.pictures) // 2 :]
        return sorted(steady, key=lambda picture: picture.across_files)[len(steady) // 2]

    @property
    def cheapest(self) -> PictureCalls:
        """The picture with the fewest calls and files, of the second half. Others hold what comes by the clock, too.

        Only for pictures that are told apart exactly: none may begin before `next_picture` was called.
        """
        steady = self.pictures[len(self.pictures) // 2 :]
        return min(steady, key=lambda picture: (picture.across_files, len(picture.files)))

    def _on_event(self, frame: FrameType, event: str, _: Any) -> None:
        if event != "call" or not frame.f_code.co_filename.startswith(self._folders) or self._resumed(frame):
            return
        file = frame.f_code.co_filename
        caller = frame.f_back.f_code.co_filename if frame.f_back is not None else ""
        if caller != file:
            known = caller if caller.startswith(self._folders) else ""
            self._calls.append((_short(known), _short(file), frame.f_code.co_qualname))

    def _resumed(self, frame: FrameType) -> bool:
        """Whether a coroutine or generator that was entered before goes on."""
        if not frame.f_code.co_flags & GENERATORS:
            return False
        known = frame in self._entered
        self._entered.add(frame)
        return known


def _short(file: str) -> str:
    return file and str(Path(file).relative_to(ROOT))
