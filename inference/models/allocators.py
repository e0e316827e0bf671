"""Return memory that allocators keep after large objects were freed.

Torch allocates CPU tensors through glibc, which keeps free memory below the top of its heap until ``malloc_trim``.
"""

from __future__ import annotations

import ctypes
import sys

import torch


def release() -> None:
    """Return free memory to the system and to the GPU. Takes milliseconds: not for every request."""
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()
    if sys.platform == "linux" and (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)):  # glibc only
        trim(0)
