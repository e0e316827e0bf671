"""``codellama-ls tune``: fine-tune a LoRA adapter on the user's code and print its gain.

An interrupted or killed run resumes with the same command. Nothing is sent over the network.
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

from inference.errors import CodeLlamaError
from inference.models import adapter_store
from inference.training.recipe import RECIPES, Recipe, default_recipe
from inference.training.tuning_task import Code, TuningTask, open_base, read_code

OK, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command. Return exit status 0, 1 for an error, 2 for wrong usage, 130 if interrupted (resumable)."""
    options = _arguments(argv)
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    try:
        _tune(options, console)
    except KeyboardInterrupt:
        console.print(
            "Stopped. Run the same command to resume from the last checkpoint, or add --restart to start again."
        )
        return INTERRUPTED
    except CodeLlamaError as error:
        console.print(str(error), markup=False)
        return FAILED
    except (OSError, FloatingPointError) as error:
        console.print(f"Tuning failed: {error}", markup=False)
        return FAILED
    return OK


def _tune(options: argparse.Namespace, console: Console) -> None:
    from inference.training import estimate
    from inference.training.tuning import Length, table, train

    base = open_base(options.model)
    console.print("Reading the code ...")
    code = read_code(options.paths)
    console.print(_describe_code(code), markup=False)
    name = options.name or re.sub(r"[^A-Za-z0-9._-]+|^[._-]+", "-", options.paths[0].resolve().stem).strip("-")
    recipe = _recipe(options, default_recipe(base.row.layout))
    task = TuningTask(base, code, recipe, _work_folder(options.out, name), options.start)
    weights = (options.format, options.device)
    if options.dry_run:
        text = estimate.describe(task, estimate.forecast(task, weights), options.minutes, options.steps)
        Console(highlight=False, soft_wrap=True).print(text)
        return
    if options.restart:
        shutil.rmtree(task.work, ignore_errors=True)
    task.check_same()
    gains = train(task, Length(options.minutes, options.steps, options.checkpoint_every), weights, console)
    result = _install(task.work, options.out, name)
    Console(highlight=False).print(table(gains))
    console.print(result, markup=False)


def _recipe(options: argparse.Namespace, default: str) -> Recipe:
    recipe = RECIPES[options.recipe or default]
    if options.seed is not None:
        recipe = replace(recipe, seed=options.seed)
    if options.spm is not None:
        recipe = replace(recipe, spm=options.spm)
    return recipe if options.rank is None else replace(recipe, rank=options.rank, alpha=options.rank)


def _work_folder(out: Path | None, name: str) -> Path:
    """Return the folder of the run's files, beside the adapter's."""
    if out:
        return out.absolute().with_name(f".{out.name}.training")
    return adapter_store.location(name).with_name(f".{name}.training")


def _install(work: Path, out: Path | None, name: str) -> str:
    """Install the adapter or move it to ``out``, then remove the run's files. Return a message."""
    if out is None:
        adapter_store.add(work / "adapter", name, replace=True)
        message = (
            f"The adapter is installed as {name}. Run `codellama-ls adapters enable {name}` to use it in this folder."
        )
    else:
        shutil.rmtree(out, ignore_errors=True)
        (work / "adapter").rename(out)
        message = f"The adapter is in {out}."
    shutil.rmtree(work, ignore_errors=True)
    return message


def _describe_code(code: Code) -> str:
    files = Counter(file.language for file in code.training)
    size = sum(len(file.text) for file in code.training)
    languages = ", ".join(f"{count:,} {language}" for language, count in files.most_common())
    left_out = "; ".join(f"{count:,} {reason}" for reason, count in code.skipped.most_common()) or "none"
    return (
        f"{len(code.training):,} files to train on ({size / 1e6:.1f} MB: {languages}), {len(code.held_out):,} held out "
        f"for evaluation.\nLeft out: {left_out}."
    )


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="codellama-ls tune",
        description="Fine-tune the local model on your code: a LoRA adapter with Code Llama's infilling objective.",
    )
    parser.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="folders or files to train on")
    parser.add_argument("--model", default="starter", help="the base model (default: %(default)s)")
    parser.add_argument("--name", help="name of the adapter (default: the first folder's name)")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--minutes", type=float, default=20.0, help="training time in minutes (default: %(default)g)")
    length.add_argument("--steps", type=int, help="number of training steps, instead of a time")
    parser.add_argument("--dry-run", action="store_true", help="only estimate data, time and memory")
    parser.add_argument("--restart", action="store_true", help="discard an interrupted run and start again")
    parser.add_argument(
        "--checkpoint-every",
        type=float,
        default=120.0,
        metavar="SECONDS",
        help="time between checkpoints (default: 120)",
    )
    parser.add_argument("--from", dest="start", type=Path, metavar="FOLDER", help="start from this adapter's weights")
    parser.add_argument(
        "--out", type=Path, metavar="FOLDER", help="write the adapter to this folder instead of installing it"
    )
    _add_recipe_arguments(parser)
    options = parser.parse_args(argv)
    if options.minutes <= 0 or (options.steps is not None and options.steps < 1):
        parser.error("--minutes and --steps must be greater than 0")
    return options


def _add_recipe_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--recipe",
        choices=list(RECIPES),
        help="training recipe (default: user, or user-spm for a base that infills suffix-first)",
    )
    parser.add_argument("--rank", type=int, help="LoRA rank, instead of the recipe's")
    parser.add_argument(
        "--spm", type=float, metavar="SHARE", help="share of suffix-first examples, instead of the recipe's"
    )
    parser.add_argument("--seed", type=int, help="random seed, instead of the recipe's")
    parser.add_argument(
        "--format", default="auto", choices=["auto", "fp32", "bf16", "nf4"], help="weight format of the base"
    )
    parser.add_argument("--device", choices=["cpu", "cuda"], help="device (default: a GPU if there is one)")


if __name__ == "__main__":
    sys.exit(main())
