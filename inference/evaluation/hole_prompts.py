"""HumanEval-infilling's file format: one JSON object a line, plain or gzipped; and the program that tests an answer.

Source: https://github.com/openai/human-eval-infilling (``data.py``, ``execution.py``); Bavarian et al. 2022, "Efficient
Training of Language Models to Fill in the Middle". Reads and composes text; runs nothing.

What an evaluation asks: a hole, how much the model sees of its surroundings, and the prompt of each layout.

Torch-free; knows no model. Every layout gets the same window of text, so that they differ in nothing but the layout.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal, get_args

from inference.text.infill import infill_prompt
from inference.text.prompts import Prompt, PromptError, clean, completion_prompt
from inference.text.stopping import Stopper, StopRule, indent_width
from inference.text.tokenizer import Tokenizer
from inference.text.vocabulary import Vocabulary


class DataError(ValueError):
    """What is to be evaluated can't be read; the text is one sentence for the user."""


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
        """Which of the benchmark's files it is from: the first part of an id such as ``SingleLineInfilling/...``."""
        return self.task_id.split("/")[0]

    def program(self, completion: str) -> str:
        """Python that ends well if and only if ``completion`` passes the tests (``execution.py``)."""
        return f"{self.prompt}{completion}{self.suffix}\n{self.test}\ncheck({self.entry_point})"


def read_tasks(path: Path) -> list[InfillTask]:
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


def _task(line: bytes, where: str) -> InfillTask:
    try:
        values: Any = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: this is not JSON ({error}).") from error
    names = [field.name for field in fields(InfillTask)]
    if not isinstance(values, dict):
        raise DataError(f"{where}: this is not an object with the fields {', '.join(names)}.")
    for name in names:
        if not isinstance(values.get(name), str):
            raise DataError(f"{where}: the field {name!r} is missing or no string.")
    if not values["canonical_solution"]:
        raise DataError(f"{where}: the field 'canonical_solution' is empty, so there is nothing to fill in.")
    return InfillTask(**{name: values[name] for name in names})


Layout = Literal["prefix", "psm", "spm"]
"""How the model is asked: continue the prefix, or infill in one of the two layouts of ``text.infill``."""

LAYOUTS: tuple[Layout, ...] = get_args(Layout)

NEW_TOKENS = {"end": 48, "line": 64, "span": 64, "block": 160}
"""The longest answer to each kind of hole. Fixed: one measured off the true middle would tell the model its length."""

TASK_TOKENS = 256
"""The longest answer to a HumanEval-infilling task."""

SUFFIX_SHARE = 3
"""Of the window, one part in this many is the suffix's, as in the language server: 1,000 characters to 2,000."""

MOST_CHARACTERS = 16
"""A token rarely stands for more characters; text further away than this many a token is not even tokenised."""

_UNCUT = 1 << 30
"""The prompt's budget in tokens: the window is cut before it is built."""


@dataclass(frozen=True, slots=True)
class HolePrompt:
    """One hole as it is put to a model.

    Attributes:
        name: tells it from all others; its file, or the task's id.
        group: the row of the table it counts in: the kind of hole, or the family of tasks.
        prefix: all text before the hole.
        middle: the text that is missing; not empty.
        suffix: all text after the hole.
        rule: where an answer ends for an editor's user, and where one without a suffix ends at all.
        most_tokens: the longest answer.
        task: the task of HumanEval-infilling that it is, if it is one.
    """

    name: str
    group: str
    prefix: str
    middle: str
    suffix: str
    rule: StopRule
    most_tokens: int
    task: InfillTask | None = None

    def shown(self, answer: str) -> str:
        """What an editor's user would have of ``answer``: as much as the stop rule lets through.

        The rules end before a newline; where the hole takes in its last line's own, as tasks' holes do, it is put back.
        """
        stopper = Stopper(self.rule)
        text = stopper.feed(answer) + stopper.finish()
        return f"{text}\n" if self.middle.endswith("\n") and not text.endswith("\n") else text


def of_hole(name: str, kind: str, prefix: str, middle: str, suffix: str) -> HolePrompt:
    """A hole of a source file; a block ends where its own line's indentation is left."""
    before, missing = clean(prefix), clean(middle)
    rule = _block(before, missing) if kind == "block" else StopRule("line" if kind in ("end", "line") else "none")
    return HolePrompt(name, kind, before, missing, clean(suffix), rule, NEW_TOKENS[kind])


def of_task(task: InfillTask) -> HolePrompt:
    """A task of HumanEval-infilling; whether it is a line or a block is told, as an editor's user would."""
    before, missing = clean(task.prompt), clean(task.canonical_solution)
    rule = _block(before, missing) if "\n" in missing.rstrip("\n") else StopRule("line")
    return HolePrompt(task.task_id, task.family, before, missing, clean(task.suffix), rule, TASK_TOKENS, task)


def _block(prefix: str, middle: str) -> StopRule:
    """The dedent rule for a block that begins where ``prefix`` ends.

    At the start of an empty line the indentation is that of the missing text: editors indent the line for their users.
    """
    line = prefix[prefix.rfind("\n") + 1 :]
    return StopRule("block", indent_width(line + middle.lstrip("\n") if not line.strip() else line))


def window(tokenizer: Tokenizer, question: HolePrompt, tokens: int) -> tuple[str, str]:
    """The end of the prefix and the start of the suffix that a model is shown: ``tokens`` together, at most."""
    after = tokens // SUFFIX_SHARE
    return _tail(tokenizer, question.prefix, tokens - after), _head(tokenizer, question.suffix, after)


def ask(tokenizer: Tokenizer, vocabulary: Vocabulary, question: HolePrompt, layout: Layout, tokens: int) -> Prompt:
    """The prompt in one layout as the engine builds it, its text at most ``tokens`` long.

    Raises PromptError as ``infill_prompt`` does, and where there is nothing to continue.
    """
    before, after = window(tokenizer, question, tokens)
    if layout != "prefix":
        return infill_prompt(tokenizer, before, after, _UNCUT, layout, healed_with=vocabulary)
    prompt = completion_prompt(tokenizer, before, _UNCUT, healed_with=vocabulary)
    if not prompt.ids:
        raise PromptError(f"{question.name} has nothing before the hole, so there is nothing to continue.")
    return prompt


def _tail(tokenizer: Tokenizer, text: str, tokens: int) -> str:
    text = text[max(len(text) - tokens * MOST_CHARACTERS, 0) :]
    ids = tokenizer.encode(text)
    if len(ids) <= tokens:
        return text
    return text[len(text) - _characters(tokenizer, ids[len(ids) - tokens :]) :]


def _head(tokenizer: Tokenizer, text: str, tokens: int) -> str:
    text = text[: tokens * MOST_CHARACTERS]
    ids = tokenizer.encode_continuation(text)
    return text if len(ids) <= tokens else text[: _characters(tokenizer, ids[:tokens])]


def _characters(tokenizer: Tokenizer, ids: Sequence[int]) -> int:
    """How many whole characters these tokens stand for; halves at either end do not count."""
    return len(b"".join(map(tokenizer.piece_bytes, ids)).decode("utf-8", errors="ignore"))
