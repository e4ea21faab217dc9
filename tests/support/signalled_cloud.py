"""`python -m tests.support.signalled_cloud`: a cloud whose every serving process gets a signal while it imports."""

from __future__ import annotations

import os
import sys

from cloud_server.__main__ import main

NUMBER = "TESTS_SIGNAL"
"""The environment variable that holds the signal's number."""


IMPORTED = "cloud_server.bundle_manager"
"""The module during whose import the signal comes: only processes that serve import it, once, before they listen."""


class _Signal:
    """Among the finders of modules; it finds none."""

    def find_spec(self, name: str, *_: object) -> None:
        if name == IMPORTED:
            os.kill(os.getpid(), int(os.environ[NUMBER]))


if __name__ in ("__main__", "__mp_main__"):
    sys.meta_path.insert(0, _Signal())  # type: ignore[arg-type]

if __name__ == "__main__":
    main()
