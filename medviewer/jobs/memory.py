"""Peak memory of a process, and a cap on it."""

from __future__ import annotations

import sys
from pathlib import Path

import psutil


def peak_rss() -> int:
    """Return the largest resident size of this process so far, in bytes."""
    info = psutil.Process().memory_info()
    if sys.platform == "win32":
        return int(getattr(info, "peak_wset", info.rss))
    if sys.platform == "linux":
        # Not ru_maxrss: a new process begins with that of the one which started it.
        for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def limit_memory(nbytes: int) -> None:
    """Cap the address space of this process where the system can; 0 means no cap.

    Windows and macOS do not enforce such a cap; there the parent watches the resident size instead.
    """
    if nbytes <= 0 or sys.platform == "win32":
        return
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = nbytes if hard == resource.RLIM_INFINITY else min(nbytes, hard)
    try:
        resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
    except (ValueError, OSError):
        return
