"""``textDocument/codeAction`` lists the actions without the model; ``codeAction/resolve`` runs the chosen one.

A client that cannot resolve actions gets commands, each with a work-done token to cancel it.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from lsprotocol import types
from pygls.exceptions import JsonRpcContentModified, JsonRpcInvalidParams

from lsp_server.edits.rewrite import EditError
from lsp_server.edits.tasks import (
    ACTION_KINDS,
    TASK_NAMES,
    DiagnosticSpan,
    EditTask,
    TaskOffer,
    file_name,
    file_name_for_tests,
    offer_tasks,
)
from lsp_server.edits.verify import ReportedProblem
from lsp_server.features import explain
from lsp_server.lsp import workspace_edits
from lsp_server.lsp.documents import current_document
from lsp_server.lsp.edit_task import can_create, report_failure, run_task, unreadable_reason
from lsp_server.lsp.params import announces
from lsp_server.lsp.work_done_progress import run_in_background
from lsp_server.lsp.workspace_edits import annotates, creates, range_of
from lsp_server.session import CodeLlamaServer
from lsp_server.snapshot import Document

APPLY = "codellama.apply"
"""Server command, for clients that cannot resolve actions."""
TEXTS = ("uri", "task", "instruction", "title", "message", "workDoneToken")
"""Optional members of an action's data that must be strings."""
EDIT = "codellama.editWithInstruction"
"""Client command: prompt for an instruction and send ``codellama/edit``."""
NOT_OURS = "The data are not those of a code action of codellama-ls."


def register(server: CodeLlamaServer) -> None:
    """Register both methods and the command."""
    options = types.CodeActionOptions(code_action_kinds=list(ACTION_KINDS), resolve_provider=True)
    server.feature(types.TEXT_DOCUMENT_CODE_ACTION, options)(code_action)
    server.feature(types.CODE_ACTION_RESOLVE)(resolve)
    server.command(APPLY)(apply)


async def code_action(
    server: CodeLlamaServer, params: types.CodeActionParams
) -> list[types.CodeAction | types.Command]:
    """Return the actions for a range; none in a document that no model may read."""
    document = current_document(server, params.text_document.uri)
    if document is None or await unreadable_reason(server, document):
        return []
    span, only = params.range, params.context.only
    start, stop = (document.offset(one.line, one.character) for one in (span.start, span.end))
    diagnostics, prompts = _diagnosed(document, params.context.diagnostics), server.settings.actions.prompts
    offers = offer_tasks(document, start, max(start, stop), diagnostics, prompts)
    chosen = [one for one in offers if _is_requested(one.kind, only) and _is_possible(server, one)]
    return [
        *(_action(server, one, params.context) for one in chosen),
        *_commands(server, document, start, max(start, stop), only),
    ]


async def resolve(server: CodeLlamaServer, action: types.CodeAction) -> types.CodeAction:
    """Run the task and add its edit. If it failed, the action has no edit and the user is shown why."""
    task = await _task(server, action.data)
    support = server.client_capabilities.text_document
    honors = support is not None and support.code_action is not None and support.code_action.honors_change_annotations
    action.edit = await run_task(server, task, action.title, confirm=annotates(server) and bool(honors))
    return action


async def apply(server: CodeLlamaServer, *arguments: Any) -> None:
    """Start the task as a background task that applies its edit, and respond immediately."""
    data: Any = arguments[0] if arguments else None
    task, title = await _task(server, data), str(data.get("title", ""))
    run_in_background(server, _run_and_apply(server, task, title, str(data.get("workDoneToken", ""))))


async def _run_and_apply(server: CodeLlamaServer, task: EditTask, title: str, token: str) -> None:
    edit = await run_task(server, task, title, confirm=annotates(server), token=token)
    if edit is None:
        return
    if reason := await workspace_edits.apply(server, edit, title):
        report_failure(server, title, EditError(reason))


