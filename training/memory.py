"""What training asks of the C library's allocator and of the kernel."""

import ctypes
import os

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3  # of malloc.h
MADV_HUGEPAGE = 14  # of Linux
MMAP_THRESHOLD_BYTES = 1 << 25  # the most that glibc takes
HUGE_PAGE_BYTES = 1 << 21

KERNELS = 16384


def keep_kernels() -> None:
    """Have oneDNN keep the kernels of all widths that are drawn: it keeps 1024, and making those anew that had to go
    takes 5 % of a step's time. To be called before the first convolution; an environment that says how many rules."""
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", str(KERNELS))


def keep_freed_memory(reserve_bytes: int) -> None:
    """Keep what a step frees for the next one, in huge pages: fresh pages and address translation are a fifth of a
    step's time on a CPU.

    The heap grows by `reserve_bytes` (at most 2 GiB) at once, which cost nothing until they are used, and asks for huge
    pages there. Other C libraries and kernels have no such calls, and then nothing happens.
    """
    try:
        libc = ctypes.CDLL(None)
        mallopt, malloc, free, sbrk, madvise = libc.mallopt, libc.malloc, libc.free, libc.sbrk, libc.madvise
    except (AttributeError, OSError, TypeError):
        return
    malloc.restype = sbrk.restype = ctypes.c_void_p
    malloc.argtypes, free.argtypes, sbrk.argtypes = [ctypes.c_size_t], [ctypes.c_void_p], [ctypes.c_ssize_t]
    madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    mallopt(M_TRIM_THRESHOLD, -1)  # never
    mallopt(M_MMAP_THRESHOLD, MMAP_THRESHOLD_BYTES)
    mallopt(M_TOP_PAD, min(reserve_bytes, (1 << 31) - 1))
    block = malloc(MMAP_THRESHOLD_BYTES - 4096)  # too large for a gap, so the heap grows, by this and the padding
    mallopt(M_TOP_PAD, HUGE_PAGE_BYTES)
    if block is None:
        return
    start, end = -(-block // HUGE_PAGE_BYTES) * HUGE_PAGE_BYTES, sbrk(0) or 0
    if block < end:
        madvise(start, end - start, MADV_HUGEPAGE)
    free(block)
