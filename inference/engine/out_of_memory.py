"""Recover from out-of-memory during generation: evict caches and resume the sequence. Torch-free.

Allocators report it differently: torch's for GPUs by ``torch.OutOfMemoryError``, torch's for CPUs by a RuntimeError,
cuBLAS by a status code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

from inference.errors import CodeLlamaError

MESSAGES = ("out of memory", "can't allocate memory", "cannot allocate memory", "alloc_failed")

T = TypeVar("T")


class OutOfMemoryError(CodeLlamaError):
    """Memory ran out although every cache had been evicted.

    Attributes:
        generated: tokens of the completion that had been generated.
    """

    def __init__(self, generated: int) -> None:
        super().__init__(
            "The model ran out of memory, even with empty caches. "
            "Close other programs that use the memory, or choose a smaller model."
        )
        self.generated = generated


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an exception reports that memory ran out."""
    text = str(error).lower()
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and any(m in text for m in MESSAGES))


def resuming(begin: Callable[[list[int]], Iterator[T | int]], evict: Callable[[], object]) -> Iterator[T | int]:
    """Yield the steps of ``begin(generated)``, and begin again with the tokens generated so far if memory runs out.

    ``evict`` frees memory first. It is called again only if the completion has grown since the last call. Raises
    OutOfMemoryError if that is not enough.
    """
    generated: list[int] = []
    evicted_at = -1
    while True:
        try:
            for step in begin(generated):
                if isinstance(step, int):
                    generated.append(step)
                yield step
            return
        except Exception as error:
            if not is_out_of_memory(error):
                raise
        # Outside the handler: the traceback's frames keep the failed step's tensors alive.
        if evicted_at == len(generated):
            raise OutOfMemoryError(len(generated))
        evicted_at = len(generated)
        evict()
