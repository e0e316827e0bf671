"""Batches drawn in other processes, ahead of the trainer: a GPU learns from them faster than one process can cut them.

Changes nothing about which batches there are. Knows no model.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import count

from torch.utils.data import DataLoader, Dataset

from inference.training.examples import POOL, Batches, Example

MOST_WORKERS = 14
Pool = list[list[Example]]


class PrefetchedBatches:
    """``batches`` by their number, as they are; quick where numbers ascend, and right where they do not.

    Drawn a pool at a time, as ``Batches`` does. Close it, or its workers wait until this process ends.
    """

    def __init__(self, batches: Batches, workers: int | None = None) -> None:
        self._drawn = _Pools(batches)
        self._workers = workers or max(min((os.cpu_count() or 2) - 2, MOST_WORKERS), 1)
        self._pools: Iterator[Pool] | None = None
        self._number, self._pool = -1, list[list[Example]]()

    def __getitem__(self, number: int) -> list[Example]:
        pool, place = divmod(number, POOL)
        if pool != self._number:
            if self._pools is None or pool != self._number + 1:
                self._pools = self._begin(pool)
            self._number, self._pool = pool, next(self._pools)
        return self._pool[place]

    def close(self) -> None:
        """Ends the workers."""
        self._pools, self._number = None, -1

    def _begin(self, first: int) -> Iterator[Pool]:
        loader = DataLoader(
            self._drawn, batch_size=None, sampler=count(first), num_workers=self._workers, collate_fn=_as_it_is
        )
        return iter(loader)


class _Pools(Dataset[Pool]):
    def __init__(self, batches: Batches) -> None:
        self._batches = batches

    def __getitem__(self, index: int) -> Pool:
        return [self._batches[index * POOL + place] for place in range(POOL)]


def _as_it_is(pool: Pool) -> Pool:
    return pool
