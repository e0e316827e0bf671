"""Documents designed to be slow must not block the event loop or a worker thread."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.text.syntax_position import position_at
from lsp_server.completion.postprocess.rules import postprocess
from lsp_server.completion.stop_rule import stop_rule
from lsp_server.snapshot import LINE_END, Position, Snapshot, offset_of, position_of, take, units

SIZE = 1_000_000
SECONDS = 3.0
"""Of the processor's time, to mark a hang: each takes a tenth of it, and took 5 seconds to minutes before."""

HOSTILE = {
    "brackets": "x\n " + "(" * SIZE,
    "brace lines": "{\n" * (SIZE // 2),
    "imports": "import " * (SIZE // 7) + ")(",
    "functions": "function " * (SIZE // 9),
    "two units": "😋" * (8 * SIZE),
}


@pytest.mark.parametrize("language", ["python", "lua"])
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_document_is_completed_in_time(language, name):
    began = time.process_time()
    position_at.cache_clear()
    snapshot = take(HOSTILE[name], Position(10**9, 10**9), "utf-16", language=language)
    assert isinstance(snapshot, Snapshot)
    stop_rule(snapshot)
    postprocess(snapshot, "foo(a)\n" * 3, cut=False)
    assert time.process_time() - began < SECONDS


TEXTS = st.text(alphabet="a\n\ré😋", max_size=40).map(lambda text: text * 200)
ENCODINGS = st.sampled_from(["utf-8", "utf-16", "utf-32"])


@given(TEXTS, st.integers(0, 9_000), st.integers(0, 9_000), ENCODINGS)
def test_block_counting_equals_counting_by_line(text, line, character, encoding):
    """A block may end within a CR LF or within a long line."""
    starts = [0, *(end.end() for end in LINE_END.finditer(text))]
    stops = [*(end.start() for end in LINE_END.finditer(text)), len(text)]
    n = min(line, len(starts) - 1)
    seen = 0
    for at in range(starts[n], stops[n]):
        seen += units(text[at], encoding)
        if seen > character:
            break
    else:
        at = stops[n]
    snapshot = take(text, Position(line, character), encoding)
    assert snapshot.line == n
    assert len(snapshot.before) == len(text[:at].replace("\r\n", "\n"))
    if n == line:
        assert offset_of(text, Position(line, character), encoding) == at
        assert position_of(text, at, encoding) == Position(n, units(text[starts[n] : at], encoding))
