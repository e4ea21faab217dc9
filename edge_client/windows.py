"""How a long recording is cut into samples: by as many events each, or by as much time."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

FORM = re.compile(r"(count|time):([0-9.]+)(?:/([0-9.]+))?")


@dataclass(frozen=True)
class Window:
    """How a recording is cut.

    Attributes:
        by: "count": `length` and `stride` are events; "time": microseconds.
        length: of one sample.
        stride: from the start of one to the start of the next.
    """

    by: Literal["count", "time"]
    length: int
    stride: int

    @classmethod
    def parse(cls, text: str) -> Window:
        """`count:N` or `time:MS`, with a stride `count:N/S` or `time:MS/S`; without one it is the length.

        Raises:
            ValueError: it is neither.
        """
        found = FORM.fullmatch(text)
        if found is None:
            raise ValueError(f"{text!r} is neither count:N nor time:MS, such as count:20000 or time:50/25")
        length, stride = (_whole(found[1], value) for value in (found[2], found[3] or found[2]))
        return cls("count" if found[1] == "count" else "time", length, stride)

    def __str__(self) -> str:
        unit = 1 if self.by == "count" else 1000
        return f"{self.by}:{self.length / unit:g}/{self.stride / unit:g}"


def _whole(by: str, text: str) -> int:
    try:
        value = round(float(text) * 1000) if by == "time" else int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise ValueError(f"{text} is no length of a window: a whole number of events, or milliseconds")
    return value
