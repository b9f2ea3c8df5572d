"""How the process treats memory that it has freed."""

import ctypes
import sys

# Of <malloc.h>. glibc accepts no threshold above 32 MiB for arrays in mappings of their own, and none beyond an int.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_LARGEST_MAPPED = 32 * 2**20
_LARGEST_INT = 2**31 - 1


def keep_freed_memory() -> None:
    """Let glibc keep up to 2 GiB that were freed, where it would give them back to the system and fetch them again.

    Arrays of some MiB come and go by the hundred in a second; fetched anew each time, every page of them costs a
    fault (benchmarks/allocation.py). Other C libraries have no such setting and stay as they are.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _LARGEST_MAPPED)
        mallopt(_M_TRIM_THRESHOLD, _LARGEST_INT)
