"""A simulated user of the real language server over LSP: completions, edits and chats, with a scripted model.

``chat_user``, ``editor`` and ``person`` start a session with what tests of chats, edits and completions need.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fakes.clock import ManualTimers
from fakes.scripted_model import ScriptedModel
from lsprotocol import types
from pygls.exceptions import JsonRpcException
from support.editor_session import ROOT, URI, EditorSession, corners, editor_session, in_process_session
from support.fixtures_engine import serving
from support.waiting import until

from inference.server.app import EngineApp
from lsp_server.server import create_server
from lsp_server.session import CodeLlamaServer
from lsp_server.usage_statistics.storage import StatisticsStore, SuggestionRow

Adjust = Callable[[types.ClientCapabilities], None]

COMPLETION = ["foo(", "a, b)"]
"""Text chunks of the completions in sessions of ``person``."""
REPORTS = ("codellamaReports",)
"""Experimental capability of clients that report shown and accepted completions themselves."""


@dataclass
class SimulatedUser:
    """A user of one editor session.

    Attributes:
        server: the server of this process; over stdio the real one is another process.
        folder: folder of the documents that ``open_in_folder`` opens.
        text: text of the document at ``URI``.
        applied: every ``workspace/applyEdit`` of the server.
        applies_edits: the editor applies these edits; else it refuses them.
        notified: token and value of every ``$/progress``.
    """

    session: EditorSession
    model: ScriptedModel
    service: EngineApp
    server: CodeLlamaServer
    timers: ManualTimers
    folder: Path | None = None
    text: str = ""
    applied: list[types.ApplyWorkspaceEditParams] = field(default_factory=list)
    applies_edits: bool = True
    notified: list[tuple[Any, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        features = self.client.protocol.fm.features  # pytest-lsp has no feature for partial results
        features[types.PROGRESS] = lambda params: self.notified.append((params.token, params.value))

        @self.client.feature(types.WORKSPACE_APPLY_EDIT)
        async def apply(params: types.ApplyWorkspaceEditParams) -> types.ApplyWorkspaceEditResult:
            return self._apply(params)

    @property
    def client(self):
        return self.session.client

    @property
    def shown_messages(self) -> list[str]:
        """Messages that the editor has shown."""
        return [message.message for message in self.client.messages]

    @property
    def progress(self) -> dict[Any, list[Any]]:
        """Progress values by token."""
        values: dict[Any, list[Any]] = {}
        for token, value in self.notified:
            values.setdefault(token, []).append(value)
        return values

    @property
    def progress_json(self) -> list[tuple[Any, Any]]:
        """Token and value, as JSON, of every ``$/progress``."""
        return [(token, plain(value)) for token, value in self.notified]

    # Any request

    def send(self, method: str, params: Any, msg_id: str | None = None) -> asyncio.Future[Any]:
        """Send a request; the future is its result as objects."""
        return asyncio.wrap_future(self.client.protocol.send_request(method, params, msg_id=msg_id))

    async def ask(self, method: str, **params: Any) -> Any:
        """Return the result of a request as objects."""
        return await asyncio.wait_for(self.send(method, params), 30)

    async def ask_json(self, method: str, **params: Any) -> Any:
        """Return the result of a request as JSON."""
        return plain(await self.ask(method, **params))

    async def error_of(self, method: str, **params: Any) -> tuple[int, str]:
        """Return code and message of the error that a request gets."""
        try:
            result = await self.ask(method, **params)
        except JsonRpcException as error:
            return error.code, error.message
        raise AssertionError(f"answered with {result}")

    # Documents

    def open(self, text: str, language: str = "python", uri: str = URI) -> None:
        self.text = text
        self.session.open(text, uri, language)

    def type(self, text: str) -> None:
        """Replace the document's text."""
        self.text = text
        self.session.change(text)

    def open_in_folder(self, name: str, text: str) -> dict[str, Any]:
        """Open a document of ``folder``; return its identifier as JSON."""
        assert self.folder is not None
        uri = (self.folder / name).as_uri()
        self.session.open(text, uri)
        return {"uri": uri}

    # Completions

    async def complete_at_end(self, text: str = "x = ", *, invoked: bool = False) -> list[types.InlineCompletionItem]:
        """Replace the document's text and request completions at its end."""
        self.set_text(text)
        position = text.count("\n"), len(text.rpartition("\n")[2])
        return await asyncio.wait_for(self.session.request(*position, invoked=invoked), 60)

    def set_text(self, text: str) -> None:
        """Replace the document's text with ``text`` and a newline."""
        self.type(text + "\n")

    async def run_command(self, item: types.InlineCompletionItem) -> None:
        """Run an item's command, as editors do when it is accepted."""
        assert item.command is not None
        params = types.ExecuteCommandParams(item.command.command, item.command.arguments)
        assert await self.client.workspace_execute_command_async(params) is None

    def report(self, event: str, item: types.InlineCompletionItem, **more: Any) -> None:
        """Notify the server of an event, as our own clients do."""
        self.client.protocol.notify(f"codellama/{event}", {"id": item_id(item), **more})

    async def stats(self, **params: Any) -> Any:
        """Return the usage statistics; the server stores everything pending first."""
        return await self.ask("codellama/stats", **params)

    async def stored_rows(self) -> list[SuggestionRow]:
        """Return the stored suggestions, oldest first."""
        await self.stats()
        with closing(StatisticsStore()) as storage:
            return storage.read(0)

    # Code actions and edits

    async def actions(self, *where: Any, **more: Any) -> list[Any]:
        return list(await self.client.text_document_code_action_async(_action_params(*where, **more)) or [])

    async def action(self, title: str, *where: Any, **more: Any) -> Any:
        return next(action for action in await self.actions(*where, **more) if action.title == title)

    async def command(self, title: str, *where: Any, **more: Any) -> Any:
        """Return the command of an action. lsprotocol reads every action with a command as a command: read JSON."""
        sent = self.send(types.TEXT_DOCUMENT_CODE_ACTION, _action_params(*where, **more), "by-json")
        del self.client.protocol._result_types["by-json"]
        actions = plain(await asyncio.wait_for(sent, 20))
        action = next(action for action in actions if action["title"] == title)
        command = action["command"] if isinstance(action["command"], dict) else action
        return types.ExecuteCommandParams(command["command"], command["arguments"])

    def send_resolve(self, action: types.CodeAction, msg_id: str | None = None) -> asyncio.Future[Any]:
        return self.send(types.CODE_ACTION_RESOLVE, action, msg_id)

    async def resolve(self, action: types.CodeAction) -> Any:
        return await asyncio.wait_for(self.send_resolve(action), 20)

    def edits_of(self, edit: Any) -> list[tuple[tuple[int, int, int, int], str]]:
        """Return range and text of each edit; all must be of the document at ``URI``."""
        if edit.changes is not None:
            ((uri, edits),) = edit.changes.items()
        else:
            assert edit.document_changes is not None
            (change,) = edit.document_changes
            assert isinstance(change, types.TextDocumentEdit)
            uri, edits = change.text_document.uri, change.edits
            assert change.text_document.version == self.session.version
        assert uri == URI
        return [(corners(one.range), one.new_text) for one in edits if not isinstance(one, types.SnippetTextEdit)]

    def result(self, edit: Any) -> str:
        """Return the document's text with an edit applied. The text must be ASCII: characters are UTF-16 units."""
        lines = self.text.splitlines(keepends=True)
        starts = [sum(map(len, lines[:n])) for n in range(len(lines) + 1)]
        text = self.text
        for (line, character, last, end), new in sorted(self.edits_of(edit), reverse=True):
            text = text[: starts[line] + character] + new + text[starts[last] + end :]
        return text

    def _apply(self, params: types.ApplyWorkspaceEditParams) -> types.ApplyWorkspaceEditResult:
        self.applied.append(params)
        if self.applies_edits:
            self.type(self.result(params.edit))
        return types.ApplyWorkspaceEditResult(self.applies_edits, None if self.applies_edits else "no")

    # Chats

    async def say(self, text: str, **more: Any) -> Any:
        """Send a chat message; return the result as JSON."""
        return await self.ask_json("codellama/chat", text=text, **more)

    def model_messages(self, n: int = -1) -> list[tuple[str, str]]:
        """Return role and content of the messages of one request to the model."""
        return self.model.turns[n]


