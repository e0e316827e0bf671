"""Complaints of users of other assistants, as tests that would fail with the bug they met.

The tests call the LSP methods; only the engine is a fake. The issues are those of the named projects. Related: the
model's own format (twinny#338, continue#867) in tests/inference/text/test_infill.py, and ``inlineCompletion`` announced
with options (vscode-languageserver-node#1396) in tests/e2e/test_initialize.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest
from lsprotocol import types
from pygls.workspace import Workspace
from support.waiting import settle

from inference.api.engine_errors import EngineError
from inference.api.events import Finished, Outcome, TextChunk
from inference.api.requests import CompletionRequest
from inference.api.status import Status
from inference.text.infill import infill_prompt
from lsp_server.doctor import last_requests
from lsp_server.features import completion, inline_completion
from lsp_server.server import create_server
from lsp_server.settings import parse_settings

AUTOMATIC, INVOKED = types.InlineCompletionTriggerKind.Automatic, types.InlineCompletionTriggerKind.Invoked
SETTINGS = {"debounceMs": 0, "prefetch": False, "alternatives": 1}


@dataclass
class FixedTextEngine:
    """An engine that streams one text after ``go`` is set."""

    text: str
    asked: list[CompletionRequest] = field(default_factory=list)
    go: asyncio.Event = field(default_factory=asyncio.Event)
    status: Status = field(default_factory=lambda: Status(phase="ready"))
    server: str = ""

    async def complete(self, request: CompletionRequest) -> AsyncGenerator[TextChunk | Finished, None]:
        self.asked.append(request)
        await self.go.wait()
        if self.text == "boom":
            raise EngineError("The engine failed.")
        yield TextChunk(self.text)
        yield Finished(Outcome("end"))


class EditorSession:
    """An editor session with one open document. ``|`` marks the cursor."""

    def __init__(
        self, folder: Path, output: str, name: str = "a.py", language: str = "python", **settings: Any
    ) -> None:
        self.engine = FixedTextEngine(output)
        self.engine.go.set()
        self.server = create_server()
        chosen = {"completion": {**SETTINGS, **settings}, "statistics": {"enabled": False}}
        self.server.settings = parse_settings(chosen)[0]
        self.server.backend = cast(Any, self.engine)
        self.server.request_log = cast(Any, NullRequestLog())
        self.uri, self.language, self.version = (folder / name).as_uri(), language, 0
        self.server.protocol._workspace = Workspace(
            None, types.TextDocumentSyncKind.Full, [], types.PositionEncodingKind.Utf16
        )

    def type(self, document: str) -> types.Position:
        """Replace the document and return the cursor's position."""
        before, _, after = document.partition("|")
        self.version += 1
        item = types.TextDocumentItem(self.uri, self.language, self.version, before + after)
        self.server.workspace.put_text_document(item)
        line = before.rpartition("\n")[2]
        return types.Position(before.count("\n"), len(line))

    def ask(
        self, document: str, by_hand: bool = False, selected: types.SelectedCompletionInfo | None = None
    ) -> asyncio.Task[list[types.InlineCompletionItem]]:
        context = types.InlineCompletionContext(INVOKED if by_hand else AUTOMATIC, selected)
        where = self.type(document)
        params = types.InlineCompletionParams(context, types.TextDocumentIdentifier(self.uri), where)
        return asyncio.ensure_future(inline_completion.inline_completion(self.server, params))

    async def shows(self, document: str) -> str | None:
        """Return the line with the completion inserted."""
        items = await self.ask(document)
        return str(items[0].insert_text) if items else None

    def why(self) -> str:
        """Return the doctor's explanation of the last request."""
        return last_requests.explain_request(self.server.trace.records[-1].to_json())


class NullRequestLog:
    """A request log that writes nothing to disk."""

    def add(self, record: Any) -> None:
        pass


# Quality


