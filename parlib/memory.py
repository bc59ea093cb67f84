"""The memory that a batch may take, and how the C library keeps it."""

import ctypes
import sys

import torch

_MMAP_MAX, _TRIM_THRESHOLD = -4, -1  # of mallopt(3)


def memory_budget(device: torch.device) -> int:
    """Bytes that the activations of a batch may take: a quarter of a GPU's memory; on a CPU 2 GiB, whatever it has, so
    that every machine computes the same."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory // 4
    return 2**31


def keep_memory() -> None:
    """Let this process keep freed memory for the next batch, until `release_memory`.

    By default glibc maps each tensor above 32 MB anew and the kernel clears it: a third of the time of a training step
    on a CPU. Other C libraries, of macOS and Windows, are left as they are.
    """
    _call("mallopt", _MMAP_MAX, 0)
    _call("mallopt", _TRIM_THRESHOLD, 2**31 - 1)


def release_memory() -> None:
    """Give memory that is free back to the system."""
    _call("malloc_trim", 0)


def _call(name, *arguments):
    function = getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None
    if function:
        function(*arguments)
