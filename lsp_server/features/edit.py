"""``codellama/edit``: edit by instruction. The editor shows the hunks as they stream; the user accepts or rejects each.

Custom requests, described in docs/edits.md: ``codellama/edit`` begins an edit, ``/followUp`` refines it, ``/accept``
and ``/reject`` decide one hunk or all, ``/cancel`` ends it. Each response lists the undecided hunks.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from typing import Any

from lsprotocol import types
from pygls.exceptions import JsonRpcInvalidParams

from inference.api.engine_errors import EngineError
from inference.text.prompts import Message
from lsp_server.edits.edit_sessions import EditSession
from lsp_server.edits.hunks import Hunk
from lsp_server.edits.rewrite import EditError, PartialRewrite, request_rewrite
from lsp_server.edits.target import find_target
from lsp_server.edits.tasks import EditTask
from lsp_server.lsp.documents import current_document
from lsp_server.lsp.edit_task import rebase_hunks, report_lines, require_chat, unreadable_reason
from lsp_server.lsp.params import document_uri, member, offsets, required_text, token
from lsp_server.lsp.work_done_progress import Token, progress_bar
from lsp_server.lsp.workspace_edits import apply, changing, range_of
from lsp_server.session import CodeLlamaServer
from lsp_server.snapshot import Document

METHOD = "codellama/edit"
FOLLOW_UP = "Write all of the code again, in one code block, changed as follows: "
TITLE = "Edit"
MAX_TITLE = 60
ENDED = "This edit session has ended."
DECIDED = "This change has already been accepted or rejected."


def register(server: CodeLlamaServer) -> None:
    """Register the custom requests."""
    server.feature(METHOD)(edit)
    server.feature(f"{METHOD}/followUp")(follow_up)
    server.feature(f"{METHOD}/accept")(accept)
    server.feature(f"{METHOD}/reject")(reject)
    server.feature(f"{METHOD}/cancel")(cancel)


async def edit(server: CodeLlamaServer, params: Any) -> dict[str, Any]:
    """Begin an edit: ``textDocument``, ``range`` and ``instruction``; ``id`` if the client chooses it."""
    document = await _readable_document(server, document_uri(params))
    start, stop = offsets(document, params)
    target = find_target(document.language, document.text, start, stop)
    session = EditSession(member(params, "id", str, "") or str(uuid.uuid4()), document, (target.start, target.stop))
    instruction, context_chars = required_text(params, "instruction"), server.settings.actions.context_chars
    task = EditTask("edit", document, target.start, target.stop, instruction, context_chars=context_chars)
    if target.too_long(document.text):
        raise JsonRpcInvalidParams("The selection is too long to rewrite at once. Select less.")
    try:
        server.edits.open(session)
    except ValueError as error:
        raise JsonRpcInvalidParams(str(error)) from error
    return await _run(server, session, task, params)


async def follow_up(server: CodeLlamaServer, params: Any) -> dict[str, Any]:
    """Refine an edit: ``id`` and another ``instruction``. The new hunks replace the undecided ones."""
    session = _session(server, params)
    instruction = required_text(params, "instruction")
    async with _turn(server, session):
        if session.work is not None:
            raise JsonRpcInvalidParams("The model is still writing this edit. Wait for it, or cancel it.")
        try:
            start, stop = session.follow(await _readable_document(server, session.document.uri))
        except EditError as error:
            return _undecided(session, str(error))
        session.work = asyncio.current_task()
    context_chars = server.settings.actions.context_chars
    task = EditTask("edit", session.document, start, stop, instruction, context_chars=context_chars)
    message = Message("user", f"{FOLLOW_UP}{instruction}")
    return await _run(server, session, task, params, (*session.said, message) if session.said else ())


async def accept(server: CodeLlamaServer, params: Any) -> dict[str, Any]:
    """Apply hunks through ``workspace/applyEdit``: ``id``, and ``hunk`` for one; without it all that are undecided."""
    session = _session(server, params)
    async with _turn(server, session, _chosen(session, params)) as chosen:
        now = current_document(server, session.document.uri)
        try:
            if now is None:
                raise EditError("The document was closed meanwhile.")
            hunks = session.to_apply(chosen, now)
        except EditError as error:
            return {"applied": False, **_undecided(session, str(error))}
        failure = await apply(server, changing(server, now, hunks, TITLE, confirm=False), TITLE)
        if not failure:
            session.accept(chosen, now, hunks)
        return {"applied": not failure, **_undecided(session, failure)}


async def reject(server: CodeLlamaServer, params: Any) -> dict[str, Any]:
    """Discard hunks: ``id``, and ``hunk`` for one; without it all that are undecided."""
    session = _session(server, params)
    async with _turn(server, session, _chosen(session, params)) as chosen:
        session.reject(chosen)
        return _undecided(session)


def cancel(server: CodeLlamaServer, params: Any) -> None:
    """End the edit ``id`` and stop its generation. Accepted hunks stay."""
    server.edits.forget(required_text(params, "id"))


async def _run(
    server: CodeLlamaServer, session: EditSession, task: EditTask, params: Any, messages: tuple[Message, ...] = ()
) -> dict[str, Any]:
    """Run the task and propose its hunks. Stream them if the client sends a ``partialResultToken``."""
    session.work = asyncio.current_task()
    title = f"Code Llama: {_short(task.instruction)}"
    try:
        work_token, partial_token = token(params, "workDoneToken"), token(params, "partialResultToken")
        async with progress_bar(server, title, work_token, from_client=work_token is not None) as report:
            on_text = _streaming(server, session, task, partial_token, report_lines(report))
            rewrite = await request_rewrite(require_chat(server), task, on_text, messages, server.keeps_lines)
        async with session.turn:
            document, hunks = rebase_hunks(server, task.document, rewrite.hunks)
            session.said = rewrite.said
            session.propose(document, hunks)
            return _undecided(session)
    except (EditError, EngineError) as error:
        return _undecided(session, str(error))
    finally:
        session.work = None
        # a failed edit cannot be refined; meanwhile another edit may have begun under its id
        if not session.said and server.edits.find(session.id) is session:
            server.edits.forget(session.id)


def _streaming(
    server: CodeLlamaServer, session: EditSession, task: EditTask, token: Token | None, report: Callable[[str], None]
) -> Callable[[str], None]:
    """Return a function of the text so far that reports progress and, with a token, sends the finished hunks."""
    if token is None:
        return report

    def send(hunks: tuple[Hunk, ...]) -> None:
        value = _to_json(session.id, task.document, dict(enumerate(hunks)))
        server.protocol.notify(types.PROGRESS, types.ProgressParams(token, value))

    sketch = PartialRewrite(task, send, server.keeps_lines)

    def on_text(text: str) -> None:
        report(text)
        sketch(text)

    return on_text


def _undecided(session: EditSession, message: str = "") -> dict[str, Any]:
    """Return the undecided hunks, and a message if something failed."""
    return {**_to_json(session.id, session.document, session.hunks), "message": message}


def _to_json(id_: str, document: Document, hunks: Mapping[int, Hunk]) -> dict[str, Any]:
    listed = [
        {"id": n, "range": range_of(document, hunk.start, hunk.stop), "newText": hunk.new} for n, hunk in hunks.items()
    ]
    return {"id": id_, "version": document.version, "hunks": listed}


async def _readable_document(server: CodeLlamaServer, uri: str) -> Document:
    document = current_document(server, uri)
    if document is None:
        raise JsonRpcInvalidParams("This document is not open in the editor.")
    if reason := await unreadable_reason(server, document):
        raise JsonRpcInvalidParams(reason)
    return document


def _session(server: CodeLlamaServer, params: Any) -> EditSession:
    session = server.edits.find(required_text(params, "id"))
    if session is None:
        raise JsonRpcInvalidParams(ENDED)
    return session


@asynccontextmanager
async def _turn(server: CodeLlamaServer, session: EditSession, chosen: Collection[int] = ()) -> AsyncIterator[set[int]]:
    """Lock a session. Yield those of the ``chosen`` hunks that are still undecided.

    Raises JsonRpcInvalidParams if the session has ended meanwhile, or all chosen hunks are decided.
    """
    async with session.turn:
        if server.edits.find(session.id) is not session:
            raise JsonRpcInvalidParams(ENDED)
        left = set(chosen) & set(session.hunks)
        if chosen and not left:
            raise JsonRpcInvalidParams(DECIDED)
        yield left


def _chosen(session: EditSession, params: Any) -> set[int]:
    """Return the ids of the hunks that a request names. Raises JsonRpcInvalidParams for a decided one."""
    hunk = getattr(params, "hunk", None)
    if hunk is None:
        return set(session.hunks)
    if type(hunk) is not int or hunk not in session.hunks:
        raise JsonRpcInvalidParams(DECIDED)
    return {hunk}


def _short(instruction: str) -> str:
    first = instruction.strip().partition("\n")[0]
    return first if len(first) <= MAX_TITLE else f"{first[: MAX_TITLE - 1]}…"