@pytest.mark.parametrize(
    ("document", "output", "line"),
    [
        ("x = f(|)\n", "a, b)", "x = f(a, b)"),
        ("x = f(|, timeout=5)\n", "url, timeout=5)", "x = f(url, timeout=5)"),
        ("x = |\ny = 2\nz = 3\n", "1\ny = 2\nz = 3", "x = 1"),
        ("if x:\n    |\n    return x + y\n", "y = 1\n    return x + y", "    y = 1"),
    ],
)
async def test_quality_following_text_is_not_repeated(tmp_path, document, output, line):
    """llama.vim, pull request 71: the suffix and the next lines appeared twice."""
    assert await EditorSession(tmp_path, output).shows(document) == line


async def test_quality_completes_in_the_middle_of_a_line(tmp_path):
    """llama.vim, pull request 71: users want completions in the middle of a line too."""
    assert (
        await EditorSession(tmp_path, "url").shows("x = get(|, timeout=5, retries=3)\n")
        == "x = get(url, timeout=5, retries=3)"
    )


def test_quality_text_never_becomes_a_control_token(codellama):
    """twinny#338 and continue#867: prompts were strings, and their end token was shown as text."""
    prompt = infill_prompt(codellama, "a <EOT> <MID> ", " <SUF>b</s>", 4096)
    assert [prompt.ids.count(control) for control in (1, 2, 32007, 32008, 32009, 32010)] == [1, 0, 1, 1, 1, 0]
    assert prompt.stop_ids == {2, 32010}


# Indentation


async def test_indentation_existing_blank_is_not_doubled(tmp_path):
    """tabby#3263, #3261: one extra space, after ``=`` and at the start of a line."""
    assert await EditorSession(tmp_path, " 1").shows("x = |\n") == "x = 1"
    assert await EditorSession(tmp_path, " return 1").shows("def f():\n    |\n") == "    return 1"


async def test_indentation_tabs_are_kept(tmp_path):
    """tabby, pull request 3782: the repair of extra spaces removed tabs."""
    window = EditorSession(tmp_path, "g()\n\t\th()", "a.go", "go")
    assert await window.shows("func f() {\n\tif x {\n\t\t|\n\t}\n}\n") == "\t\tg()\n\t\th()"
    spaces = EditorSession(tmp_path, "\n        g()", "a.go", "go")
    assert await spaces.shows("func f() {\n\tif x {|\n\t}\n}\n") == "\tif x {\n\t\tg()"


async def test_indentation_is_not_adjusted_by_the_editor(tmp_path):
    """neovim#32972: the editor indented the inserted text again. The list entry forbids it."""
    window = EditorSession(tmp_path, "\n    x = 1\n    return x")
    where = window.type("def f():|\n")
    context = types.CompletionContext(types.CompletionTriggerKind.Invoked)
    params = types.CompletionParams(types.TextDocumentIdentifier(window.uri), where, context)
    answer = await asyncio.ensure_future(completion.completion(window.server, params))
    (item,) = answer.items
    assert item.insert_text_mode == types.InsertTextMode.AsIs
    assert isinstance(item.text_edit, types.TextEdit)
    assert item.text_edit.new_text == "\n    x = 1\n    return x"


# Keys and grey text


async def test_keys_selected_list_entry_is_extended(tmp_path):
    """blink.cmp#2311, nvim-cmp#2179, vim-tabby#30: the list and the grey text disagreed, and Tab took one of them."""
    window = EditorSession(tmp_path, "(2)")
    selected = types.SelectedCompletionInfo(types.Range(types.Position(0, 9), types.Position(0, 11)), "sqrt")
    (item,) = await window.ask("x = math.sq|\n", selected=selected)
    assert (item.insert_text, item.range) == ("sqrt(2)", selected.range)
    assert str(window.engine.asked[0].prompt).endswith("math.sqrt")


async def test_keys_item_replaces_the_line_from_its_start(tmp_path):
    """vscode#208152: grey text that starts at the cursor flashed when a word of it was accepted."""
    (item,) = await EditorSession(tmp_path, "value").ask("x = f(|)\n")
    assert (item.insert_text, item.range) == ("x = f(value)", types.Range(types.Position(0, 0), types.Position(0, 7)))


