"""Recorded edits: a stretch of a real file, and what becomes of it when it is rewritten as a code action would.

Pure and deterministic, like the trace. One word is renamed throughout, and in each block of lines one goes or a line
from elsewhere in the file comes, which no draft can know. Knows no model.

From requests of a trace to the token ids that all sides get: what our engine would read for them.

The windows are the language server's, the layout and the tokenizer the model's. Torch-free.

What all sides are asked in one bench, made before anybody is asked: the same for the same files, seed and model.

Knows files, prompts and how much of each; who is asked and in which order is for ``scenarios``.
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
from inference.text.prompts import completion_prompt
from inference.text.source_files import SourceFile
from inference.text.tokenizer import Tokenizer
from inference.text.tokenizer_loader import load_tokenizer
from inference.text.vocabulary import Vocabulary
from lsp_server.benchmark.editing_trace import TraceRequest, make_trace
from lsp_server.benchmark.sides.side import BenchError
from lsp_server.benchmark.source_choice import NoFilesError, files_for_trace
from lsp_server.completion.windows import prefix_window, suffix_window
from lsp_server.settings import CompletionSettings

FEWEST, MOST = 60, 200
"""Lines of a stretch."""
BLOCK = 20
"""Lines of which one goes, or before one of which another comes."""
RENAMED = range(3, 9)
"""How often the word that is renamed may stand in the stretch."""
WORD = re.compile(r"\b[A-Za-z_][A-Za-z0-9_]{3,}\b")


@dataclass(frozen=True, slots=True)
class Edit:
    """Text ``before`` and ``after``, whole lines both."""

    before: str
    after: str

    @property
    def lines(self) -> int:
        """Of what is rewritten."""
        return self.before.count("\n")


def make_edits(files: Sequence[SourceFile], seed: int = 0, most: int = MOST) -> Iterator[Edit]:
    """One edit of each file that is long enough, in turn, each time of other stretches; none where no file is.

    Stretches have at most so many lines as ``most`` says.
    """
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
    """In each block one line goes or, if there is a line elsewhere, that comes; which of both, the dice say."""
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
    """One word becomes longer wherever it stands; of those that stand there a few times, any."""
    words = [word for word, times in Counter(WORD.findall(text)).items() if times in RENAMED]
    if not words:
        return text
    word = dice.choice(words)
    return re.sub(rf"\b{word}\b", f"{word}_of_{dice.choice(words)}", text)


def _joined(lines: Sequence[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


BUDGET = 4_096
"""Tokens a prompt may have, and a rewrite in all; the windows are smaller."""
TYPED = 4
"""Characters typed between two requests during a chat."""
TRIED = 4


@dataclass(frozen=True, slots=True)
class Recording:
    """An edit to be played back.

    Attributes:
        prompt: ids of what is rewritten.
        answer: ids of what it becomes.
        before: what is rewritten, which the answer largely repeats.
        lines: how many that are.
    """

    prompt: list[int]
    answer: tuple[int, ...]
    before: str
    lines: int

    def cut(self, prompt: int, answer: int) -> Recording:
        """The end of the prompt and the beginning of the answer, at most so many tokens each."""
        return replace(self, prompt=self.prompt[-prompt:], answer=self.answer[:answer])


@dataclass
class PromptMaker:
    """Builds ids for one model."""

    row: Model
    tokenizer: Tokenizer

    def __post_init__(self) -> None:
        self._vocabulary = Vocabulary(self.tokenizer)

    def of(self, request: TraceRequest) -> list[int]:
        """What the engine prefills for the request; what it holds out for healing is left out for all alike."""
        settings = CompletionSettings()
        prefix = prefix_window(request.prefix, settings.prefix_chars)
        suffix = suffix_window(request.suffix, settings.suffix_chars)
        if self.row.infill and (suffix or self.row.layout == "spm"):
            layout, words = self.row.layout, self._vocabulary
            return infill_prompt(self.tokenizer, prefix, suffix, BUDGET, layout, healed_with=words).ids
        return completion_prompt(self.tokenizer, prefix, BUDGET).ids

    def unseen(self, files: Sequence[SourceFile], count: int, tokens: int, seed: int) -> list[list[int]]:
        """``count`` prompts of ``tokens`` tokens of source each, which begin where no other does."""
        texts = self._texts(files, count, tokens, Random(seed))
        return [self.tokenizer.encode(text)[:tokens] for text in texts]

    def typed(self, files: Sequence[SourceFile], count: int) -> list[list[int]]:
        """``count`` requests while one stretch is typed, ``TYPED`` characters between any two of them."""
        whole = _all_of(files, 4 * TYPED * count)
        start, end = len(whole) // 2, len(whole) // 2 + TYPED * count
        cursors = range(start + TYPED, end + 1, TYPED)
        return [self.of(TraceRequest("typed", "", whole[:cursor], whole[end:], "warm")) for cursor in cursors]

    def recording(self, edit: Edit) -> Recording:
        """The edit as ids. A model would be told what to do too; how long it takes does not depend on it."""
        prompt = completion_prompt(self.tokenizer, edit.before, BUDGET).ids
        return Recording(prompt, tuple(self.tokenizer.encode_continuation(edit.after)), edit.before, edit.lines)

    def recordings(self, edits: Iterable[Edit], count: int) -> list[Recording]:
        """The first ``count`` that fit, as far as there are so many among ``TRIED`` times as many."""
        made = (self.recording(edit) for edit in islice(edits, TRIED * count))
        return list(islice((one for one in made if len(one.prompt) + len(one.answer) < BUDGET), count))

    def _texts(self, files: Sequence[SourceFile], count: int, tokens: int, dice: Random) -> list[str]:
        """Texts that are long enough: no token of code is longer than eight characters on average."""
        whole = _all_of(files, 16 * tokens)
        starts = dice.sample(range(len(whole) - 8 * tokens), count)
        return [whole[start : start + 8 * tokens] for start in starts]


def _all_of(files: Sequence[SourceFile], length: int) -> str:
    """The files one after the other, again and again if that is not ``length`` characters."""
    whole = "\n".join(file.text for file in files)
    return whole * max(-(-length // len(whole)), 1)


def prompts_for(model: str) -> PromptMaker:
    """For an installed model. Raises ``BenchError``."""
    try:
        return PromptMaker(row_of(model), load_tokenizer(installed(model)))
    except (StoreError, ValueError) as error:
        raise BenchError(str(error)) from error


REQUESTS = 300
QUICK = 15
"""``--quick`` measures this many times less."""

COLD_PROMPT = 800
DECODE_PROMPT = 64
STREAMS = 8
EDITED = 40
"""One rewrite for so many requests of the trace; a single one is as short as they get."""
WAITS, FEWEST_WAITS = 60, 12
"""Completions on an idle server, and as many during a chat."""
WARM, GROWN = 5, 3
"""Of a large model: so many requests, by which one prompt grows so many tokens each time."""
LARGE_PROMPT, REWRITE_PROMPT, REWRITE_ANSWER = 200, 64, 24
"""Tokens that a large model reads at first; those of its rewrite. On a CPU each token of an answer takes seconds."""


@dataclass(frozen=True, slots=True)
class Workload:
    """Prompts as ids, by what they are for.

    Attributes:
        trace: an editor's requests.
        unseen: prompts that nobody has read before.
        warm: prompts of which each only goes on with the one before.
        short: prompts of long answers.
        rewrites: edits to be played back.
        streams: prompts to be answered all at once.
        typed: an editor's requests while a chat goes on; the first half on an idle server.
    """

    trace: Sequence[tuple[TraceRequest, list[int]]] = ()
    unseen: Sequence[list[int]] = ()
    warm: Sequence[list[int]] = ()
    short: Sequence[list[int]] = ()
    rewrites: Sequence[Recording] = ()
    streams: Sequence[list[int]] = ()
    typed: Sequence[list[int]] = ()


def make_workload(model: str, folder: Path | None, count: int, seed: int) -> Workload:
    """For a trace of ``count`` requests, and as much of everything else. Raises ``BenchError``, ``NoFilesError``."""
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
    """A few requests at fixed lengths, for a model of which each takes minutes. Raises as ``make_work`` does."""
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
