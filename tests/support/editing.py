"""An editor's side of edits: it applies what it is told to, keeps what it was shown, and knows what it has open."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from fakes.chatter import ScriptedChatter
from lsprotocol import types
from support import e2e_window
from support.chatting import plain
from support.e2e_window import URI, Window, window, window_on
from support.fixtures_engine import serving
from support.waiting import until

from lsp_server.server import create_server

Adjust = Callable[[types.ClientCapabilities], None]


@dataclass
class Editor:
    """One window with one document, and everything the server asked it to do."""

    window: Window
    engine: ScriptedChatter
    text: str = ""
    applied: list[types.ApplyWorkspaceEditParams] = field(default_factory=list)
    progress: dict[Any, list[Any]] = field(default_factory=dict)
    takes: bool = True
    server: Any = None
    service: Any = None

    @property
    def client(self):
        return self.window.client

    @property
    def told(self) -> list[str]:
        return [one.message for one in self.client.messages]

    def open(self, text: str, language: str = "python", uri: str = URI) -> None:
        self.text = text
        self.window.open(text, uri, language)

    def type(self, text: str) -> None:
        self.text = text
        self.window.change(text)

    async def actions(self, *where: Any, **more: Any) -> list[Any]:
        return list(await self.client.text_document_code_action_async(_asking(*where, **more)) or [])

    async def command(self, title: str, *where: Any, **more: Any) -> Any:
        """Of an action that has one. By its JSON: lsprotocol takes every action with a command for a command."""
        sent = self.asking(types.TEXT_DOCUMENT_CODE_ACTION, _asking(*where, **more), "by-json")
        del self.client.protocol._result_types["by-json"]
        found = next(one for one in plain(await asyncio.wait_for(sent, 20)) if one["title"] == title)
        command = found["command"] if isinstance(found["command"], dict) else found
        return types.ExecuteCommandParams(command["command"], command["arguments"])

    async def action(self, title: str, *where: Any, **more: Any) -> Any:
        return next(one for one in await self.actions(*where, **more) if one.title == title)

    def resolving(self, action: types.CodeAction, msg_id: str | None = None) -> asyncio.Future[Any]:
        sent = self.client.protocol.send_request(types.CODE_ACTION_RESOLVE, action, msg_id=msg_id)
        return asyncio.wrap_future(sent)

    async def resolved(self, action: types.CodeAction) -> Any:
        return await asyncio.wait_for(self.resolving(action), 20)

    def asking(self, method: str, params: Any, msg_id: str | None = None) -> asyncio.Future[Any]:
        return asyncio.wrap_future(self.client.protocol.send_request(method, params, msg_id=msg_id))

    async def ask(self, method: str, **params: Any) -> Any:
        return await asyncio.wait_for(self.asking(method, params), 20)

    def edits_of(self, edit: Any) -> list[tuple[tuple[int, int, int, int], str]]:
        """Range and text of each; they are of this document alone."""
        if edit.changes is not None:
            ((uri, edits),) = edit.changes.items()
        else:
            assert edit.document_changes is not None
            (of,) = edit.document_changes
            assert isinstance(of, types.TextDocumentEdit)
            uri, edits = of.text_document.uri, of.edits
            assert of.text_document.version == self.window.version
        assert uri == URI
        return [
            (e2e_window.corners(one.range), one.new_text) for one in edits if not isinstance(one, types.SnippetTextEdit)
        ]

    def result(self, edit: Any) -> str:
        """The text with an edit. It has but ASCII: characters are units."""
        lines = self.text.splitlines(keepends=True)
        starts = [sum(map(len, lines[:n])) for n in range(len(lines) + 1)]
        text = self.text
        for (line, character, last, end), new in sorted(self.edits_of(edit), reverse=True):
            text = text[: starts[line] + character] + new + text[starts[last] + end :]
        return text


def _asking(
    start: tuple[int, int], stop: tuple[int, int] | None = None, problems: Sequence[Any] = (), only: Any = None
) -> types.CodeActionParams:
    context = types.CodeActionContext(list(problems), only)
    return types.CodeActionParams(types.TextDocumentIdentifier(URI), span(start, stop or start), context)


def span(start: tuple[int, int], stop: tuple[int, int]) -> types.Range:
    return types.Range(types.Position(*start), types.Position(*stop))


def problem(line: int, message: str, start: int = 0, stop: int = 1) -> types.Diagnostic:
    return types.Diagnostic(span((line, start), (line, stop)), message, source="any")


def where(start: tuple[int, int], stop: tuple[int, int]) -> dict[str, Any]:
    """A range as our own requests take it."""
    ends = {"start": start, "end": stop}
    return {name: {"line": line, "character": character} for name, (line, character) in ends.items()}


@asynccontextmanager
async def editor(
    runtime,
    answers: Sequence[str] = (),
    name: str = "vscode",
    *,
    says: tuple[str, ...] = (),
    adjust: Adjust | None = None,
    hold: bool = False,
    settings: Any = None,
    stdio: bool = False,
) -> AsyncIterator[Editor]:
    """A window on a server of this process, or over ``stdio`` of one of its own; the model gives these answers."""
    engine = ScriptedChatter(hold=hold, answers=list(answers))
    server, usual = create_server(), e2e_window.capabilities
    opening = window(name, settings, says=says) if stdio else window_on(server, name, settings, says=says)

    def adjusted(editor: str, says: Sequence[str] = ()) -> types.ClientCapabilities:
        found = usual(editor, says)
        if adjust is not None:
            adjust(found)
        return found

    e2e_window.capabilities = adjusted
    try:
        async with serving(runtime, engine) as running, opening as opened:
            one = Editor(opened, engine, server=server, service=running.service)
            _listen(one)
            yield one
    finally:
        e2e_window.capabilities = usual


def _listen(one: Editor) -> None:
    def progress(params: types.ProgressParams) -> None:
        one.progress.setdefault(params.token, []).append(params.value)

    async def apply(params: types.ApplyWorkspaceEditParams) -> types.ApplyWorkspaceEditResult:
        one.applied.append(params)
        if one.takes:
            one.type(one.result(params.edit))
        return types.ApplyWorkspaceEditResult(one.takes, None if one.takes else "no")

    one.client.protocol.fm._features[types.PROGRESS] = progress
    one.client.feature(types.WORKSPACE_APPLY_EDIT)(apply)


async def begun(one: Editor) -> None:
    """The model has been asked."""
    assert await asyncio.to_thread(one.engine.began.wait, 10)


async def freed(one: Editor) -> None:
    """The model has been left alone before it came to its end."""
    one.engine.go.set()
    await until(lambda: "closed chat" in one.engine.log)
