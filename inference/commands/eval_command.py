"""``codellama-ls eval``: how well a model fills holes, in anyone's source files or in HumanEval-infilling's tasks.

A table on stdout and one line of JSON last; progress on stderr. What was answered is kept as it comes, so that the same
command goes on where a killed one stopped, and prints the same.
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

from inference.evaluation import eval_report
from inference.evaluation.answer_journal import AnswerJournal, key_of
from inference.evaluation.hole_prompts import LAYOUTS, DataError, HolePrompt, Layout
from inference.evaluation.hole_sources import from_folder, from_tasks, given
from inference.evaluation.model_under_test import ModelUnderTest, find
from inference.evaluation.sandbox import executed
from inference.evaluation.scoring import Result
from inference.models.adapter_files import AdapterError
from inference.models.catalog import UnknownModelError
from inference.models.checkpoint import LoadError, WeightFormat
from inference.models.shape import ShapeError
from inference.models.store import StoreError
from inference.system.progress import OnProgress
from inference.text.holes import KINDS, Kind
from inference.text.prompts import PromptError
from inference.text.tokenizer import TokenizerError

OK, FAILED, USAGE = 0, 1, 2

Name = TypeVar("Name", bound=str)

CONTEXT = 256
"""Tokens of text that a model is shown: so few that a CPU is done with a thousand holes in less than an hour."""

HOLES = 300
"""Holes of each kind, where nobody says how many."""

DEFAULT_KINDS = "end,line,block"

HOW_TO_EXECUTE = "pass@1 was not measured: add --execute to run what the model wrote, in processes that are limited."

REFUSALS = (
    AdapterError,
    DataError,
    UnknownModelError,
    StoreError,
    ShapeError,
    LoadError,
    TokenizerError,
    PromptError,
    OSError,
)
"""What ends the command with one sentence."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What was asked of whom, for the JSON; and the questions."""

    about: dict[str, Any]
    questions: list[HolePrompt]


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status: 0 it was evaluated, 1 it can't be, 2 used wrongly."""
    try:
        options = _arguments(argv)
    except SystemExit as stop:
        return OK if stop.code in (None, 0) else USAGE
    try:
        evaluation = _evaluation(options)
        results = _results(options, evaluation)
    except REFUSALS as refusal:
        return _say(str(refusal), FAILED)
    except KeyboardInterrupt:
        return _say("Interrupted; the same command goes on from here.", FAILED)
    _tell(options, evaluation.about | {"groups": eval_report.summary(results)})
    return OK


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="codellama-ls eval",
        description="Measure how well a model fills holes in code: exact match, edit similarity, likelihood.",
        epilog="The same command goes on where an earlier one was stopped.",
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--holes", type=Path, metavar="FOLDER", help="make holes in the source files of this folder")
    what.add_argument("--data", type=Path, metavar="FILE", help="tasks of HumanEval-infilling, .jsonl or .jsonl.gz")
    parser.add_argument(
        "--kinds", type=_kinds, default=_kinds(DEFAULT_KINDS), help=f"(default: {DEFAULT_KINDS}; also span)"
    )
    parser.add_argument("--limit", type=_positive, help=f"holes of each kind (default: {HOLES}), or tasks (all)")
    parser.add_argument("--seed", type=int, default=0, help="where the holes are (default: %(default)s)")
    parser.add_argument("--layout", type=_layouts, action="extend", default=[], help="psm, spm, prefix (default: all)")
    parser.add_argument("--context", type=_positive, default=CONTEXT, help="tokens shown (default: %(default)s)")
    parser.add_argument("--model", default="starter", help="an installed model, or a folder (default: %(default)s)")
    parser.add_argument("--adapter", metavar="NAME", help="an adapter to put on the model, or its folder")
    formats = ["auto", *get_args(WeightFormat)]
    parser.add_argument("--format", default="auto", choices=formats, help="how to hold weights (default: auto)")
    parser.add_argument("--execute", action="store_true", help="run answers to tasks: a limited process, not a jail")
    parser.add_argument("--answers", choices=["canonical", "shuffled"], help="score the true middles, or each other's")
    parser.add_argument("--json", action="store_true", help="print only the line of JSON")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the JSON here too, the answers beside it")
    options = parser.parse_args(argv)
    if options.execute and not options.data:
        parser.error("--execute runs the tests of tasks; holes in source files have none")
    return options


