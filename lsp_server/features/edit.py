"""``codellama/edit``: a change by instruction that the editor draws as it comes, and takes hunk by hunk.

Our own requests, told in docs/edits.md: ``codellama/edit`` begins, ``/followUp`` goes on, ``/accept`` and ``/reject``
take a hunk or all, ``/cancel`` ends. Every answer tells what is left to decide.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from typing import Any

from lsprotocol import types
from pygls.exceptions import JsonRpcInvalidParams

from inference.api.errors import EngineError
from inference.text.prompts import Message
from lsp_server.edits.edit_sessions import EditSession
from lsp_server.edits.hunks import Hunk
from lsp_server.edits.rewrite import CouldNotError, Sketch, rewritten
from lsp_server.edits.target import target_of
from lsp_server.edits.tasks import EditTask
from lsp_server.lsp.documents import whole
from lsp_server.lsp.edit_task import as_it_is_now, engine, in_lines, refusal
from lsp_server.lsp.params import document_uri, member, offsets, text, token
from lsp_server.lsp.progress import at_work
from lsp_server.lsp.workspace_edits import apply, changing, range_of
from lsp_server.session import CodeLlamaServer
from lsp_server.snapshot import Document

METHOD = "codellama/edit"
FOLLOW_UP = "Write all of the code again, in one code block, changed as follows: "
TITLE = "Edit"
LONGEST_TITLE = 60
OVER = "There is no such edit; it is over."
DECIDED = "There is no such change left in this edit."


def register(server: CodeLlamaServer) -> None:
    """Our own requests."""
    server.feature(METHOD)(edit)
    server.feature(f"{METHOD}/followUp")(follow_up)
    server.feature(f"{METHOD}/accept")(accept)
    server.feature(f"{METHOD}/reject")(reject)
    server.feature(f"{METHOD}/cancel")(cancel)


async def edit(server: CodeLlamaServer, params: Any) -> dict[str, Any]:
    """``textDocument``, ``range`` and ``instruction``; ``id`` where the client names the edit itself."""
    document = await _open(server, document_uri(params))
    start, stop = offsets(document, params)
    target = target_of(document.language, document.text, start, stop)
    session = EditSession(member(params, "id", str, "") or str(uuid.uuid4()), document, (target.start, target.stop))
    instruction, around = text(params, "instruction"), server.settings.actions.context_chars
    task = EditTask("edit", document, target.start, target.stop, instruction, context_chars=around)
    if target.too_long(document.text):
        raise JsonRpcInvalidParams("That is too much to write again at once: select less.")
    try:
        server.edits.open(session)
    except ValueError as error:
        raise JsonRpcInvalidParams(str(error)) from error
    return await _asked(server, session, task, params)


async def follow_up(server: CodeLlamaServer, params: Any) -> dict[str, Any]:
    """``id`` and another ``instruction``: what is still proposed gives way to the new answer."""
    session = _session(server, params)
    instruction = text(params, "instruction")
    async with _turn(server, session):
        if session.work is not None:
            raise JsonRpcInvalidParams("This edit is still being answered.")
        try:
            start, stop = session.follow(await _open(server, session.document.uri))
        except CouldNotError as why:
            return _told(session, str(why))
        session.work = asyncio.current_task()
    around = server.settings.actions.context_chars
    task = EditTask("edit", session.document, start, stop, instruction, context_chars=around)
    more = Message("user", f"{FOLLOW_UP}{instruction}")
    return await _asked(server, session, task, params, (*session.said, more) if session.said else ())


async def accept(server: CodeLlamaServer, params: Any) -> dict[str, Any]:
    """``id``, and ``hunk`` for one; without it all that is left. Applied through ``workspace/applyEdit``."""
    session = _session(server, params)
    async with _turn(server, session, _chosen(session, params)) as chosen:
        now = whole(server, session.document.uri)
        try:
            if now is None:
                raise CouldNotError("The document was closed meanwhile.")
            hunks = session.to_apply(chosen, now)
        except CouldNotError as why:
            return {"applied": False, **_told(session, str(why))}
        why_not = await apply(server, changing(server, now, hunks, TITLE, confirm=False), TITLE)
        if not why_not:
            session.accept(chosen, now, hunks)
        return {"applied": not why_not, **_told(session, why_not)}


async def reject(server: CodeLlamaServer, params: Any) -> dict[str, Any]:
    """``id``, and ``hunk`` for one; without it all that is left."""
    session = _session(server, params)
    async with _turn(server, session, _chosen(session, params)) as chosen:
        session.reject(chosen)
        return _told(session)


def cancel(server: CodeLlamaServer, params: Any) -> None:
    """``id``: the edit is over, and the model left alone. Nothing that was accepted is undone."""
    server.edits.forget(text(params, "id"))


async def _asked(
    server: CodeLlamaServer, session: EditSession, task: EditTask, params: Any, said: tuple[Message, ...] = ()
) -> dict[str, Any]:
    """The model's answer as hunks, told as it comes where the client gives a token for that."""
    session.work = asyncio.current_task()
    title = f"Code Llama: {_short(task.instruction)}"
    try:
        work_token, drawing_token = token(params, "workDoneToken"), token(params, "partialResultToken")
        async with at_work(server, title, work_token, given=work_token is not None) as say:
            draw = _drawing(server, session, task, drawing_token, in_lines(say))
            rewrite = await rewritten(engine(server), task, draw, said, server.keeps_lines)
        async with session.turn:
            document, hunks = as_it_is_now(server, task.document, rewrite.hunks)
            session.said = rewrite.said
            session.propose(document, hunks)
            return _told(session)
    except (CouldNotError, EngineError) as why:
        return _told(session, str(why))
    finally:
        session.work = None
        # where nothing came of it, nothing can follow; another may have been begun under its name meanwhile
        if not session.said and server.edits.find(session.id) is session:
            server.edits.forget(session.id)


