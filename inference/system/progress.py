"""How long work tells of itself: one type, so that whoever does the work need not know who watches."""

from __future__ import annotations

from collections.abc import Callable

OnProgress = Callable[[int, int], None]
"""Told how many of how many are done; what is counted (bytes, tensors, weights) says whoever calls it."""
