"""When memory runs out in the middle of an answer: what was cached goes, and the answer goes on as if nothing had been.

Torch-free; knows no model. Allocators say so in different words: torch's for GPUs by ``torch.OutOfMemoryError``, its
CPU's by a RuntimeError, cuBLAS by a status.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

WORDS = ("out of memory", "can't allocate memory", "cannot allocate memory", "alloc_failed")

LEAST_CONTEXT = 256
"""Tokens below which a context is not shortened any more: a prompt would not be worth asking."""

T = TypeVar("T")


class OutOfMemoryError(Exception):
    """Nothing is left to give back; the text is for a person. ``said``: tokens of the answer there were already."""

    def __init__(self, said: int) -> None:
        super().__init__(
            "The model ran out of memory, also with nothing cached: "
            "close other programs that use the memory, or choose a smaller model."
        )
        self.said = said


def is_shortage(error: BaseException) -> bool:
    """Does this error say that memory ran out?"""
    words = str(error).lower()
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and any(word in words for word in WORDS))


def enduring(begin: Callable[[list[int]], Iterator[T | int]], relieve: Callable[[], object]) -> Iterator[T | int]:
    """The steps of ``begin``, which is given the tokens said so far; begun anew where memory ran out.

    ``relieve`` gives memory back, again only once the answer has grown since. Raises MemoryShortError where that was
    not enough.
    """
    said: list[int] = []
    relieved_at = -1
    while True:
        try:
            for step in begin(said):
                if isinstance(step, int):
                    said.append(step)
                yield step
            return
        except Exception as error:
            if not is_shortage(error):
                raise
        # outside of the handler, as the error's frames hold on to what the failed step had allocated
        if relieved_at == len(said):
            raise OutOfMemoryError(len(said))
        relieved_at = len(said)
        relieve()
