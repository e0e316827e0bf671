"""A tuning run from start to end: score held-out files, train, score again, write the adapter."""

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
from inference.models.loader import FormatOrAuto, read_transformers
from inference.system.files import make_private_folder
from inference.system.terminal import figure_table
from inference.training import peft_adapter
from inference.training.estimate import forecast
from inference.training.examples import Batches
from inference.training.heldout import Gain, HeldOut, Scores, gain, hold_out
from inference.training.trainer import (
    BatchSource,
    PrefetchedBatches,
    Step,
    Trainer,
    TrainingRun,
    find_checkpoint,
    write_json,
)
from inference.training.tuning_task import TuningTask

HELD_OUT_HOLES = 32
REPORT_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Length:
    """Length of a run: ``steps``, or as many as fit into ``minutes`` at the measured speed.

    ``checkpoint_seconds`` is the time between two checkpoints: a kill loses no more.
    """

    minutes: float
    steps: int | None = None
    checkpoint_seconds: float = 120.0


def train(
    task: TuningTask, length: Length, weights: tuple[FormatOrAuto, str | None], console: Console
) -> dict[str, Gain]:
    """Run or resume the task and write the adapter to ``task.work / "adapter"``. Return the gains by ``kind/layout``.

    ``weights``: format and device of the base. Raises AdapterError, LoadError, OSError, FloatingPointError.
    """
    make_private_folder(task.work)
    write_json(task.work / "settings.json", task.settings())
    console.print(f"Loading {task.base.row.id} ...")
    planned = forecast(task, weights)
    console.print(planned.memory(), markup=False)
    base = read_transformers(task.base.folder, planned.format, weights[1])
    model = peft_adapter.attach(base, task.recipe, task.base.new_tokens, recompute=planned.recompute)
    if task.start:
        peft_adapter.load_weights(model, task.start)
    held = hold_out(task.code.held_out, task.base.tokenizer, HELD_OUT_HOLES, task.recipe.seed)
    before = _initial_scores(task.work / "before.json", held, model, console)
    with _batches(task, planned.device) as batches:
        trainer = Trainer(model, batches, task.recipe, TrainingRun(0))
        _start(trainer, task.work / "checkpoint", length, console)
        _run_steps(trainer, task.work / "checkpoint", length.checkpoint_seconds, console)
    console.print("Scoring the held-out files again ...")
    after = held.score(model)
    gains = {name: gain(scores, after[name]) for name, scores in before.items()}
    _write(task, trainer, gains)
    return gains


@contextmanager
def _batches(task: TuningTask, device: str) -> Iterator[BatchSource]:
    """Use worker processes only with a GPU: on a CPU they would take the trainer's cores."""
    batches = Batches(task.code.training, task.base.tokenizer, task.recipe)
    if device != "cuda":
        yield batches
        return
    torch.set_float32_matmul_precision("high")  # the adapter's float32 products, in TF32
    with closing(PrefetchedBatches(batches)) as prefetched:
        yield prefetched


def _initial_scores(path: Path, held: HeldOut, model: Any, console: Console) -> dict[str, Scores]:
    """Score the model before training, or read the stored scores: a resumed run can't measure them again."""
    if not path.exists():
        console.print("Scoring held-out files ...")
        write_json(path, held.score(model))
    return {name: [tuple(one) for one in scores] for name, scores in json.loads(path.read_text("utf-8")).items()}


def _start(trainer: Trainer, folder: Path, length: Length, console: Console) -> None:
    if find_checkpoint(folder):
        trainer.resume(folder)
        console.print(f"Resuming at step {trainer.run.step:,} of {trainer.run.steps:,}.")
    elif length.steps:
        trainer.run = TrainingRun(length.steps)
    else:
        seconds = trainer.measure()
        trainer.run = TrainingRun(max(round(length.minutes * 60 / seconds), 1))
        console.print(f"A step takes {seconds:.1f} s: {trainer.run.steps:,} steps in {length.minutes:g} minutes.")


def _run_steps(trainer: Trainer, folder: Path, interval: float, console: Console) -> None:
    """Train with a checkpoint every ``interval`` seconds and at the end, also if the user interrupts."""
    saved = reported = time.monotonic()
    losses: list[float] = []
    try:
        for step in trainer.steps():
            losses.append(step.loss)
            now = time.monotonic()
            if now - reported > REPORT_SECONDS or step.number in (1, trainer.run.steps):
                console.print(_progress(step, trainer.run, sum(losses) / len(losses)))
                reported, losses = now, []
            if now - saved > interval:
                trainer.save(folder)
                saved = time.monotonic()
    finally:
        trainer.save(folder)


def _progress(step: Step, run: TrainingRun, loss: float) -> str:
    left = (run.steps - run.step) * run.seconds / run.step
    return (
        f"step {step.number:,} of {run.steps:,}   loss {loss:.3f}   {run.tokens / run.seconds:,.0f} tokens/s   "
        f"{left / 60:.0f} min left"
    )


def _write(task: TuningTask, trainer: Trainer, gains: dict[str, Gain]) -> None:
    """Write the adapter and, beside it, ``tuning.json``."""
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
            "files": len(task.code.training),
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
    """Return the gains as a table."""
    title = "Perplexity of held-out holes (lower is better)"
    columns = ("holes", "before", "after", "after / before, 95 % interval")
    gains_table = figure_table(("hole", "layout"), columns, title, ruled=True)
    for name, one in gains.items():
        kind, layout = name.split("/")
        ratio = f"{one.after / one.before:.3f}  [{one.low:.3f}, {one.high:.3f}]"
        gains_table.add_row(kind, layout.upper(), str(one.holes), f"{one.before:.2f}", f"{one.after:.2f}", ratio)
    return gains_table
