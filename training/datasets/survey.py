"""A look at a folder of pictures before anything is trained on it: how many there are, and what will go wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from shared.errors import SourceError
from shared.folders import visible_entries
from shared.picture_formats import SUFFIXES
from shared.pictures import open_picture
from training.datasets.folder import TEST_EVERY, is_test, list_classes

FEW = 20
"""Pictures of a class; with fewer its test part, a fifth, says little about it."""

UNEQUAL = 10
"""How many times as many pictures the largest class may have as the smallest, before it is said."""

SHOWN = 5
"""Of unreadable files: these are named, the others counted."""


@dataclass(frozen=True)
class Survey:
    """What is in a folder with one subfolder for each class.

    Attributes:
        root: the folder.
        classes: the number of pictures of each, those that cannot be read too, in the order of their names.
        unreadable: why, one line for each picture that cannot be read.
        ignored: how many files there are of other endings, by ending.
    """

    root: Path
    classes: Mapping[str, int]
    unreadable: tuple[str, ...]
    ignored: Mapping[str, int]

    @property
    def pictures(self) -> int:
        """Of all classes."""
        return sum(self.classes.values())

    @property
    def tested(self) -> int:
        """How many of them training keeps for testing."""
        return sum(is_test(index) for count in self.classes.values() for index in range(count))

    def warnings(self) -> Iterator[str]:
        """What will stop training, or make a bad network of it; one sentence or two each, without a full stop."""
        refused = [f"{name} ({count})" for name, count in self.classes.items() if count < TEST_EVERY]
        if refused:
            yield (
                f"training will refuse classes of fewer than {TEST_EVERY} pictures: {', '.join(refused)}; "
                "add pictures, or move the folder away and write the recipe again"
            )
        few = [f"{name} ({count})" for name, count in self.classes.items() if TEST_EVERY <= count < FEW]
        if few:
            yield f"few pictures: {', '.join(few)}; a network learns a class better from {FEW} and more"
        least, most = min(self.classes, key=self._count), max(self.classes, key=self._count)
        if self._count(most) > UNEQUAL * max(1, self._count(least)):
            yield (
                f"{most} has {self._count(most)} pictures, {least} {self._count(least)}: the network will prefer {most}"
            )
        if self.unreadable:
            others = len(self.unreadable) - SHOWN
            yield (
                f"pictures that cannot be read, at which training will stop: {len(self.unreadable)}\n  "
                + "\n  ".join(self.unreadable[:SHOWN])
                + (f"\n  and {others} more" if others > 0 else "")
            )
        for suffix, count in self.ignored.items():
            yield f"files left out, because they cannot be read here: {count} {suffix or 'without an ending'}"

    def _count(self, name: str) -> int:
        return self.classes[name]


def survey_folder(root: Path, progress: Callable[[int, int], None]) -> Survey:
    """List the classes and decode every picture.

    Args:
        root: the folder.
        progress: told how many pictures are done, of how many.

    Raises:
        SourceError: there is no such folder, it has fewer than two subfolders, or no picture in them.
    """
    classes = list_classes(root)
    files = [file for pictures in classes.values() for file in pictures]
    if not files:
        raise SourceError(
            f"{root}: none of its {len(classes)} subfolders holds a picture: put those of a class in each"
        )
    unreadable = []
    for done, file in enumerate(files, 1):
        try:
            open_picture(file)
        except SourceError as error:
            unreadable.append(f"{file}: {error}")
        progress(done, len(files))
    others = [file for name in classes for file in visible_entries(root / name) if file.suffix.lower() not in SUFFIXES]
    others += visible_entries(root)
    ignored = Counter(file.suffix.lower() for file in others if file.is_file())
    return Survey(root, {name: len(pictures) for name, pictures in classes.items()}, tuple(unreadable), ignored)
