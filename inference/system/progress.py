"""The type of progress callbacks."""

from __future__ import annotations

from collections.abc import Callable

OnProgress = Callable[[int, int], None]
"""Called with the count done and the total, in a unit of the caller's (bytes, tensors, weights)."""
