"""``textDocument/codeAction`` lists, quickly and without a model; ``codeAction/resolve`` does what was chosen.

A client that can't resolve gets commands. Each carries a work-done token, by which it can be cancelled.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from lsprotocol import types
from pygls.exceptions import JsonRpcContentModified, JsonRpcInvalidParams

from lsp_server.edits.rewrite import CouldNotError
from lsp_server.edits.tasks import KINDS, NAMES, Diagnosed, EditTask, TaskOffer, file_for_tests, file_name, offered
from lsp_server.edits.verify import Reported
from lsp_server.features import explain
from lsp_server.lsp import workspace_edits
from lsp_server.lsp.documents import whole
from lsp_server.lsp.edit_task import done, is_free, refusal, sorry
from lsp_server.lsp.params import announces
from lsp_server.lsp.progress import beside
from lsp_server.lsp.workspace_edits import annotates, creates, range_of
from lsp_server.session import CodeLlamaServer
from lsp_server.snapshot import Document

APPLY = "codellama.apply"
"""Our command, for clients that can't resolve."""
TEXTS = ("uri", "task", "instruction", "title", "message", "workDoneToken")
"""Members of an action that a client returns as strings, if it returns them."""
EDIT = "codellama.editWithInstruction"
"""A client's command: it asks for the instruction, and begins a ``codellama/edit``."""


def register(server: CodeLlamaServer) -> None:
    """The two methods and the command."""
    options = types.CodeActionOptions(code_action_kinds=list(KINDS), resolve_provider=True)
    server.feature(types.TEXT_DOCUMENT_CODE_ACTION, options)(code_action)
    server.feature(types.CODE_ACTION_RESOLVE)(resolve)
    server.command(APPLY)(apply)


async def code_action(
    server: CodeLlamaServer, params: types.CodeActionParams
) -> list[types.CodeAction | types.Command]:
    """What makes sense there. Nothing in a document that no model may read."""
    document = whole(server, params.text_document.uri)
    if document is None or await refusal(server, document):
        return []
    where, only = params.range, params.context.only
    start, stop = (document.offset(one.line, one.character) for one in (where.start, where.end))
    diagnosed, own = _diagnosed(document, params.context.diagnostics), server.settings.actions.prompts
    offers = offered(document, start, max(start, stop), diagnosed, own)
    found = [_action(server, one, params.context) for one in offers if _wanted(one.kind, only) and _can(server, one)]
    return [*found, *_commands(server, document, start, max(start, stop), only)]


async def resolve(server: CodeLlamaServer, action: types.CodeAction) -> types.CodeAction:
    """Ask the model. An action of which nothing came has no edit; the person has been told why."""
    task = await _task(server, action.data)
    support = server.client_capabilities.text_document
    honours = support is not None and support.code_action is not None and support.code_action.honors_change_annotations
    action.edit = await done(server, task, action.title, confirm=annotates(server) and bool(honours))
    return action


async def apply(server: CodeLlamaServer, *arguments: Any) -> None:
    """Begin what ``resolve`` does and have the client apply it; the command itself is answered at once."""
    data: Any = arguments[0] if arguments else None
    task, title = await _task(server, data), str(data.get("title", ""))
    beside(server, _applied(server, task, title, str(data.get("workDoneToken", ""))))


async def _applied(server: CodeLlamaServer, task: EditTask, title: str, token: str) -> None:
    edit = await done(server, task, title, confirm=annotates(server), token=token)
    if edit is None:
        return
    if why_not := await workspace_edits.apply(server, edit, title):
        sorry(server, title, CouldNotError(why_not))


def _diagnosed(document: Document, diagnostics: Sequence[types.Diagnostic]) -> list[Diagnosed]:
    found = []
    for n, one in enumerate(diagnostics):
        start, stop = (document.offset(at.line, at.character) for at in (one.range.start, one.range.end))
        found.append(Diagnosed(start, max(start, stop), one.message, n))
    return found


