"""The prompts of one ``bench`` run as token ids: the same for the same files, seed and model.

The text windows are the language server's; layout and tokenizer are the model's. An ``Edit`` imitates a code action:
one word is renamed throughout, and in each block of lines one is deleted or a line from elsewhere in the file inserted,
which no draft can predict. Torch-free.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from random import Random

from inference.models.catalog import Model
from inference.models.identify import row_of
from inference.models.store import StoreError, installed
from inference.text.infill import infill_prompt
from inference.text.llama_tokenizer import load_tokenizer
from inference.text.prompts import completion_prompt
from inference.text.source_files import SourceFile
from inference.text.tokenizer import Tokenizer
from inference.text.vocabulary import Vocabulary
from lsp_server.benchmark.editing_trace import TraceRequest, make_trace
from lsp_server.benchmark.sides.side import BenchError
from lsp_server.benchmark.source_choice import NoFilesError, files_for_trace
from lsp_server.completion.windows import prefix_window, suffix_window
from lsp_server.settings import CompletionSettings

FEWEST, MOST = 60, 200
"""Lines of an edit."""
BLOCK = 20
"""Lines of which one is deleted, or one inserted."""
RENAMED = range(3, 9)
"""Occurrences of the word that is renamed."""
WORD = re.compile(r"\b[A-Za-z_][A-Za-z0-9_]{3,}\b")


@dataclass(frozen=True, slots=True)
class Edit:
    """Whole lines ``before`` and ``after`` a rewrite."""

    before: str
    after: str

    @property
    def lines(self) -> int:
        """Lines of ``before``."""
        return self.before.count("\n")


def make_edits(files: Sequence[SourceFile], seed: int = 0, most: int = MOST) -> Iterator[Edit]:
    """Yield random edits of at most ``most`` lines, of each file that is long enough in turn."""
    dice = Random(seed)
    usable = [lines for file in files if len(lines := file.text.splitlines()) >= FEWEST]
    while usable:
        for lines in usable:
            yield _edit(lines, most, dice)


def _edit(lines: Sequence[str], most: int, dice: Random) -> Edit:
    count = dice.randint(FEWEST, min(most, len(lines)))
    start = dice.randint(0, len(lines) - count)
    stretch = lines[start : start + count]
    elsewhere = [line for line in (*lines[:start], *lines[start + count :]) if line.strip()]
    return Edit(_joined(stretch), _renamed(_joined(_changed(stretch, elsewhere, dice)), dice))


def _changed(stretch: Sequence[str], elsewhere: Sequence[str], dice: Random) -> list[str]:
    """Delete a line of each block, or insert one from elsewhere in the file."""
    kept: list[str] = []
    for start in range(0, len(stretch), BLOCK):
        block = list(stretch[start : start + BLOCK])
        at = dice.randrange(len(block))
        if elsewhere and dice.random() < 0.5:
            block.insert(at, dice.choice(elsewhere))
        else:
            del block[at]
        kept += block
    return kept


def _renamed(text: str, dice: Random) -> str:
    """Lengthen every occurrence of one word that occurs a few times."""
    words = [word for word, times in Counter(WORD.findall(text)).items() if times in RENAMED]
    if not words:
        return text
    word = dice.choice(words)
    return re.sub(rf"\b{word}\b", f"{word}_of_{dice.choice(words)}", text)


def _joined(lines: Sequence[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


BUDGET = 4_096
"""Most tokens of a prompt, and of a rewrite in all; text windows are smaller."""
TYPED = 4
"""Characters typed between two requests during a chat."""
TRIED = 4


@dataclass(frozen=True, slots=True)
class Recording:
    """An edit as token ids.

    Attributes:
        prompt: ids of the original text.
        answer: ids of the rewritten text.
        before: the original text, which the answer largely repeats.
        lines: lines of ``before``.
    """

    prompt: list[int]
    answer: tuple[int, ...]
    before: str
    lines: int

    def cut(self, prompt: int, answer: int) -> Recording:
        """Keep the last ``prompt`` tokens of the prompt and the first ``answer`` tokens of the answer."""
        return replace(self, prompt=self.prompt[-prompt:], answer=self.answer[:answer])


@dataclass
class PromptMaker:
    """Builds ids for one model."""

    row: Model
    tokenizer: Tokenizer

    def __post_init__(self) -> None:
        self._vocabulary = Vocabulary(self.tokenizer)

    def of(self, request: TraceRequest) -> list[int]:
        """Return the ids that the engine prefills; tokens held out for healing are left out for all sides."""
        settings = CompletionSettings()
        prefix = prefix_window(request.prefix, settings.prefix_chars)
        suffix = suffix_window(request.suffix, settings.suffix_chars)
        if self.row.infill and (suffix or self.row.layout == "spm"):
            layout, words = self.row.layout, self._vocabulary
            return infill_prompt(self.tokenizer, prefix, suffix, BUDGET, layout, healed_with=words).ids
        return completion_prompt(self.tokenizer, prefix, BUDGET).ids

    def unseen(self, files: Sequence[SourceFile], count: int, tokens: int, seed: int) -> list[list[int]]:
        """Return ``count`` prompts of ``tokens`` tokens of source, each from a different offset."""
        texts = self._texts(files, count, tokens, Random(seed))
        return [self.tokenizer.encode(text)[:tokens] for text in texts]

    def typed(self, files: Sequence[SourceFile], count: int) -> list[list[int]]:
        """Return ``count`` prompts while text is typed, ``TYPED`` characters apart."""
        whole = _all_of(files, 4 * TYPED * count)
        start, end = len(whole) // 2, len(whole) // 2 + TYPED * count
        cursors = range(start + TYPED, end + 1, TYPED)
        return [self.of(TraceRequest("typed", "", whole[:cursor], whole[end:], "warm")) for cursor in cursors]

    def recording(self, edit: Edit) -> Recording:
        """Return the edit as ids. The instruction is left out: it does not change the time a token takes."""
        prompt = completion_prompt(self.tokenizer, edit.before, BUDGET).ids
        return Recording(prompt, tuple(self.tokenizer.encode_continuation(edit.after)), edit.before, edit.lines)

    def recordings(self, edits: Iterable[Edit], count: int) -> list[Recording]:
        """Return the first ``count`` that fit the budget, among ``TRIED`` times as many."""
        made = (self.recording(edit) for edit in islice(edits, TRIED * count))
        return list(islice((one for one in made if len(one.prompt) + len(one.answer) < BUDGET), count))

    def _texts(self, files: Sequence[SourceFile], count: int, tokens: int, dice: Random) -> list[str]:
        """Return texts of at least ``tokens`` tokens: code has at most eight characters a token on average."""
        whole = _all_of(files, 16 * tokens)
        starts = dice.sample(range(len(whole) - 8 * tokens), count)
        return [whole[start : start + 8 * tokens] for start in starts]


def _all_of(files: Sequence[SourceFile], length: int) -> str:
    """Concatenate the files, repeated to at least ``length`` characters."""
    whole = "\n".join(file.text for file in files)
    return whole * max(-(-length // len(whole)), 1)


def prompts_for(model: str) -> PromptMaker:
    """Return the prompt maker of an installed model. Raises ``BenchError``."""
    try:
        return PromptMaker(row_of(model), load_tokenizer(installed(model)))
    except (StoreError, ValueError) as error:
        raise BenchError(str(error)) from error


REQUESTS = 300
QUICK = 15
"""Divisor of all counts with ``--quick``."""

COLD_PROMPT = 800
DECODE_PROMPT = 64
STREAMS = 8
EDITED = 40
"""Requests of the trace for one rewrite; a single rewrite has the least lines."""
WAITS, FEWEST_WAITS = 60, 12
"""Most and fewest completions on an idle server, and as many during a chat."""
WARM, GROWN = 5, 3
"""For a large model: requests that extend one prompt, and tokens added each time."""
LARGE_PROMPT, REWRITE_PROMPT, REWRITE_ANSWER = 200, 64, 24
"""For a large model: tokens of the first prompt and of the rewrite. On a CPU each token takes seconds."""


@dataclass(frozen=True, slots=True)
class Workload:
    """Prompts as ids, by scenario.

    Attributes:
        trace: an editor's requests.
        unseen: prompts without a cached prefix.
        warm: prompts that each extend the one before.
        short: prompts of long completions.
        rewrites: edits.
        streams: prompts sent at the same time.
        typed: an editor's requests; the first half on an idle server, the rest during a chat.
    """

    trace: Sequence[tuple[TraceRequest, list[int]]] = ()
    unseen: Sequence[list[int]] = ()
    warm: Sequence[list[int]] = ()
    short: Sequence[list[int]] = ()
    rewrites: Sequence[Recording] = ()
    streams: Sequence[list[int]] = ()
    typed: Sequence[list[int]] = ()


def make_workload(model: str, folder: Path | None, count: int, seed: int) -> Workload:
    """Return a trace of ``count`` requests and the other scenarios in proportion.

    Raises ``BenchError``, ``NoFilesError``.
    """
    files, maker = _given(model, folder, seed)
    some = max(count // 15, 2)
    longest = MOST if count // EDITED else FEWEST
    lots = maker.unseen(files, 2 * some + STREAMS, COLD_PROMPT, seed)
    short = [ids[:DECODE_PROMPT] for ids in lots[some:]]
    return Workload(
        trace=[(request, maker.of(request)) for request in _trace(files, count, seed)],
        unseen=lots[:some],
        short=short[:some],
        rewrites=maker.recordings(make_edits(files, seed, longest), max(count // EDITED, 1)),
        streams=short[some:],
        typed=maker.typed(files, 2 * min(max(count // 5, FEWEST_WAITS), WAITS)),
    )


def make_large_work(model: str, folder: Path | None, seed: int) -> Workload:
    """Return a few requests of fixed lengths, for a model that takes minutes a request.

    Raises ``BenchError``, ``NoFilesError``.
    """
    files, maker = _given(model, folder, seed)
    (cold,) = maker.unseen(files, 1, LARGE_PROMPT + WARM * GROWN, seed)
    edits = (maker.recording(edit) for edit in islice(make_edits(files, seed), 1))
    return Workload(
        unseen=[cold[:LARGE_PROMPT]],
        warm=[cold[: LARGE_PROMPT + GROWN * n] for n in range(1, WARM + 1)],
        rewrites=[edit.cut(REWRITE_PROMPT, REWRITE_ANSWER) for edit in edits],
    )


def _given(model: str, folder: Path | None, seed: int) -> tuple[list[SourceFile], PromptMaker]:
    return files_for_trace(folder, seed), prompts_for(model)


def _trace(files: Sequence[SourceFile], count: int, seed: int) -> list[TraceRequest]:
    try:
        return make_trace(files, count, seed)
    except ValueError as error:
        raise NoFilesError(str(error)) from error
