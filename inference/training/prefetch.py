"""Batches drawn in worker processes ahead of the trainer: a GPU learns faster than one process can draw them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import count

from torch.utils.data import DataLoader, Dataset

from inference.training.examples import POOL, Batches, Example

MAX_WORKERS = 14
Pool = list[list[Example]]


class PrefetchedBatches:
    """The same batches as ``batches``, by number; fast if numbers ascend.

    Workers draw a pool at a time, as ``Batches`` does. They run until ``close`` or until this process ends.
    """

    def __init__(self, batches: Batches, workers: int | None = None) -> None:
        self._drawn = _Pools(batches)
        self._workers = workers or max(min((os.cpu_count() or 2) - 2, MAX_WORKERS), 1)
        self._pools: Iterator[Pool] | None = None
        self._number, self._pool = -1, list[list[Example]]()

    def __getitem__(self, number: int) -> list[Example]:
        pool, index = divmod(number, POOL)
        if pool != self._number:
            if self._pools is None or pool != self._number + 1:
                self._pools = self._start(pool)
            self._number, self._pool = pool, next(self._pools)
        return self._pool[index]

    def close(self) -> None:
        """End the workers."""
        self._pools, self._number = None, -1

    def _start(self, first: int) -> Iterator[Pool]:
        loader = DataLoader(
            self._drawn, batch_size=None, sampler=count(first), num_workers=self._workers, collate_fn=_identity
        )
        return iter(loader)


class _Pools(Dataset[Pool]):
    def __init__(self, batches: Batches) -> None:
        self._batches = batches

    def __getitem__(self, index: int) -> Pool:
        return [self._batches[index * POOL + n] for n in range(POOL)]


def _identity(pool: Pool) -> Pool:
    return pool
