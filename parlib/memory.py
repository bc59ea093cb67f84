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
    """Let this process keep freed memory for the next batch; it grows to its largest batch and stays there.

    By default glibc maps each tensor above 32 MB anew and the kernel clears it: a third of the time of a training step
    on a CPU. Other C libraries, of macOS and Windows, are left as they are.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt:
        mallopt(_MMAP_MAX, 0)
        mallopt(_TRIM_THRESHOLD, 2**31 - 1)
