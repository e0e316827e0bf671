"""One tuning from start to end: the held-out score, training, the score again, and the adapter put into its place.

Knows no arguments' syntax. Tells a person what goes on through the console it is given.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from inference.models.adapter_files import FORMAT, TUNING
from inference.models.loader import Format, read_transformers
from inference.system.files import make_private
from inference.training import peft_adapter
from inference.training.estimate import forecast
from inference.training.examples import Batches
from inference.training.heldout import Gain, HeldOut, Scores, gain, hold_out
from inference.training.prefetch import PrefetchedBatches
from inference.training.trainer import BatchSource, Step, Trainer, TrainingRun, checkpoint, write_json
from inference.training.tuning_task import TuningTask

HELD_OUT_HOLES = 32
TELL_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Length:
    """How long to train: ``steps``, or as many as fit into ``minutes`` at the speed measured first.

    ``saved`` is the time between two checkpoints in seconds: what a kill can cost.
    """

    minutes: float
    steps: int | None = None
    saved: float = 120.0


def train(task: TuningTask, length: Length, weights: tuple[Format, str | None], console: Console) -> dict[str, Gain]:
    """Run the task to its end and leave the adapter in ``task.work / "adapter"``; what it gained, by kind and layout.

    ``weights``: format and device of the base. Goes on where an interrupted run stopped. Raises AdapterError,
    LoadError, OSError, FloatingPointError.
    """
    make_private(task.work)
    write_json(task.work / "settings.json", task.settings())
    console.print(f"Loading {task.base.row.id} ...")
    seen = forecast(task, weights)
    console.print(seen.memory(), markup=False)
    base = read_transformers(task.base.folder, seen.format, weights[1])
    model = peft_adapter.attach(base, task.recipe, task.base.new_tokens, recompute=seen.recompute)
    if task.start:
        peft_adapter.warm(model, task.start)
    held = hold_out(task.code.held, task.base.tokenizer, HELD_OUT_HOLES, task.recipe.seed)
    before = _scored_before(task.work / "before.json", held, model, console)
    with _batches(task, seen.device) as batches:
        trainer = Trainer(model, batches, task.recipe, TrainingRun(0))
        _begin(trainer, task.work / "checkpoint", length, console)
        _steps(trainer, task.work / "checkpoint", length.saved, console)
    console.print("Scoring the held-out files again ...")
    after = held.score(model)
    gains = {name: gain(scores, after[name]) for name, scores in before.items()}
    _write(task, trainer, gains)
    return gains


@contextmanager
def _batches(task: TuningTask, device: str) -> Iterator[BatchSource]:
    """Beside a GPU other processes draw them; on a CPU those would take the trainer's cores."""
    batches = Batches(task.code.learnt, task.base.tokenizer, task.recipe)
    if device != "cuda":
        yield batches
        return
    torch.set_float32_matmul_precision("high")  # the adapter's float32 products, in TF32
    with closing(PrefetchedBatches(batches)) as ahead:
        yield ahead


def _scored_before(path: Path, held: HeldOut, model: Any, console: Console) -> dict[str, Scores]:
    """The score without what will be learnt; kept, as a resumed run can't take it any more."""
    if not path.exists():
        console.print("Scoring held-out files ...")
        write_json(path, held.score(model))
    return {name: [tuple(one) for one in scores] for name, scores in json.loads(path.read_text("utf-8")).items()}


def _begin(trainer: Trainer, place: Path, length: Length, console: Console) -> None:
    if checkpoint(place):
        trainer.resume(place)
        console.print(f"Going on at step {trainer.run.step:,} of {trainer.run.steps:,}.")
    elif length.steps:
        trainer.run = TrainingRun(length.steps)
    else:
        a_step = trainer.measure()
        trainer.run = TrainingRun(max(round(length.minutes * 60 / a_step), 1))
        console.print(f"A step takes {a_step:.1f} s: {trainer.run.steps:,} steps in {length.minutes:g} minutes.")


def _steps(trainer: Trainer, place: Path, every: float, console: Console) -> None:
    """Train, with a checkpoint now and then, also when a person stops it."""
    saved = told = time.monotonic()
    losses: list[float] = []
    try:
        for step in trainer.steps():
            losses.append(step.loss)
            now = time.monotonic()
            if now - told > TELL_SECONDS or step.number in (1, trainer.run.steps):
                console.print(_line(step, trainer.run, sum(losses) / len(losses)))
                told, losses = now, []
            if now - saved > every:
                trainer.save(place)
                saved = time.monotonic()
    finally:
        trainer.save(place)


def _line(step: Step, run: TrainingRun, loss: float) -> str:
    left = (run.steps - run.step) * run.seconds / run.step
    return (
        f"step {step.number:,} of {run.steps:,}   loss {loss:.3f}   {run.tokens / run.seconds:,.0f} tokens/s   "
        f"{left / 60:.0f} min left"
    )


def _write(task: TuningTask, trainer: Trainer, gains: dict[str, Gain]) -> None:
    """The adapter and, beside it, what it was made of."""
    folder = task.work / "adapter"
    shutil.rmtree(folder, ignore_errors=True)
    peft_adapter.save(trainer.model, folder, task.base.row.hub)
    served = [one for name, one in gains.items() if name.endswith(task.base.row.layout)]
    write_json(
        folder / TUNING,
        {
            "format": FORMAT,
            "base": task.base.row.id,
            "base_source": task.base.source,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "files": len(task.code.learnt),
            "tokens": trainer.run.tokens,
            "before": _mean(served, "before"),
            "after": _mean(served, "after"),
            "recipe": task.recipe.as_json(),
        },
    )


def _mean(gains: list[Gain], name: str) -> float:
    holes = sum(one.holes for one in gains)
    return round(sum(getattr(one, name) * one.holes for one in gains) / max(holes, 1), 3)


def table(gains: dict[str, Gain]) -> Table:
    """What was gained, for a person."""
    shown = Table(title="Perplexity of held-out holes (lower is better)")
    for column in ("hole", "layout"):
        shown.add_column(column)
    for column in ("holes", "before", "after", "after / before, 95 % interval"):
        shown.add_column(column, justify="right")
    for name, one in gains.items():
        kind, layout = name.split("/")
        ratio = f"{one.after / one.before:.3f}  [{one.low:.3f}, {one.high:.3f}]"
        shown.add_row(kind, layout.upper(), str(one.holes), f"{one.before:.2f}", f"{one.after:.2f}", ratio)
    return shown
