"""What all sides are asked in one bench, made before anybody is asked: the same for the same files, seed and model.

Knows files, prompts and how much of each; who is asked and in which order is for ``scenarios``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from inference.text.source import SourceFile
from lsp_server.measure.edits import FEWEST, MOST, make_edits
from lsp_server.measure.files import NoFilesError, files_for_trace
from lsp_server.measure.prompts import PromptMaker, Recording, prompts_for
from lsp_server.measure.trace import Request, make_trace

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
class Work:
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

    trace: Sequence[tuple[Request, list[int]]] = ()
    unseen: Sequence[list[int]] = ()
    warm: Sequence[list[int]] = ()
    short: Sequence[list[int]] = ()
    rewrites: Sequence[Recording] = ()
    streams: Sequence[list[int]] = ()
    typed: Sequence[list[int]] = ()


def make_work(model: str, folder: Path | None, count: int, seed: int) -> Work:
    """For a trace of ``count`` requests, and as much of everything else. Raises ``BenchError``, ``NoFilesError``."""
    files, maker = _given(model, folder, seed)
    some = max(count // 15, 2)
    longest = MOST if count // EDITED else FEWEST
    lots = maker.unseen(files, 2 * some + STREAMS, COLD_PROMPT, seed)
    short = [ids[:DECODE_PROMPT] for ids in lots[some:]]
    return Work(
        trace=[(request, maker.of(request)) for request in _trace(files, count, seed)],
        unseen=lots[:some],
        short=short[:some],
        rewrites=maker.recordings(make_edits(files, seed, longest), max(count // EDITED, 1)),
        streams=short[some:],
        typed=maker.typed(files, 2 * min(max(count // 5, FEWEST_WAITS), WAITS)),
    )


def make_large_work(model: str, folder: Path | None, seed: int) -> Work:
    """A few requests at fixed lengths, for a model of which each takes minutes. Raises as ``make_work`` does."""
    files, maker = _given(model, folder, seed)
    (cold,) = maker.unseen(files, 1, LARGE_PROMPT + WARM * GROWN, seed)
    edits = (maker.recording(edit) for edit in islice(make_edits(files, seed), 1))
    return Work(
        unseen=[cold[:LARGE_PROMPT]],
        warm=[cold[: LARGE_PROMPT + GROWN * n] for n in range(1, WARM + 1)],
        rewrites=[edit.cut(REWRITE_PROMPT, REWRITE_ANSWER) for edit in edits],
    )


def _given(model: str, folder: Path | None, seed: int) -> tuple[list[SourceFile], PromptMaker]:
    return files_for_trace(folder, seed), prompts_for(model)


def _trace(files: Sequence[SourceFile], count: int, seed: int) -> list[Request]:
    try:
        return make_trace(files, count, seed)
    except ValueError as error:
        raise NoFilesError(str(error)) from error