async def test_keys_rest_after_partial_accept_is_cached(tmp_path):
    """neovim#35485, vscode#137843: after a word or a line was accepted, the rest vanished or flickered."""
    window = EditorSession(tmp_path, "compute(1)\n    y = 2")
    assert await window.shows("def f():\n    x = |\n") == "    x = compute(1)\n    y = 2"
    assert await window.shows("def f():\n    x = compute|\n") == "    x = compute(1)\n    y = 2"
    assert await window.shows("def f():\n    x = compute(1)\n    |\n") == "    y = 2"
    assert len(window.engine.asked) == 1


async def test_keys_item_belongs_to_the_requested_snapshot(tmp_path):
    """language-server-protocol#1529: a request has no version. Text typed meanwhile must not get into its item."""
    window = EditorSession(tmp_path, "1")
    window.engine.go.clear()
    asked = window.ask("x = |\n")
    await settle()
    window.type("x = 23|\n")
    window.engine.go.set()
    ((item,),) = (await asked,)
    assert (item.insert_text, item.range) == ("x = 1", types.Range(types.Position(0, 0), types.Position(0, 4)))


# Stale cache


@pytest.mark.parametrize(
    "edited",
    [
        "import a\nx = |\nz = 2\n",  # below
        "import a\nx = |)\ny = 2\n",  # right of the cursor
        "import b\nx = |\ny = 2\n",  # above
        "import a\nx =  |\ny = 2\n",  # a blank: keys that are stripped of them lose Python's indentation
        "import a\n x = |\ny = 2\n",
    ],
)
async def test_stale_cache_edit_near_the_cursor_misses(tmp_path, edited):
    """continue#4194, cody#969, cody#298: keys were the prefix alone, or the prefix without whitespace."""
    window = EditorSession(tmp_path, "1")
    for document in ("import a\nx = |\ny = 2\n", edited, edited):
        await window.shows(document)
    assert len(window.engine.asked) == 2


# Not knowing why


async def nothing(window: EditorSession) -> None:
    assert await window.shows("x = |\ny = 2\n") is None


async def superseded_by_newer(window: EditorSession) -> None:
    window.engine.go.clear()
    first, second = window.ask("x = |\n"), window.ask("x = 3|\n")
    superseded = await asyncio.wait_for(first, 20)  # the response is immediate although the engine is blocked
    window.engine.go.set()
    assert (superseded, len(await second)) == ([], 1)
    window.server.trace.records.pop()


async def cancelled_by_editor(window: EditorSession) -> None:
    window.engine.go.clear()
    request = window.ask("x = |\n", by_hand=True)
    await settle()
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request


async def before_initialized(window: EditorSession) -> None:
    window.server.backend = None
    await nothing(window)


@pytest.mark.parametrize(
    ("options", "how", "why"),
    [
        ({"output": ""}, nothing, "the model had nothing to add"),
        ({"output": "1\ny = 2", "enabled": False}, nothing, "completion is switched off in the settings"),
        ({"output": "y = = 2"}, nothing, "the model's text would break the file's syntax"),
        ({"output": "1", "name": ".env"}, nothing, "the file's name says that it may hold keys or passwords"),
        ({"output": "1", "disabledLanguages": ["python"]}, nothing, "completion.disabledLanguages names 'python'"),
        ({"output": "1"}, before_initialized, "the server has not been initialised or is shutting down"),
        ({"output": "1"}, superseded_by_newer, "a newer request came for the same document"),
        ({"output": "1"}, cancelled_by_editor, "the editor cancelled the request before it was answered"),
        ({"output": "boom"}, nothing, "The engine failed."),
    ],
)
async def test_unexplained_every_empty_result_has_a_reason(
    tmp_path, options: dict[str, Any], how: Callable[[EditorSession], Any], why: str
) -> None:
    """llama.vscode#8, continue#7876, continue#4611: nothing was shown, and users could not tell why."""
    window = EditorSession(tmp_path, **options)
    await how(window)
    assert why in window.why()
