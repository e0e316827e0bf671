"""Where an evaluation's questions come from: holes in a folder's source files, or a file of tasks.

Torch-free. Knows no model; also gives the answers that need none, which test the scoring itself.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from inference.evaluation.hole_prompts import DataError, HolePrompt, of_hole, of_task, read_tasks
from inference.evaluation.scoring import Result
from inference.text.holes import Hole, Kind, sample_holes
from inference.text.source_files import SourceFile, read_sources


def from_folder(folder: Path, kinds: Sequence[Kind], count: int, seed: int) -> list[HolePrompt]:
    """``count`` holes of each kind in a folder's source files, or as many as they give. Raises DataError."""
    if not folder.is_dir():
        raise DataError(f"There is no folder {folder}.")
    sources = read_sources([folder])
    if not sources.files:
        raise DataError(f"{folder} holds no source files to make holes in{_skipped(sources.skipped)}.")
    holes = [hole for kind in kinds for hole in _holes(sources.files, kind, count, seed)]
    if not holes:
        raise DataError(f"The source files in {folder} are too small to make such holes in them.")
    return [of_hole(hole.name, hole.kind, hole.prefix, hole.middle, hole.suffix) for hole in holes]


def _holes(files: Sequence[SourceFile], kind: Kind, count: int, seed: int) -> list[Hole]:
    """Those with something before them: there is nothing to continue at a file's very start."""
    return [hole for hole in sample_holes(files, kind, 2 * count, seed) if hole.prefix.strip()][:count]


def _skipped(reasons: dict[str, int]) -> str:
    told = ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items()))
    return f" (left out: {told})" if told else ""


def from_tasks(path: Path, count: int | None) -> list[HolePrompt]:
    """The tasks of a file in the official format, or the first ``count``. Raises DataError."""
    return [of_task(task) for task in read_tasks(path)[:count]]


Given = Literal["canonical", "shuffled"]


def given(questions: Sequence[HolePrompt], whose: Given, seed: int) -> list[Result]:
    """Answers without a model: the true middle of each question, or that of another one of its group.

    What scores the first at 100 % and the second near 0 scores.
    """
    if whose == "canonical":
        return [Result(question, whose, question.middle) for question in questions]
    answers = [question.middle for question in questions]
    for group in dict.fromkeys(question.group for question in questions):
        places = [n for n, question in enumerate(questions) if question.group == group]
        random.Random(seed).shuffle(places)
        for place, other in zip(places, places[1:] + places[:1], strict=True):
            answers[place] = questions[other].middle
    return [Result(question, whose, answer) for question, answer in zip(questions, answers, strict=True)]