def _drawing(
    server: CodeLlamaServer, session: EditSession, task: EditTask, to: int | str | None, tell: Callable[[str], None]
) -> Callable[[str], None]:
    """Tells how far an answer is and, where the client wants it, what is certain of it."""
    if to is None:
        return tell

    def show(hunks: tuple[Hunk, ...]) -> None:
        shown = _shown(session.id, task.document, dict(enumerate(hunks)))
        server.protocol.notify(types.PROGRESS, types.ProgressParams(to, shown))

    sketch = Sketch(task, show, server.keeps_lines)

    def draw(text: str) -> None:
        tell(text)
        sketch(text)

    return draw


def _told(session: EditSession, message: str = "") -> dict[str, Any]:
    """What is left to decide, and why something was not done."""
    return {**_shown(session.id, session.document, session.hunks), "message": message}


def _shown(id_: str, document: Document, hunks: Mapping[int, Hunk]) -> dict[str, Any]:
    drawn = [
        {"id": n, "range": range_of(document, hunk.start, hunk.stop), "newText": hunk.new} for n, hunk in hunks.items()
    ]
    return {"id": id_, "version": document.version, "hunks": drawn}


async def _open(server: CodeLlamaServer, uri: str) -> Document:
    document = whole(server, uri)
    if document is None:
        raise JsonRpcInvalidParams("There is no such document open.")
    if why := await refusal(server, document):
        raise JsonRpcInvalidParams(why)
    return document


def _session(server: CodeLlamaServer, params: Any) -> EditSession:
    session = server.edits.find(text(params, "id"))
    if session is None:
        raise JsonRpcInvalidParams(OVER)
    return session


@asynccontextmanager
async def _turn(server: CodeLlamaServer, session: EditSession, chosen: Collection[int] = ()) -> AsyncIterator[set[int]]:
    """Alone with a session that is still open, and which of the hunks are left that a person chose before the wait.

    Raises JsonRpcInvalidParams where the session is over by then, or none is left.
    """
    async with session.turn:
        if server.edits.find(session.id) is not session:
            raise JsonRpcInvalidParams(OVER)
        left = set(chosen) & set(session.hunks)
        if chosen and not left:
            raise JsonRpcInvalidParams(DECIDED)
        yield left


def _chosen(session: EditSession, params: Any) -> set[int]:
    """Raises JsonRpcInvalidParams for a hunk that is decided already."""
    hunk = getattr(params, "hunk", None)
    if hunk is None:
        return set(session.hunks)
    if type(hunk) is not int or hunk not in session.hunks:
        raise JsonRpcInvalidParams(DECIDED)
    return {hunk}


def _short(instruction: str) -> str:
    first = instruction.strip().partition("\n")[0]
    return first if len(first) <= LONGEST_TITLE else f"{first[: LONGEST_TITLE - 1]}…"