def _diagnosed(document: Document, diagnostics: Sequence[types.Diagnostic]) -> list[DiagnosticSpan]:
    found = []
    for n, one in enumerate(diagnostics):
        start, stop = (document.offset(at.line, at.character) for at in (one.range.start, one.range.end))
        found.append(DiagnosticSpan(start, max(start, stop), one.message, n))
    return found


def _is_requested(kind: str, only: Sequence[str] | None) -> bool:
    """Return whether ``only`` includes a kind. Kinds are hierarchical: ``refactor`` includes ``refactor.rewrite``."""
    return only is None or any(not one or kind == one or kind.startswith(f"{one}.") for one in map(_text, only))


def _text(kind: types.CodeActionKind | str) -> str:
    return kind.value if isinstance(kind, types.CodeActionKind) else kind


def _is_possible(server: CodeLlamaServer, offer: TaskOffer) -> bool:
    """Return whether the client can create the new file of a task, if it has one."""
    into = offer.task.into
    return not into or (creates(server) and can_create(offer.task.document.uri, into))


def _action(
    server: CodeLlamaServer, offer: TaskOffer, context: types.CodeActionContext
) -> types.CodeAction | types.Command:
    support = server.client_capabilities.text_document
    actions = support.code_action if support is not None else None
    data = {"title": offer.title, **_data(offer.task)}
    fixes = None if offer.fixes is None else [context.diagnostics[offer.fixes]]
    action = types.CodeAction(offer.title, kind=offer.kind, diagnostics=fixes)
    if actions is not None and actions.resolve_support is not None and "edit" in actions.resolve_support.properties:
        action.data = data
        return action
    command = types.Command(offer.title, APPLY, arguments=[{**data, "workDoneToken": str(uuid.uuid4())}])
    if actions is None or actions.code_action_literal_support is None:
        return command
    action.command = command
    return action


def _commands(
    server: CodeLlamaServer, document: Document, start: int, stop: int, only: Sequence[str] | None
) -> list[types.CodeAction | types.Command]:
    """Return commands that open an input or a view, and change nothing by themselves."""
    span = range_of(document, start, stop)
    argument = {"uri": document.uri, "range": span}
    found = explain.commands(server, document, span) if only is None else []
    if announces(server, "codellamaEdit") and _is_requested(ACTION_KINDS[1], only):
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
    """Rebuild the task from an action's data. Raises JsonRpcException if the data are invalid or outdated."""
    if not isinstance(data, Mapping) or any(not isinstance(data.get(name, ""), str) for name in TEXTS):
        raise JsonRpcInvalidParams(NOT_OURS)
    if "uri" not in data or data.get("task") not in TASK_NAMES:
        raise JsonRpcInvalidParams(NOT_OURS)
    document = current_document(server, data["uri"])
    if document is None or document.version != data.get("version"):
        raise JsonRpcContentModified("The document has changed since. Request its code actions again.")
    if reason := await unreadable_reason(server, document):
        raise JsonRpcInvalidParams(reason)
    start, stop, line = (data.get(name) for name in ("start", "stop", "line"))
    if type(start) is not int or type(stop) is not int or not 0 <= start <= stop <= len(document.text):
        raise JsonRpcInvalidParams(NOT_OURS)
    instruction = data.get("instruction", "")
    if data["task"] == "edit" and instruction not in server.settings.actions.prompts:
        raise JsonRpcContentModified("The settings have changed since. Request the document's code actions again.")
    reported = ReportedProblem(line, str(data.get("message", ""))) if type(line) is int else None
    into = file_name_for_tests(document.language, file_name(document.uri)) if data["task"] == "tests" else ""
    if data["task"] == "tests" and not into:
        raise JsonRpcInvalidParams("No test-file convention is known for this language.")
    context_chars = server.settings.actions.context_chars
    return EditTask(data["task"], document, start, stop, instruction, reported, into, context_chars)