def _wanted(kind: str, only: Sequence[str] | None) -> bool:
    """Kinds are hierarchies: ``refactor`` asks for ``refactor.rewrite`` too."""
    return only is None or any(not one or kind == one or kind.startswith(f"{one}.") for one in map(_text, only))


def _text(kind: types.CodeActionKind | str) -> str:
    return kind.value if isinstance(kind, types.CodeActionKind) else kind


def _can(server: CodeLlamaServer, offer: TaskOffer) -> bool:
    """A new file needs a client that makes one, and a name that is free."""
    into = offer.task.into
    return not into or (creates(server) and is_free(offer.task.document.uri, into))


def _action(
    server: CodeLlamaServer, offer: TaskOffer, context: types.CodeActionContext
) -> types.CodeAction | types.Command:
    support = server.client_capabilities.text_document
    can = support.code_action if support is not None else None
    data = {"title": offer.title, **_data(offer.task)}
    fixes = None if offer.fixes is None else [context.diagnostics[offer.fixes]]
    action = types.CodeAction(offer.title, kind=offer.kind, diagnostics=fixes)
    if can is not None and can.resolve_support is not None and "edit" in can.resolve_support.properties:
        action.data = data
        return action
    command = types.Command(offer.title, APPLY, arguments=[{**data, "workDoneToken": str(uuid.uuid4())}])
    if can is None or can.code_action_literal_support is None:
        return command
    action.command = command
    return action


def _commands(
    server: CodeLlamaServer, document: Document, start: int, stop: int, only: Sequence[str] | None
) -> list[types.CodeAction | types.Command]:
    """What opens something, and changes nothing by itself."""
    where = range_of(document, start, stop)
    argument = {"uri": document.uri, "range": where}
    found = explain.commands(server, document, where) if only is None else []
    if announces(server, "codellamaEdit") and _wanted(KINDS[1], only):
        found.append(types.Command("Edit with instruction…", EDIT, arguments=[argument]))
    return found


def _data(task: EditTask) -> dict[str, Any]:
    found: dict[str, Any] = {"uri": task.document.uri, "version": task.document.version, "task": task.name}
    found |= {"start": task.start, "stop": task.stop}
    if task.reported:
        found |= {"line": task.reported.line, "message": task.reported.message}
    if task.instruction:
        found |= {"instruction": task.instruction}
    return found


async def _task(server: CodeLlamaServer, data: Any) -> EditTask:
    """What a client gives back of an action. Raises JsonRpcException where it is not one of ours, or out of date."""
    if not isinstance(data, Mapping) or any(not isinstance(data.get(name, ""), str) for name in TEXTS):
        raise JsonRpcInvalidParams("This is no action of codellama-ls.")
    if "uri" not in data or data.get("task") not in NAMES:
        raise JsonRpcInvalidParams("This is no action of codellama-ls.")
    document = whole(server, data["uri"])
    if document is None or document.version != data.get("version"):
        raise JsonRpcContentModified("The document has changed since; ask for its actions again.")
    if why := await refusal(server, document):
        raise JsonRpcInvalidParams(why)
    start, stop, line = (data.get(name) for name in ("start", "stop", "line"))
    if type(start) is not int or type(stop) is not int or not 0 <= start <= stop <= len(document.text):
        raise JsonRpcInvalidParams("This is no action of codellama-ls.")
    instruction = data.get("instruction", "")
    if data["task"] == "edit" and instruction not in server.settings.actions.prompts:
        raise JsonRpcContentModified("The settings have changed since; ask for the document's actions again.")
    reported = Reported(line, str(data.get("message", ""))) if type(line) is int else None
    into = file_for_tests(document.language, file_name(document.uri)) if data["task"] == "tests" else ""
    if data["task"] == "tests" and not into:
        raise JsonRpcInvalidParams("There is no custom for where such tests go.")
    around = server.settings.actions.context_chars
    return EditTask(data["task"], document, start, stop, instruction, reported, into, around)
