"""``codellama-ls eval``: measure infilling, on holes in a folder's source files or on HumanEval-infilling tasks.

Prints tables and a last line of JSON on stdout, progress on stderr. Completions are stored as they come: the same
command resumes an interrupted run and prints the same result.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args

import platformdirs
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from inference.errors import CodeLlamaError
from inference.evaluation import eval_report
from inference.evaluation.batch_journal import BatchJournal, key_of
from inference.evaluation.hole_prompts import LAYOUTS, PromptLayout
from inference.evaluation.hole_sources import EvaluatedHole, holes_in_folder, holes_in_tasks
from inference.evaluation.model_under_test import ModelUnderTest, find_model
from inference.evaluation.sandbox import run_tests
from inference.evaluation.scoring import Result, reference_results
from inference.models.checkpoint import WeightFormat
from inference.system.terminal import OnProgress
from inference.text.holes import HOLE_KINDS, HoleKind

OK, FAILED, USAGE = 0, 1, 2

Name = TypeVar("Name", bound=str)

CONTEXT = 256
"""Default tokens of text in a prompt. With so few, a CPU completes a thousand holes in less than an hour."""

HOLES = 300
"""Default number of holes of each kind."""

DEFAULT_KINDS = "end,line,block"

HOW_TO_EXECUTE = "pass@1 was not measured. Add --execute to run the model's code in processes with limited resources."


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The holes to complete, and a description of the evaluation for the JSON."""

    about: dict[str, Any]
    cases: list[EvaluatedHole]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command. Return exit status 0, 1 for an error, 2 for wrong usage."""
    try:
        options = _arguments(argv)
    except SystemExit as stop:
        return OK if stop.code in (None, 0) else USAGE
    try:
        evaluation = _evaluation(options)
        results = _results(options, evaluation)
    except (CodeLlamaError, OSError) as error:
        return _fail(str(error))
    except KeyboardInterrupt:
        return _fail("Interrupted. Run the same command again to resume.")
    _print(options, evaluation.about | {"groups": eval_report.summary(results)})
    return OK


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="codellama-ls eval",
        description="Measure how well a model fills holes in code: exact match, edit similarity, likelihood.",
        epilog="Run the same command again to resume an interrupted evaluation.",
    )
    data = parser.add_mutually_exclusive_group(required=True)
    data.add_argument("--holes", type=Path, metavar="FOLDER", help="sample holes from the source files in this folder")
    data.add_argument("--data", type=Path, metavar="FILE", help="HumanEval-infilling tasks, .jsonl or .jsonl.gz")
    parser.add_argument(
        "--kinds",
        type=_kinds,
        default=_kinds(DEFAULT_KINDS),
        help=f"kinds of holes: {', '.join(HOLE_KINDS)} (default: {DEFAULT_KINDS})",
    )
    parser.add_argument(
        "--limit", type=_positive, help=f"number of holes of each kind (default: {HOLES}), or of tasks (default: all)"
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="random seed for the choice of holes (default: %(default)s)"
    )
    parser.add_argument(
        "--layout", type=_layouts, action="extend", default=[], help="prompt layouts: psm, spm, prefix (default: all)"
    )
    parser.add_argument(
        "--context", type=_positive, default=CONTEXT, help="tokens of text in a prompt (default: %(default)s)"
    )
    _add_model_arguments(parser)
    options = parser.parse_args(argv)
    if options.execute and not options.data:
        parser.error("--execute runs the tests of tasks; holes in source files have none. Use --data.")
    return options


def _add_model_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--model", default="starter", help="an installed model, or a checkpoint's folder (default: %(default)s)"
    )
    parser.add_argument("--adapter", metavar="NAME", help="an adapter for the model, or its folder")
    formats = ["auto", *get_args(WeightFormat)]
    parser.add_argument("--format", default="auto", choices=formats, help="weight format (default: auto)")
    parser.add_argument(
        "--execute", action="store_true", help="run completed tasks: in limited processes, not in a jail"
    )
    parser.add_argument(
        "--answers",
        choices=["canonical", "shuffled"],
        help="score the true middles, or shuffled ones, instead of a model",
    )
    parser.add_argument("--json", action="store_true", help="print only the line of JSON")
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="also write the JSON here, and the completions beside it"
    )


def _layouts(text: str) -> list[PromptLayout]:
    return _choices(text, LAYOUTS)


def _kinds(text: str) -> list[HoleKind]:
    return _choices(text, HOLE_KINDS)


def _choices(text: str, known: Sequence[Name]) -> list[Name]:
    names = [part.strip() for part in text.split(",")]
    if wrong := [name for name in names if name not in known]:
        raise argparse.ArgumentTypeError(f"unknown value {wrong[0]!r}: choose from {', '.join(known)}")
    return [name for name in known if name in names]


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive whole number")
    return int(text)


def _evaluation(options: argparse.Namespace) -> Evaluation:
    if options.data:
        return Evaluation({"data": options.data.name}, holes_in_tasks(options.data, options.limit))
    cases = holes_in_folder(options.holes, options.kinds, options.limit or HOLES, options.seed)
    return Evaluation({"holes": options.holes.name, "seed": options.seed}, cases)


def _results(options: argparse.Namespace, evaluation: Evaluation) -> list[Result]:
    if options.answers:
        evaluation.about["answers"] = options.answers
        journal = _journal(options, options.answers)
        results = reference_results(evaluation.cases, options.answers, options.seed)
    else:
        model = find_model(options.model, options.adapter, options.format)
        layouts = model.choose_layouts(options.layout)
        identity = model.identity()
        evaluation.about.update(_about(model, identity, options.context))
        journal = _journal(options, identity)
        results = _completions(model, identity, journal, evaluation.cases, layouts, options.context)
    if not options.execute:
        return results
    with _progress("running tests") as on_progress:
        return run_tests(results, journal, on_progress)


def _about(model: ModelUnderTest, identity: str, context: int) -> dict[str, Any]:
    adapter = model.adapter and model.adapter.resolve().name
    about = {"model": model.row.id, "adapter": adapter, "format": model.weight_format}
    return about | {"context": context, "identity": identity}


def _completions(
    model: ModelUnderTest,
    identity: str,
    journal: BatchJournal,
    cases: Sequence[EvaluatedHole],
    layouts: Sequence[PromptLayout],
    context: int,
) -> list[Result]:
    from inference.evaluation.runner import EvaluationRunner  # imports torch: not for a mistyped command

    sys.stderr.write(f"Completions are stored in {journal.path}\n")
    runner = EvaluationRunner(model.load, model.tokenizer, identity, journal)
    with _progress("generating") as on_progress:
        return runner.results(cases, layouts, context, on_progress)


def _journal(options: argparse.Namespace, identity: str) -> BatchJournal:
    """Open the journal beside ``--output``, or in the user's cache under a digest of data and model."""
    if options.output:
        return BatchJournal(options.output.with_name(f"{options.output.name}.answers.jsonl"))
    folder = platformdirs.user_cache_path("codellama-ls", False) / "eval"
    data = str((options.data or options.holes).resolve())
    return BatchJournal(folder / f"{key_of(data, identity)}.jsonl")


@contextmanager
def _progress(label: str) -> Iterator[OnProgress]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(label, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def _print(options: argparse.Namespace, result: dict[str, Any]) -> None:
    line = json.dumps(result, ensure_ascii=False)
    if options.output:
        options.output.write_text(f"{line}\n", "utf-8")
    if not options.json:
        console = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
        eval_report.print_report(console, result["groups"])
        if options.data and not options.execute:
            console.print(HOW_TO_EXECUTE)
    sys.stdout.write(f"{line}\n")


def _fail(text: str) -> int:
    sys.stderr.write(f"codellama-ls: {text}\n")
    return FAILED
