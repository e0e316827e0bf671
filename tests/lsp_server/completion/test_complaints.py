"""What users of other assistants complain about: each group with what would fail on the bug they met.

Through the LSP methods themselves; only the engine is a fake. The issues named are those of the projects complained to.
Beside these: the model's own format (twinny#338, continue#867) in tests/inference/text/test_infill.py, and
``inlineCompletion`` announced with options (vscode-languageserver-node#1396) in tests/e2e/test_initialize.py.
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

from inference.api.errors import EngineError
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
class Reciter:
    """An engine that has one thing to say, from ``go`` on."""

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


class Window:
    """An editor's window in which one document is open; the cursor stands at ``|``."""

    def __init__(self, folder: Path, says: str, name: str = "a.py", language: str = "python", **settings: Any) -> None:
        self.engine = Reciter(says)
        self.engine.go.set()
        self.server = create_server()
        chosen = {"completion": {**SETTINGS, **settings}, "statistics": {"enabled": False}}
        self.server.settings = parse_settings(chosen)[0]
        self.server.link = cast(Any, self.engine)
        self.server.journal = cast(Any, Forgetful())
        self.uri, self.language, self.version = (folder / name).as_uri(), language, 0
        self.server.protocol._workspace = Workspace(
            None, types.TextDocumentSyncKind.Full, [], types.PositionEncodingKind.Utf16
        )

    def type(self, document: str) -> types.Position:
        """The document becomes this one; where the cursor is."""
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
        """The whole line as it would become."""
        items = await self.ask(document)
        return str(items[0].insert_text) if items else None

    def why(self) -> str:
        """What the doctor says of the last request."""
        return last_requests.why(self.server.trace.records[-1].to_json())


class Forgetful:
    """Writes nothing to the user's disk."""

    def add(self, record: Any) -> None:
        pass


# Quality


@pytest.mark.parametrize(
    ("document", "says", "line"),
    [
        ("x = f(|)\n", "a, b)", "x = f(a, b)"),
        ("x = f(|, timeout=5)\n", "url, timeout=5)", "x = f(url, timeout=5)"),
        ("x = |\ny = 2\nz = 3\n", "1\ny = 2\nz = 3", "x = 1"),
        ("if x:\n    |\n    return x + y\n", "y = 1\n    return x + y", "    y = 1"),
    ],
)
async def test_quality_what_stands_right_of_the_cursor_or_below_is_not_said_again(tmp_path, document, says, line):
    """llama.vim, pull request 71: the suffix and the next lines came twice."""
    assert await Window(tmp_path, says).shows(document) == line


async def test_quality_text_right_of_the_cursor_is_no_reason_for_silence(tmp_path):
    """The same: people want completions in the middle of a line too, not only at its end."""
    assert (
        await Window(tmp_path, "url").shows("x = get(|, timeout=5, retries=3)\n")
        == "x = get(url, timeout=5, retries=3)"
    )


def test_quality_no_text_of_a_file_or_of_the_model_is_taken_for_a_control_token(codellama):
    """twinny#338 and continue#867: prompts built as strings, and their end token shown as text."""
    prompt = infill_prompt(codellama, "a <EOT> <MID> ", " <SUF>b</s>", 4096)
    assert [prompt.ids.count(control) for control in (1, 2, 32007, 32008, 32009, 32010)] == [1, 0, 1, 1, 1, 0]
    assert prompt.stop_ids == {2, 32010}


# Indentation


async def test_indentation_a_blank_that_stands_already_is_not_said_again(tmp_path):
    """tabby#3263, #3261: one extra space, after ``=`` and at the beginning of a line."""
    assert await Window(tmp_path, " 1").shows("x = |\n") == "x = 1"
    assert await Window(tmp_path, " return 1").shows("def f():\n    |\n") == "    return 1"


async def test_indentation_with_tabs_stays_one_with_tabs(tmp_path):
    """Tabby's pull request 3782: the repair of extra spaces ate tabs."""
    window = Window(tmp_path, "g()\n\t\th()", "a.go", "go")
    assert await window.shows("func f() {\n\tif x {\n\t\t|\n\t}\n}\n") == "\t\tg()\n\t\th()"
    spaces = Window(tmp_path, "\n        g()", "a.go", "go")
    assert await spaces.shows("func f() {\n\tif x {|\n\t}\n}\n") == "\tif x {\n\t\tg()"


