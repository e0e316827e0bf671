"""HumanEval-infilling's file format: one JSON object a line, plain or gzipped; and the program that tests an answer.

Source: https://github.com/openai/human-eval-infilling (``data.py``, ``execution.py``); Bavarian et al. 2022, "Efficient
Training of Language Models to Fill in the Middle". Reads and composes text; runs nothing.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any


class DataError(ValueError):
    """What is to be evaluated can't be read; the text is one sentence for the user."""


@dataclass(frozen=True, slots=True)
class Task:
    """One line of the official format: a function with a hole in it, and tests for the function."""

    task_id: str
    prompt: str
    suffix: str
    canonical_solution: str
    test: str
    entry_point: str

    @property
    def family(self) -> str:
        """Which of the benchmark's files it is from: the first part of an id such as ``SingleLineInfilling/...``."""
        return self.task_id.split("/")[0]

    def program(self, completion: str) -> str:
        """Python that ends well if and only if ``completion`` passes the tests (``execution.py``)."""
        return f"{self.prompt}{completion}{self.suffix}\n{self.test}\ncheck({self.entry_point})"


def read_tasks(path: Path) -> list[Task]:
    """All tasks of a ``.jsonl`` or ``.jsonl.gz`` file, in order. Raises DataError, which names the line."""
    tasks = [_task(line, f"{path}, line {number}") for number, line in _lines(path) if line.strip()]
    if not tasks:
        raise DataError(f"{path} holds no tasks.")
    return tasks


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    number = 0
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
            for number, line in enumerate(file, 1):
                yield number, line
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{path} is no whole gzip file: it can't be read beyond line {number} ({error}).") from error
    except OSError as error:
        raise DataError(f"{path} can't be read: {error.strerror}.") from error


def _task(line: bytes, where: str) -> Task:
    try:
        values: Any = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: this is not JSON ({error}).") from error
    names = [field.name for field in fields(Task)]
    if not isinstance(values, dict):
        raise DataError(f"{where}: this is not an object with the fields {', '.join(names)}.")
    for name in names:
        if not isinstance(values.get(name), str):
            raise DataError(f"{where}: the field {name!r} is missing or no string.")
    if not values["canonical_solution"]:
        raise DataError(f"{where}: the field 'canonical_solution' is empty, so there is nothing to fill in.")
    return Task(**{name: values[name] for name in names})
