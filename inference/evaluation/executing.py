"""Runs the tests of tasks on the answers to them, several at a time, through the journal. Knows no model."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from inference.evaluation import sandbox
from inference.evaluation.journal import Journal, key_of
from inference.evaluation.results import Result
from inference.evaluation.sandbox import Limits
from inference.models.cores import usable_cores
from inference.models.progress import OnProgress


def executed(
    results: Sequence[Result], journal: Journal, tell: OnProgress, limits: Limits | None = None
) -> list[Result]:
    """The same results with what the tests say of the whole answer and of the part that a user would have seen.

    ``tell`` counts programs; equal ones run once. Every question must be a task.
    """
    limits = limits or Limits()
    pairs = [(_program(result, _whole(result)), _program(result, result.shown)) for result in results]
    programs = list(dict.fromkeys(program for pair in pairs for program in pair))
    passed: dict[str, bool] = {}
    with ThreadPoolExecutor(usable_cores()) as pool:
        runs = pool.map(lambda program: _run(program, journal, limits), programs)
        for done, (program, result) in enumerate(zip(programs, runs, strict=True), 1):
            passed[program] = result
            tell(done, len(programs))
    return [
        replace(result, passed=passed[whole], passed_shown=passed[shown])
        for result, (whole, shown) in zip(results, pairs, strict=True)
    ]


def _whole(result: Result) -> str:
    """All that the model wrote; what the stop rule ended is as it is shown."""
    return result.shown if result.ended == "rule" else result.answer


def _program(result: Result, answer: str) -> str:
    task = result.question.task
    assert task is not None, "only tasks have tests"
    return task.program(answer)


def _run(program: str, journal: Journal, limits: Limits) -> bool:
    key = key_of("run", program, limits.seconds, limits.memory)
    if (found := journal.recall(key, 1)) is None:
        found = [{"result": sandbox.run(program, limits)}]
        journal.keep(key, found, ["program"])
    return found[0]["result"] == "passed"
