"""Giving memory back that allocators keep after something large was freed. Knows no models.

Torch's CPU tensors are glibc's, and glibc keeps what lies below the top of its heap until it is asked.
"""

from __future__ import annotations

import ctypes
import sys

import torch


def release() -> None:
    """Return free memory to the system and to the GPU's other users; milliseconds, so not for every request."""
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()
    if sys.platform == "linux" and (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)):  # glibc's alone
        trim(0)