@asynccontextmanager
async def simulated_user(
    runtime: Path,
    model: ScriptedModel,
    editor: str = "vscode",
    settings: Any = None,
    *,
    says: Sequence[str] = (),
    adjust: Adjust | None = None,
    folder: Path | None = None,
    stdio: bool = False,
) -> AsyncIterator[SimulatedUser]:
    """Start an engine with ``model``, a server in this process, or its own with ``stdio``, and an editor session.

    ``says`` are experimental capabilities; ``adjust`` changes the editor's capabilities before it announces them.
    """
    server, timers = create_server(), ManualTimers()
    server.watch.later = timers
    options: Any = {"says": says, "adjust": adjust, "root": folder.as_uri() if folder else ROOT}
    session = (
        editor_session(editor, settings, **options)
        if stdio
        else in_process_session(server, editor, settings, **options)
    )
    async with serving(runtime, model) as engine, session as opened:
        yield SimulatedUser(opened, model, engine.service, server, timers, folder)


def chat_user(
    runtime: Path, folder: Path, model: ScriptedModel | None = None, editor: str = "vscode", settings: Any = None
) -> AbstractAsyncContextManager[SimulatedUser]:
    """Start a session in ``folder``; without a ``model`` every response is "ab"."""
    return simulated_user(runtime, model or ScriptedModel(), editor, settings, folder=folder)


