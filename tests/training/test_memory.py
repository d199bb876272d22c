"""The step's memory: kept by the heap, asked for in huge pages, asked for once; elsewhere nothing happens."""

import ctypes
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from basic.training.memory import keep_freed_memory

# Twice the reserve, so that a second request is seen to grow nothing; 24 MiB of it written, freed and taken again.
PROGRAM = """
import ctypes
import numpy as np
from pathlib import Path
from basic.training.memory import keep_freed_memory

sbrk = ctypes.CDLL(None).sbrk
sbrk.restype, sbrk.argtypes = ctypes.c_void_p, [ctypes.c_ssize_t]
end = [sbrk(0)]
for _ in range(2):
    keep_freed_memory(256 << 20)
    end.append(sbrk(0))
first = np.ones(24 << 20, np.uint8)
place = first.ctypes.data
del first
second = np.ones(24 << 20, np.uint8)
huge, inside = 0, False
for line in Path("/proc/self/smaps").read_text().splitlines():
    if "-" in line.split()[0]:
        start, stop = (int(part, 16) for part in line.split()[0].split("-"))
        inside = start <= place + (12 << 20) < stop
    elif inside and line.startswith("AnonHugePages"):
        huge = int(line.split()[1])
print(end[1] - end[0], end[2] - end[1], second.ctypes.data == place, huge)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the calls are glibc's")
def test_the_heap_grows_once_and_is_kept_in_huge_pages() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    grown, grown_again, same_place, huge_kib = done.stdout.split()
    assert int(grown) >= 256 << 20 and grown_again == "0" and same_place == "True"
    setting = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    if setting.exists() and "[never]" not in setting.read_text():
        assert int(huge_kib) >= 16 << 10


def test_without_such_a_library_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    keep_freed_memory(1 << 20)
