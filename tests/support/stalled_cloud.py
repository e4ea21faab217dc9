"""`python -m tests.support.stalled_cloud`: a cloud that never gets warm: of two processes the second."""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import os

from cloud_server.__main__ import main
from cloud_server.bundle_manager import BundleManager

STALLED = "is stalled"
"""Its log says so, with the number of the process before it."""


async def _stall(_: BundleManager) -> None:
    logging.getLogger(__name__).info("%d %s", os.getpid(), STALLED)
    await asyncio.Event().wait()


# As a program, or as one of its children, which import it by the second name; not in a test that reads STALLED.
if __name__ in ("__main__", "__mp_main__") and multiprocessing.current_process().name != "neucodex-cloud-0":
    BundleManager.load_all = _stall  # type: ignore[method-assign]

if __name__ == "__main__":
    main()