def editing_user(
    runtime: Path,
    answers: Sequence[str] = (),
    name: str = "vscode",
    *,
    hold: bool = False,
    settings: Any = None,
    **options: Any,
) -> AbstractAsyncContextManager[SimulatedUser]:
    """Start a session whose model gives these answers in turn; ``options`` as in ``simulated_user``."""
    model = ScriptedModel(hold=hold, answers=list(answers), chat_name="chat")
    return simulated_user(runtime, model, name, settings, **options)


@asynccontextmanager
async def completion_user(
    runtime: Path,
    pieces: list[str] | None = None,
    editor: str = "vscode",
    settings: Any = None,
    says: Sequence[str] = (),
) -> AsyncIterator[SimulatedUser]:
    """Start a session with an empty document; completions are ``pieces``."""
    async with simulated_user(runtime, ScriptedModel(pieces or COMPLETION), editor, settings, says=says) as user:
        user.open("")
        yield user


def item_id(item: types.InlineCompletionItem) -> str:
    """Return the identifier of a completion in the usage statistics."""
    assert item.command is not None and item.command.arguments is not None
    return str(item.command.arguments[0])


def outcomes(rows: list[SuggestionRow]) -> list[tuple]:
    """Return fate, length, accepted and typed characters, and whether the text was kept, of each suggestion."""
    return [(row.fate, row.characters, row.taken, row.typed, row.kept) for row in rows]


async def model_started(user: SimulatedUser) -> None:
    """Wait until the model has begun a response."""
    assert await asyncio.to_thread(user.model.began.wait, 10)


async def model_cancelled(user: SimulatedUser) -> None:
    """Wait until the model's chat has been cancelled."""
    user.model.go.set()
    await until(lambda: "closed chat" in user.model.log)


def plain(value: Any) -> Any:
    """Return JSON for the objects that pygls makes of it."""
    if hasattr(value, "_asdict"):
        value = value._asdict()
    if isinstance(value, dict):
        return {name: plain(one) for name, one in value.items()}
    return [plain(one) for one in value] if isinstance(value, list) else value


def span(start: tuple[int, int], stop: tuple[int, int]) -> types.Range:
    """Return a range from line and character."""
    return types.Range(types.Position(*start), types.Position(*stop))


def json_range(start: tuple[int, int], stop: tuple[int, int]) -> dict[str, Any]:
    """Return a range as JSON."""
    ends = {"start": start, "end": stop}
    return {name: {"line": line, "character": character} for name, (line, character) in ends.items()}


def problem(line: int, message: str, start: int = 0, stop: int = 1) -> types.Diagnostic:
    """Return a diagnostic of one line."""
    return types.Diagnostic(span((line, start), (line, stop)), message, source="any")


def _action_params(
    start: tuple[int, int], stop: tuple[int, int] | None = None, problems: Sequence[Any] = (), only: Any = None
) -> types.CodeActionParams:
    context = types.CodeActionContext(list(problems), only)
    return types.CodeActionParams(types.TextDocumentIdentifier(URI), span(start, stop or start), context)
