"""Invariants of every item, for any document, cursor and model output.

The tests call the LSP method; only the engine is a fake.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Any, cast

from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st
from lsprotocol import types
from pygls.workspace import Workspace

from inference.api.events import Finished, Outcome, TextChunk
from inference.api.requests import CompletionRequest
from inference.api.status import Status
from lsp_server.features.inline_completion import inline_completion
from lsp_server.server import create_server
from lsp_server.session import CodeLlamaServer
from lsp_server.snapshot import LINE_END

URI = "file:///nowhere/a"
LANGUAGES = {"python": "py", "javascript": "js", "go": "go", "kotlin": "kt"}

WORDS = [
    "x",
    "foo(",
    ")",
    "):",
    "{",
    "}",
    "[1",
    "]",
    " = ",
    ", ",
    "'",
    '"',
    "# it",
    "// it",
    "return value",
    "é😋",
    "end",
]
LINES = st.lists(st.sampled_from(WORDS), max_size=4).map("".join)
INDENTS = st.sampled_from(["", "    ", "\t", "        ", "  "])
TEXT = st.lists(st.tuples(INDENTS, LINES).map("".join), max_size=8)


@dataclass
class FixedTextEngine:
    """An engine that streams one text."""

    server = ""
    text: str
    status: Status = field(default_factory=lambda: Status(phase="ready"))

    async def complete(self, request: CompletionRequest) -> AsyncGenerator[TextChunk | Finished, None]:
        del request
        yield TextChunk(self.text)
        yield Finished(Outcome("end"))


@dataclass(frozen=True)
class Case:
    """A document, a cursor in it and the model's output. ``offset`` counts characters."""

    document: str
    offset: int
    output: str
    language: str = "python"


@st.composite
def cases(draw: st.DrawFn) -> Case:
    line_end = draw(st.sampled_from(["\n", "\r\n", "\r"]))
    document = line_end.join(draw(TEXT))
    offset = draw(st.integers(0, len(document)))
    assume(document[offset - 1 : offset + 1] != "\r\n")
    repeated = document[offset:][: draw(st.integers(0, 60))] if draw(st.booleans()) else ""
    output = draw(st.sampled_from(["\n", "\r\n"])).join(draw(TEXT)) + repeated
    return Case(document, offset, output, draw(st.sampled_from(sorted(LANGUAGES))))


def ask(case: Case) -> types.InlineCompletionItem | None:
    return asyncio.run(_ask(case))


async def _ask(case: Case) -> types.InlineCompletionItem | None:
    server = create_server()
    server.backend = cast(Any, FixedTextEngine(case.output))
    uri = f"{URI}.{LANGUAGES[case.language]}"
    workspace = Workspace(None, types.TextDocumentSyncKind.Full, [], types.PositionEncodingKind.Utf16)
    workspace.put_text_document(types.TextDocumentItem(uri, case.language, 1, case.document))
    server.protocol._workspace = workspace
    params = types.InlineCompletionParams(
        types.InlineCompletionContext(types.InlineCompletionTriggerKind.Invoked),
        types.TextDocumentIdentifier(uri),
        position(case.document, case.offset),
    )
    items = await _in_a_task(server, params)
    return items[0] if items else None


async def _in_a_task(server: CodeLlamaServer, params: types.InlineCompletionParams) -> list[Any]:
    return await asyncio.ensure_future(inline_completion(server, params))


def position(document: str, offset: int) -> types.Position:
    """Return the UTF-16 position of ``offset``."""
    ends = [end.end() for end in LINE_END.finditer(document) if end.end() <= offset]
    start = ends[-1] if ends else 0
    return types.Position(len(ends), len(document[start:offset].encode("utf-16-le")) // 2)


def offset_of(document: str, place: types.Position) -> int:
    """Return the offset of a UTF-16 position."""
    starts = [0, *(end.end() for end in LINE_END.finditer(document))]
    line = document[starts[place.line] :]
    before = line.encode("utf-16-le")[: 2 * place.character].decode("utf-16-le")
    return starts[place.line] + len(before)


def around(case: Case) -> tuple[str, str]:
    """Return the cursor's line, left and right of it."""
    return (
        LINE_END.split(case.document[: case.offset])[-1],
        LINE_END.split(case.document[case.offset :])[0],
    )


def inserted_text(case: Case, item: types.InlineCompletionItem) -> str:
    """Return the text that the item adds at the cursor."""
    left, right = around(case)
    text = str(item.insert_text)
    return text[len(left) : len(text) - len(right)]


several = settings(max_examples=75, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def test_model_output_reaches_the_item() -> None:
    """Otherwise no test below could fail."""
    item = ask(Case("x = \r\n", 4, "1"))
    assert item is not None and item.insert_text == "x = 1"
    assert ask(Case("return value\n", 0, "return value")) is None


@several
@given(cases())
@example(Case("x = \r\ny\r\n", 4, "1\r\nz = 2\n"))
@example(Case("s = '😋' + )", 10, "a)"))
def test_item_is_the_line_with_text_inserted(case: Case) -> None:
    """It keeps the text left and right of the cursor and covers the line. No other byte changes."""
    item = ask(case)
    if item is None:
        return
    left, right = around(case)
    text = str(item.insert_text)
    assert text.startswith(left) and text.endswith(right) and len(text) > len(left) + len(right)
    assert item.range is not None
    start, stop = offset_of(case.document, item.range.start), offset_of(case.document, item.range.end)
    assert (start, stop) == (case.offset - len(left), case.offset + len(right))
    accepted = case.document[:start] + text + case.document[stop:]
    assert accepted.encode().startswith(case.document[: case.offset].encode())
    assert accepted.encode().endswith(case.document[case.offset :].encode())


@several
@given(cases())
@example(Case("if x:\r\n    y\r\n", 5, "\n    z\r\n    z"))
def test_line_endings_are_never_mixed(case: Case) -> None:
    """A document with uniform line ends keeps them when the item is inserted."""
    item = ask(case)
    first = LINE_END.search(case.document)
    if item is not None:
        ends = {end.group() for end in LINE_END.finditer(str(item.insert_text))}
        assert ends <= {first.group() if first else "\n"}


@several
@given(cases())
@example(Case("f()\n", 2, "a)"))
@example(Case("f(, timeout=5)\n", 2, "url, timeout=5)"))
@example(Case("\nreturn value\n", 0, "x = 1\nreturn value"))
def test_following_text_is_never_repeated(case: Case) -> None:
    """Neither the rest of the line at the item's end, nor the line below."""
    item = ask(case)
    if item is None:
        return
    text, right = inserted_text(case, item), around(case)[1]
    below = [line for line in LINE_END.split(case.document[case.offset :])[1:] if line.strip()]
    if "return value" in right:
        assert not text.endswith(right.strip())
    elif not right.strip() and below and below[0].strip() == "return value":
        assert below[0].rstrip() not in [line.rstrip() for line in LINE_END.split(text)[1:]]


@several
@given(cases(), st.text(alphabet="abc =", min_size=1, max_size=12))
def test_item_in_the_middle_of_a_line_is_one_line(case: Case, more: str) -> None:
    """Editors display several lines with text right of the cursor wrongly, each in its own way."""
    item = ask(Case(case.document, case.offset, more + "\n" + case.output, case.language))
    if item is not None and around(case)[1].strip():
        assert LINE_END.search(str(item.insert_text)) is None