def _layouts(text: str) -> list[Layout]:
    return _among(text, LAYOUTS)


def _kinds(text: str) -> list[Kind]:
    return _among(text, KINDS)


def _among(text: str, known: Sequence[Name]) -> list[Name]:
    named = [part.strip() for part in text.split(",")]
    if wrong := [name for name in named if name not in known]:
        raise argparse.ArgumentTypeError(f"there is no {wrong[0]!r}: choose from {', '.join(known)}")
    return [name for name in known if name in named]


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number above 0")
    return int(text)


def _evaluation(options: argparse.Namespace) -> Evaluation:
    if options.data:
        questions = from_tasks(options.data, options.limit)
        return Evaluation({"data": options.data.name}, questions)
    questions = from_folder(options.holes, options.kinds, options.limit or HOLES, options.seed)
    return Evaluation({"holes": options.holes.name, "seed": options.seed}, questions)


def _results(options: argparse.Namespace, evaluation: Evaluation) -> list[Result]:
    if options.answers:
        evaluation.about["answers"] = options.answers
        journal, results = (
            _journal(options, options.answers),
            given(evaluation.questions, options.answers, options.seed),
        )
    else:
        subject = find(options.model, options.adapter, options.format)
        layouts = subject.chosen(options.layout)
        identity = subject.identity()
        evaluation.about.update(_about(subject, identity, options.context))
        journal = _journal(options, identity)
        results = _answers(subject, identity, journal, evaluation.questions, layouts, options.context)
    if not options.execute:
        return results
    with _progress("running") as tell:
        return executed(results, journal, tell)


def _about(subject: ModelUnderTest, identity: str, context: int) -> dict[str, Any]:
    adapter = subject.adapter and subject.adapter.resolve().name
    about = {"model": subject.row.id, "adapter": adapter, "format": subject.weight_format}
    return about | {"context": context, "identity": identity}


def _answers(
    subject: ModelUnderTest,
    identity: str,
    journal: AnswerJournal,
    questions: Sequence[HolePrompt],
    layouts: Sequence[Layout],
    context: int,
) -> list[Result]:
    from inference.evaluation.runner import EvaluationRunner  # torch: not for a command that was mistyped

    sys.stderr.write(f"Answers are kept in {journal.path}\n")
    answering = EvaluationRunner(subject.load, subject.tokenizer, identity, journal)
    with _progress("answering") as tell:
        return answering.results(questions, layouts, context, tell)


def _journal(options: argparse.Namespace, identity: str) -> AnswerJournal:
    """Beside the output, or in the cache under what is evaluated."""
    if options.output:
        return AnswerJournal(options.output.with_name(f"{options.output.name}.answers.jsonl"))
    folder = platformdirs.user_cache_path("codellama-ls", False) / "eval"
    what = str((options.data or options.holes).resolve())
    return AnswerJournal(folder / f"{key_of(what, identity)}.jsonl")


@contextmanager
def _progress(what: str) -> Iterator[OnProgress]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def _tell(options: argparse.Namespace, found: dict[str, Any]) -> None:
    line = json.dumps(found, ensure_ascii=False)
    if options.output:
        options.output.write_text(f"{line}\n", "utf-8")
    if not options.json:
        console = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
        eval_report.show(console, found["groups"])
        if options.data and not options.execute:
            console.print(HOW_TO_EXECUTE)
    sys.stdout.write(f"{line}\n")


def _say(text: str, status: int) -> int:
    sys.stderr.write(f"codellama-ls: {text}\n")
    return status
