"""The training loop: steps from batches, checkpoints, and going on exactly where a killed run stopped.

Knows no files of code and no terminal. A step depends on its number, the weights and the optimiser's state alone, so
a run that was killed and resumed ends with the same adapter as one that was not.
"""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import torch

from inference.models.adapter_files import AdapterError
from inference.models.manifest import sync
from inference.training import peft_adapter
from inference.training.examples import Example
from inference.training.heldout import token_losses
from inference.training.recipe import AT_ONCE, Recipe

STATE = "training.pt"
FINAL_SHARE = 0.1
"""The learning rate's last value, as a share of its highest."""
CLIP = 1.0
"""Gradients longer than this are shortened to it."""


class BatchSource(Protocol):
    """Batches by their number."""

    def __getitem__(self, number: int) -> list[Example]: ...


@dataclass(frozen=True, slots=True)
class Step:
    """What a step did. ``loss`` in nats a token; ``tokens`` in the batch, padding not counted; ``seconds`` it took."""

    number: int
    loss: float
    tokens: int
    seconds: float


@dataclass(slots=True)
class TrainingRun:
    """How far a run is: ``step`` of ``steps``, and what it has seen."""

    steps: int
    step: int = 0
    tokens: int = 0
    seconds: float = 0.0


class Trainer:
    """Trains the adapter of one model. Raises FloatingPointError where the loss is no number."""

    def __init__(self, model: Any, batches: BatchSource, recipe: Recipe, run: TrainingRun) -> None:
        self.model, self.run = model, run
        self._batches, self._recipe = batches, recipe
        self._weights = peft_adapter.trainable(model)
        self._device = self._weights[0].device.type
        self._optimiser = torch.optim.AdamW(self._weights, lr=recipe.learning_rate, betas=(0.9, 0.98), weight_decay=0.0)

    def steps(self) -> Iterator[Step]:
        """Take every step that is left."""
        self.model.train()
        while self.run.step < self.run.steps:
            started = time.monotonic()
            examples = self._batches[self.run.step]
            loss = self._learn(examples)
            self.run.step += 1
            tokens, seconds = sum(len(example.ids) for example in examples), time.monotonic() - started
            self.run.tokens += tokens
            self.run.seconds += seconds
            yield Step(self.run.step, loss, tokens, seconds)

    def save(self, folder: Path) -> None:
        """Write all that is needed to go on into ``folder``; an older checkpoint lasts until this one is whole."""
        new, old = folder.with_name(folder.name + ".new"), folder.with_name(folder.name + ".old")
        for left in (new, old):
            shutil.rmtree(left, ignore_errors=True)
        peft_adapter.save(self.model, new, "", dtype=None)
        torch.save(self._optimiser.state_dict(), new / STATE)
        (new / "run.json").write_text(json.dumps(asdict(self.run)), "utf-8")
        for path in (*new.iterdir(), new):
            sync(path)
        if folder.exists():
            folder.rename(old)
        new.rename(folder)
        sync(folder.parent)
        shutil.rmtree(old, ignore_errors=True)

    def resume(self, folder: Path) -> None:
        """Go on from what ``save`` wrote. Raises AdapterError where it does not fit."""
        folder = checkpoint(folder) or folder
        peft_adapter.warm(self.model, folder)
        try:
            self._optimiser.load_state_dict(torch.load(folder / STATE, weights_only=True))
            self.run = TrainingRun(**json.loads((folder / "run.json").read_text("utf-8")))
        except (OSError, ValueError, RuntimeError, TypeError) as error:
            raise AdapterError(f"The checkpoint in {folder} can't be gone on with ({error}).") from error

    def measure(self) -> float:
        """Seconds a step takes, measured on a batch of usual length; changes no weights."""
        self.model.train()
        examples = sorted((self._batches[i] for i in range(8)), key=lambda some: sum(len(e.ids) for e in some))[4]
        self._backward(examples)  # the first time warms allocators and caches
        started = time.monotonic()
        self._backward(examples)
        self._optimiser.zero_grad()
        return time.monotonic() - started

    def _backward(self, examples: list[Example]) -> float:
        """Add the gradients of the batch's mean loss; that loss."""
        counted, loss = sum(len(example.learnt) for example in examples), torch.zeros(())
        for some in passes(examples, AT_ONCE[self._device]):
            part = torch.cat(token_losses(self.model, some)).sum() / counted
            part.backward()
            loss = loss + part.detach()
        return loss.item()

    def _learn(self, examples: list[Example]) -> float:
        for group in self._optimiser.param_groups:
            group["lr"] = self._recipe.learning_rate * schedule(self.run.step, self.run.steps, self._recipe.warm_up)
        loss = self._backward(examples)
        if not math.isfinite(loss):
            raise FloatingPointError(
                f"the loss is no number any more at step {self.run.step}; begin anew with --restart and another --seed."
            )
        torch.nn.utils.clip_grad_norm_(self._weights, CLIP)
        self._optimiser.step()
        self._optimiser.zero_grad()
        return loss


def passes(examples: Sequence[Example], most: int) -> Iterator[list[Example]]:
    """The examples of a batch in as few parts as hold at most ``most`` tokens each, padding included."""
    longest = max(len(example.ids) for example in examples)
    size = max(most // longest, 1)
    for first in range(0, len(examples), size):
        yield list(examples[first : first + size])


def schedule(step: int, steps: int, warm_up: float) -> float:
    """The share of the highest learning rate at a step: up linearly, then down linearly."""
    rising = max(round(steps * warm_up), 1)
    if step < rising:
        return (step + 1) / rising
    done = (step - rising) / max(steps - rising, 1)
    return 1 - (1 - FINAL_SHARE) * done


def checkpoint(folder: Path) -> Path | None:
    """The whole checkpoint at ``folder``, also where a kill fell between the two renames; None if there is none."""
    places = (folder, folder.with_name(folder.name + ".old"))
    return next((place for place in places if (place / "run.json").exists()), None)


def write_json(path: Path, data: Any) -> None:
    """Replace a small file whole."""
    new = path.with_name(path.name + ".new")
    new.write_text(json.dumps(data, indent=1) + "\n", "utf-8")
    sync(new)
    new.replace(path)


OnStep = Callable[[Step, TrainingRun], None]
