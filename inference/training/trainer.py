"""The training loop: steps, checkpoints and exact resumption.

A step depends only on its number, the weights and the optimiser's state. A killed and resumed run therefore ends with
the same adapter as an undisturbed one. Worker processes draw batches ahead: a GPU learns faster than one process draws.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import count
from pathlib import Path
from typing import Any, Protocol

import torch
from torch.utils.data import DataLoader, Dataset

from inference.models.adapter_files import AdapterError
from inference.models.manifest import sync
from inference.training import peft_adapter
from inference.training.examples import POOL, Batches, Example
from inference.training.heldout import token_losses
from inference.training.recipe import MAX_PASS_TOKENS, Recipe

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


OPTIMISER_FILE = "training.pt"
FINAL_SHARE = 0.1
"""The learning rate's last value as a share of its peak."""
MAX_GRADIENT_NORM = 1.0


class BatchSource(Protocol):
    """Batches by number."""

    def __getitem__(self, number: int) -> list[Example]: ...


@dataclass(frozen=True, slots=True)
class Step:
    """One finished step: mean loss in nats per token, tokens without padding, and seconds."""

    number: int
    loss: float
    tokens: int
    seconds: float


@dataclass(slots=True)
class TrainingRun:
    """Progress of a run: ``step`` of ``steps``, with the tokens and seconds so far."""

    steps: int
    step: int = 0
    tokens: int = 0
    seconds: float = 0.0


class Trainer:
    """Trains the adapter of one model. Raises FloatingPointError if the loss is not finite."""

    def __init__(self, model: Any, batches: BatchSource, recipe: Recipe, run: TrainingRun) -> None:
        self.model, self.run = model, run
        self._batches, self._recipe = batches, recipe
        self._weights = peft_adapter.trainable(model)
        self._device = self._weights[0].device.type
        self._optimiser = torch.optim.AdamW(self._weights, lr=recipe.learning_rate, betas=(0.9, 0.98), weight_decay=0.0)

    def steps(self) -> Iterator[Step]:
        """Run the remaining steps."""
        self.model.train()
        while self.run.step < self.run.steps:
            started = time.monotonic()
            examples = self._batches[self.run.step]
            loss = self._train_on(examples)
            self.run.step += 1
            tokens, seconds = sum(len(example.ids) for example in examples), time.monotonic() - started
            self.run.tokens += tokens
            self.run.seconds += seconds
            yield Step(self.run.step, loss, tokens, seconds)

    def save(self, folder: Path) -> None:
        """Write a checkpoint to ``folder``. The older one is kept until this one is complete."""
        new, old = folder.with_name(folder.name + ".new"), folder.with_name(folder.name + ".old")
        for stale in (new, old):
            shutil.rmtree(stale, ignore_errors=True)
        peft_adapter.save(self.model, new, "", dtype=None)
        torch.save(self._optimiser.state_dict(), new / OPTIMISER_FILE)
        (new / "run.json").write_text(json.dumps(asdict(self.run)), "utf-8")
        for path in (*new.iterdir(), new):
            sync(path)
        if folder.exists():
            folder.rename(old)
        new.rename(folder)
        sync(folder.parent)
        shutil.rmtree(old, ignore_errors=True)

    def resume(self, folder: Path) -> None:
        """Load a checkpoint of ``save``. Raises AdapterError if it does not fit."""
        folder = find_checkpoint(folder) or folder
        peft_adapter.load_weights(self.model, folder)
        try:
            self._optimiser.load_state_dict(torch.load(folder / OPTIMISER_FILE, weights_only=True))
            self.run = TrainingRun(**json.loads((folder / "run.json").read_text("utf-8")))
        except (OSError, ValueError, RuntimeError, TypeError) as error:
            raise AdapterError(
                f"The checkpoint in {folder} can't be resumed ({error}). Start again with --restart."
            ) from error

    def measure(self) -> float:
        """Measure the seconds of a step on a batch of typical length, without changing weights."""
        self.model.train()
        examples = sorted((self._batches[i] for i in range(8)), key=lambda some: sum(len(e.ids) for e in some))[4]
        self._backward(examples)  # warm up allocators and caches
        started = time.monotonic()
        self._backward(examples)
        self._optimiser.zero_grad()
        return time.monotonic() - started

    def _backward(self, examples: list[Example]) -> float:
        """Accumulate the gradients of the batch's mean loss and return that loss."""
        count, loss = sum(len(example.learnt) for example in examples), torch.zeros(())
        for some in split_into_passes(examples, MAX_PASS_TOKENS[self._device]):
            part = torch.cat(token_losses(self.model, some)).sum() / count
            part.backward()
            loss = loss + part.detach()
        return loss.item()

    def _train_on(self, examples: list[Example]) -> float:
        for group in self._optimiser.param_groups:
            group["lr"] = self._recipe.learning_rate * rate_factor(self.run.step, self.run.steps, self._recipe.warm_up)
        loss = self._backward(examples)
        if not math.isfinite(loss):
            raise FloatingPointError(
                f"The loss is not finite at step {self.run.step}. Start again with --restart and another --seed."
            )
        torch.nn.utils.clip_grad_norm_(self._weights, MAX_GRADIENT_NORM)
        self._optimiser.step()
        self._optimiser.zero_grad()
        return loss


def split_into_passes(examples: Sequence[Example], max_tokens: int) -> Iterator[list[Example]]:
    """Split a batch into parts of at most ``max_tokens`` tokens each, padding included."""
    longest = max(len(example.ids) for example in examples)
    size = max(max_tokens // longest, 1)
    for first in range(0, len(examples), size):
        yield list(examples[first : first + size])


def rate_factor(step: int, steps: int, warm_up: float) -> float:
    """Return the learning rate at a step as a share of its peak: linear warm-up, then linear decay."""
    rising = max(round(steps * warm_up), 1)
    if step < rising:
        return (step + 1) / rising
    done = (step - rising) / max(steps - rising, 1)
    return 1 - (1 - FINAL_SHARE) * done


def find_checkpoint(folder: Path) -> Path | None:
    """Return the complete checkpoint at ``folder``, or None. A kill during ``save`` leaves it as ``.old``."""
    candidates = (folder, folder.with_name(folder.name + ".old"))
    return next((path for path in candidates if (path / "run.json").exists()), None)


def write_json(path: Path, data: Any) -> None:
    """Replace a small file atomically."""
    new = path.with_name(path.name + ".new")
    new.write_text(json.dumps(data, indent=1) + "\n", "utf-8")
    sync(new)
    new.replace(path)
