"""Holes to evaluate, from a folder's source files or from a file of HumanEval-infilling tasks. Torch-free.

Source of the task format: https://github.com/openai/human-eval-infilling (``data.py``, ``execution.py``); Bavarian et
al. 2022, "Efficient Training of Language Models to Fill in the Middle".
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from inference.errors import CodeLlamaError
from inference.text.holes import Hole, HoleKind, sample_holes
from inference.text.prompts import normalize_text
from inference.text.source_files import SourceFile, read_sources
from inference.text.stopping import Stopper, StopRule, indent_width

MAX_TOKENS: dict[HoleKind, int] = {"end": 48, "line": 64, "span": 64, "block": 160}
"""Longest completion of each kind of hole. Fixed: a limit taken from the true middle would reveal its length."""

MAX_TASK_TOKENS = 256
"""Longest completion of a HumanEval-infilling task."""


class DataError(CodeLlamaError, ValueError):
    """The evaluation data can't be read or used."""


@dataclass(frozen=True, slots=True)
class InfillTask:
    """One line of the official format: a function with a hole in it, and tests for the function."""

    task_id: str
    prompt: str
    suffix: str
    canonical_solution: str
    test: str
    entry_point: str

    @property
    def family(self) -> str:
        """The benchmark's part, such as ``SingleLineInfilling``: the first component of the id."""
        return self.task_id.split("/")[0]

    def program(self, completion: str) -> str:
        """Return a Python program that succeeds only if ``completion`` passes the tests (``execution.py``)."""
        return f"{self.prompt}{completion}{self.suffix}\n{self.test}\ncheck({self.entry_point})"


@dataclass(frozen=True, slots=True)
class EvaluatedHole:
    """A hole and the conditions under which it is completed and scored.

    Attributes:
        hole: text before, in and after the hole. Its name is the file's or the task's id.
        group: the table row it counts in: the kind of hole, or the family of tasks.
        rule: the editor's stop rule. It also ends completions from the prefix alone.
        max_tokens: length limit of a completion.
        task: the HumanEval-infilling task, if it comes from one.
    """

    hole: Hole
    group: str
    rule: StopRule
    max_tokens: int
    task: InfillTask | None = None

    def displayed(self, completion: str) -> str:
        """Return the part of a completion that an editor would display: as much as the stop rule lets through.

        The rules stop before a newline. It is restored where the hole itself ends with one, as those of tasks do.
        """
        stopper = Stopper(self.rule)
        text = stopper.feed(completion) + stopper.finish()
        return f"{text}\n" if self.hole.middle.endswith("\n") and not text.endswith("\n") else text


def holes_in_folder(folder: Path, kinds: Sequence[HoleKind], count: int, seed: int) -> list[EvaluatedHole]:
    """Sample up to ``count`` holes of each kind from the source files in a folder. Raises DataError."""
    if not folder.is_dir():
        raise DataError(f"There is no folder {folder}. Choose a folder of source files.")
    sources = read_sources([folder])
    if not sources.files:
        raise DataError(f"{folder} contains no source files{_skipped(sources.skipped)}. Choose another folder.")
    holes = [hole for kind in kinds for hole in _sample(sources.files, kind, count, seed)]
    if not holes:
        raise DataError(f"The source files in {folder} are too small for holes of this kind. Choose another folder.")
    return [_from_hole(hole) for hole in holes]


def holes_in_tasks(path: Path, count: int | None) -> list[EvaluatedHole]:
    """Read the holes of the first ``count`` tasks in a file, or of all. Raises DataError."""
    return [_from_task(task) for task in read_tasks(path)[:count]]


def read_tasks(path: Path) -> list[InfillTask]:
    """Read all tasks of a ``.jsonl`` or ``.jsonl.gz`` file, in order. Raises DataError with the line's number."""
    tasks = [_task(line, f"{path}, line {number}") for number, line in _lines(path) if line.strip()]
    if not tasks:
        raise DataError(f"{path} contains no tasks. Choose a file of HumanEval-infilling tasks.")
    return tasks


def _sample(files: Sequence[SourceFile], kind: HoleKind, count: int, seed: int) -> list[Hole]:
    """Leave out holes at the very start of a file, where there is no prefix to continue."""
    return [hole for hole in sample_holes(files, kind, 2 * count, seed) if hole.prefix.strip()][:count]


def _skipped(reasons: dict[str, int]) -> str:
    counts = ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items()))
    return f" (left out: {counts})" if counts else ""


def _from_hole(hole: Hole) -> EvaluatedHole:
    """Choose the stop rule by kind; a block ends where the indentation of its own line does."""
    cleaned = Hole(
        hole.name, hole.kind, normalize_text(hole.prefix), normalize_text(hole.middle), normalize_text(hole.suffix)
    )
    if hole.kind == "block":
        rule = _block_rule(cleaned)
    else:
        rule = StopRule("line" if hole.kind in ("end", "line") else "none")
    return EvaluatedHole(cleaned, hole.kind, rule, MAX_TOKENS[hole.kind])


def _from_task(task: InfillTask) -> EvaluatedHole:
    """Take line or block from the canonical solution, as an editor knows it from the user's request."""
    middle = normalize_text(task.canonical_solution)
    kind: HoleKind = "block" if "\n" in middle.rstrip("\n") else "line"
    hole = Hole(task.task_id, kind, normalize_text(task.prompt), middle, normalize_text(task.suffix))
    rule = _block_rule(hole) if kind == "block" else StopRule("line")
    return EvaluatedHole(hole, task.family, rule, MAX_TASK_TOKENS, task)


def _block_rule(hole: Hole) -> StopRule:
    """Return the dedent rule for a block that begins at the hole.

    On an empty line the indentation is that of the missing text: editors indent the line for their users.
    """
    line = hole.prefix[hole.prefix.rfind("\n") + 1 :]
    return StopRule("block", indent_width(line + hole.middle.lstrip("\n") if not line.strip() else line))


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    number = 0
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
            for number, line in enumerate(file, 1):
                yield number, line
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{path} is not a complete gzip file: line {number + 1} can't be read ({error}).") from error
    except OSError as error:
        raise DataError(f"{path} can't be read: {error.strerror}.") from error


def _task(line: bytes, where: str) -> InfillTask:
    try:
        values: Any = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: not valid JSON ({error}).") from error
    names = [field.name for field in fields(InfillTask)]
    if not isinstance(values, dict):
        raise DataError(f"{where}: not an object with the fields {', '.join(names)}.")
    for name in names:
        if not isinstance(values.get(name), str):
            raise DataError(f"{where}: the field {name!r} is missing or not a string.")
    if not values["canonical_solution"]:
        raise DataError(f"{where}: the field 'canonical_solution' is empty, so there is nothing to fill in.")
    return InfillTask(**{name: values[name] for name in names})
