"""The command behind ``codellama-ls tune``: teach a model to infill a person's own code, and say what it gained.

Knows how to talk to a person. What is learnt from is ``text.source``'s and ``examples``' affair, how it is learnt the
trainer's. Sends nothing anywhere. A run that was interrupted or killed goes on where it was.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from inference.models import adapter_store
from inference.training.recipe import RECIPES, Recipe, usual
from inference.training.tuning_task import Code, TuningError, TuningTask, open_base, read_code

OK, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status: 0 done, 1 it can't be, 2 used wrongly, 130 interrupted (the run can be gone on with)."""
    options = _arguments(argv)
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    from inference.models.catalog import UnknownModelError
    from inference.models.checkpoint import LoadError
    from inference.models.store import StoreError
    from inference.text.tokenizer import TokenizerError

    try:
        _tune(options, console)
    except KeyboardInterrupt:
        console.print("Stopped. The same command goes on from the last checkpoint; --restart begins anew.")
        return INTERRUPTED
    except (TuningError, UnknownModelError, LoadError, StoreError, TokenizerError) as refusal:
        console.print(str(refusal), markup=False)
        return FAILED
    except (OSError, FloatingPointError) as error:
        console.print(f"Tuning can't go on: {error}", markup=False)
        return FAILED
    return OK


def _tune(options: argparse.Namespace, console: Console) -> None:
    from inference.training import estimate
    from inference.training.tuning import Length, table, train

    base = open_base(options.model)
    console.print("Reading the code ...")
    code = read_code(options.paths)
    console.print(_told(code), markup=False)
    name = options.name or re.sub(r"[^A-Za-z0-9._-]+|^[._-]+", "-", options.paths[0].resolve().stem).strip("-")
    task = TuningTask(
        base, code, _recipe(options, usual(base.row.layout)), _work_folder(options.out, name), options.start
    )
    weights = (options.format, options.device)
    if options.dry_run:
        told = estimate.told(task, estimate.forecast(task, weights), options.minutes, options.steps)
        Console(highlight=False, soft_wrap=True).print(told)
        return
    if options.restart:
        shutil.rmtree(task.work, ignore_errors=True)
    task.check_same()
    gains = train(
        task,
        Length(options.minutes, options.steps, options.checkpoint_every),
        (options.format, options.device),
        console,
    )
    where = _keep(task.work, options.out, name)
    Console(highlight=False).print(table(gains))
    console.print(where, markup=False)


def _recipe(options: argparse.Namespace, usually: str) -> Recipe:
    recipe = RECIPES[options.recipe or usually]
    if options.seed is not None:
        recipe = replace(recipe, seed=options.seed)
    if options.spm is not None:
        recipe = replace(recipe, spm=options.spm)
    return recipe if options.rank is None else replace(recipe, rank=options.rank, alpha=options.rank)


def _work_folder(out: Path | None, name: str) -> Path:
    """Where the run keeps its own files: beside what it makes."""
    if out:
        return out.absolute().with_name(f".{out.name}.training")
    return adapter_store.location(name).with_name(f".{name}.training")


def _keep(work: Path, out: Path | None, name: str) -> str:
    """Put the adapter into its place whole; only then the run's own files may go. Says where it is."""
    if out is None:
        adapter_store.add(work / "adapter", name, replace=True)
        told = f"The adapter is installed as {name}: `codellama-ls adapters enable {name}` has this folder use it."
    else:
        shutil.rmtree(out, ignore_errors=True)
        (work / "adapter").rename(out)
        told = f"The adapter is in {out}."
    shutil.rmtree(work, ignore_errors=True)
    return told


def _told(code: Code) -> str:
    files = Counter(file.language for file in code.learnt)
    size = sum(len(file.text) for file in code.learnt)
    languages = ", ".join(f"{count:,} {language}" for language, count in files.most_common())
    left_out = "; ".join(f"{count:,} {reason}" for reason, count in code.skipped.most_common()) or "none"
    return (
        f"{len(code.learnt):,} files to learn from ({size / 1e6:.1f} MB: {languages}), {len(code.held):,} held out to "
        f"judge by.\nLeft out: {left_out}."
    )


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="codellama-ls tune",
        description="Teach the local model your own code: LoRA fine-tuning with Code Llama's infilling objective.",
    )
    parser.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="folders or files to learn from")
    parser.add_argument("--model", default="starter", help="the model to teach (default: %(default)s)")
    parser.add_argument("--name", help="of the adapter (default: the first folder's name)")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--minutes", type=float, default=20.0, help="time to train for (default: %(default)g)")
    length.add_argument("--steps", type=int, help="steps to train for, instead of a time")
    parser.add_argument("--dry-run", action="store_true", help="only tell data, time and memory")
    parser.add_argument("--restart", action="store_true", help="begin anew, even if an interrupted run could go on")
    parser.add_argument(
        "--checkpoint-every", type=float, default=120.0, metavar="SECONDS", help="what a kill can cost (default: 120)"
    )
    parser.add_argument("--from", dest="start", type=Path, metavar="FOLDER", help="go on from this adapter's weights")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="write the adapter there; it is not installed then")
    parser.add_argument(
        "--recipe", choices=list(RECIPES), help="how to teach (default: user, or user-spm where the base infills so)"
    )
    parser.add_argument("--rank", type=int, help="of the adapter, instead of the recipe's")
    parser.add_argument(
        "--spm", type=float, metavar="SHARE", help="examples suffix-first, instead of the recipe's share"
    )
    parser.add_argument("--seed", type=int, help="of all random choices, instead of the recipe's")
    parser.add_argument(
        "--format", default="auto", choices=["auto", "fp32", "bf16", "nf4"], help="how to hold the base"
    )
    parser.add_argument("--device", choices=["cpu", "cuda"], help="default: a GPU where there is one")
    options = parser.parse_args(argv)
    if options.minutes <= 0 or (options.steps is not None and options.steps < 1):
        parser.error("--minutes and --steps must be more than nothing")
    return options


if __name__ == "__main__":
    sys.exit(main())