async def test_indentation_of_several_lines_is_left_to_nobodys_editor(tmp_path):
    """neovim#32972: an editor that indents what it inserts once more. A list's entry forbids it."""
    window = Window(tmp_path, "\n    x = 1\n    return x")
    where = window.type("def f():|\n")
    context = types.CompletionContext(types.CompletionTriggerKind.Invoked)
    params = types.CompletionParams(types.TextDocumentIdentifier(window.uri), where, context)
    answer = await asyncio.ensure_future(completion.completion(window.server, params))
    (item,) = answer.items
    assert item.insert_text_mode == types.InsertTextMode.AsIs
    assert isinstance(item.text_edit, types.TextEdit)
    assert item.text_edit.new_text == "\n    x = 1\n    return x"


# Keys and grey text


async def test_keys_an_entry_selected_in_the_editors_list_is_extended_and_not_fought(tmp_path):
    """blink.cmp#2311, nvim-cmp#2179, vim-tabby#30: the list says one thing, the grey text another; Tab takes one."""
    window = Window(tmp_path, "(2)")
    selected = types.SelectedCompletionInfo(types.Range(types.Position(0, 9), types.Position(0, 11)), "sqrt")
    (item,) = await window.ask("x = math.sq|\n", selected=selected)
    assert (item.insert_text, item.range) == ("sqrt(2)", selected.range)
    assert str(window.engine.asked[0].prompt).endswith("math.sqrt")


async def test_keys_an_item_replaces_the_line_from_its_start(tmp_path):
    """vscode#208152: grey text that begins at the cursor flashes when a word of it is accepted."""
    (item,) = await Window(tmp_path, "value").ask("x = f(|)\n")
    assert (item.insert_text, item.range) == ("x = f(value)", types.Range(types.Position(0, 0), types.Position(0, 7)))


async def test_keys_the_rest_of_what_was_accepted_in_part_is_there_at_once(tmp_path):
    """neovim#35485, vscode#137843: after a word or a line is taken, the rest vanishes, or comes anew and flickers."""
    window = Window(tmp_path, "compute(1)\n    y = 2")
    assert await window.shows("def f():\n    x = |\n") == "    x = compute(1)\n    y = 2"
    assert await window.shows("def f():\n    x = compute|\n") == "    x = compute(1)\n    y = 2"
    assert await window.shows("def f():\n    x = compute(1)\n    |\n") == "    y = 2"
    assert len(window.engine.asked) == 1


async def test_keys_an_answer_belongs_to_the_document_as_it_was_when_it_was_asked_for(tmp_path):
    """language-server-protocol#1529: a request has no version, so what is typed meanwhile must not get into it."""
    window = Window(tmp_path, "1")
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
async def test_stale_cache_an_edit_around_the_cursor_is_another_question(tmp_path, edited):
    """continue#4194, cody#969, cody#298: keys of the prefix alone, or of the prefix without its blanks."""
    window = Window(tmp_path, "1")
    for document in ("import a\nx = |\ny = 2\n", edited, edited):
        await window.shows(document)
    assert len(window.engine.asked) == 2


# Not knowing why


async def nothing(window: Window) -> None:
    assert await window.shows("x = |\ny = 2\n") is None


async def overtaken(window: Window) -> None:
    window.engine.go.clear()
    first, second = window.ask("x = |\n"), window.ask("x = 3|\n")
    superseded = await asyncio.wait_for(first, 20)  # answered at once; the engine stands still
    window.engine.go.set()
    assert (superseded, len(await second)) == ([], 1)
    window.server.trace.records.pop()


async def taken_back(window: Window) -> None:
    window.engine.go.clear()
    request = window.ask("x = |\n", by_hand=True)
    await settle()
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request


async def too_soon(window: Window) -> None:
    window.server.link = None
    await nothing(window)


@pytest.mark.parametrize(
    ("options", "how", "why"),
    [
        ({"says": ""}, nothing, "the model had nothing to add"),
        ({"says": "1\ny = 2", "enabled": False}, nothing, "completion is switched off in the settings"),
        ({"says": "y = = 2"}, nothing, "the model's text would break the file's syntax"),
        ({"says": "1", "name": ".env"}, nothing, "the file's name says that it may hold keys or passwords"),
        ({"says": "1", "disabledLanguages": ["python"]}, nothing, "completion.disabledLanguages names 'python'"),
        ({"says": "1"}, too_soon, "the server has not been initialised or is shutting down"),
        ({"says": "1"}, overtaken, "a newer request came for the same document"),
        ({"says": "1"}, taken_back, "the editor took its request back before there was an answer"),
        ({"says": "boom"}, nothing, "The engine failed."),
    ],
)
async def test_not_knowing_why_every_silence_has_its_reason_in_words(
    tmp_path, options: dict[str, Any], how: Callable[[Window], Any], why: str
) -> None:
    """llama.vscode#8, continue#7876, continue#4611: nothing shows, and nobody can tell whose fault it is."""
    window = Window(tmp_path, **options)
    await how(window)
    assert why in window.why()
