"""Freed memory is kept for the next step, instead of going to the kernel and coming back page by page, zeroed anew."""

from __future__ import annotations

import ctypes
import logging

log = logging.getLogger(__name__)

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""glibc's numbers for mallopt, malloc.h."""

_NEVER = 2**31 - 1


def keep_freed_memory() -> bool:
    """Tell glibc's malloc so, for this process; call it before the large buffers are made.

    Returns:
        Whether it was done: other C libraries have no such settings.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False
    done = bool(mallopt(_MMAP_THRESHOLD, _NEVER)) and bool(mallopt(_TRIM_THRESHOLD, _NEVER))
    log.debug("malloc keeps freed memory: %s", done)
    return done
