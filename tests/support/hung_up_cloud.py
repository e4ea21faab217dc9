"""`python -m tests.support.hung_up_cloud`: a cloud of which every process gets SIGHUP while it imports torch."""

from __future__ import annotations

import os
import signal
import sys

from cloud_server.__main__ import main


class _HangUp:
    """Among the finders of modules; it finds none."""

    def find_spec(self, name: str, *_: object) -> None:
        if name == "torch":
            os.kill(os.getpid(), signal.SIGHUP)


if __name__ in ("__main__", "__mp_main__"):
    sys.meta_path.insert(0, _HangUp())  # type: ignore[arg-type]

if __name__ == "__main__":
    main()
