"""A repository that tries to run code, hang the server and read other files; all features are used over stdio."""

from __future__ import annotations

import asyncio
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from fakes.scripted_model import ScriptedModel
from lsprotocol import types
from pygls.exceptions import JsonRpcException
from support.editor_session import EditorSession, editor_session, in_process_session
from support.fixtures_engine import serving
from support.hostile_repository import (
    EVIL_NAME,
    IGNORE_FILES,
    ODD_NAMES,
    REPOSITORIES,
    HostileRepository,
    hostile_repository,
    working_in,
)
from support.simulated_user import json_range, plain
from support.trap_folder import lay_traps

from lsp_server import disk
from lsp_server.server import create_server

PROGRAM = [str(Path(sys.executable).with_name("codellama-ls")), "--stdio"]
HANG = 120
"""Time limit in seconds for all requests of one session."""
MENTIONS = (
    "#diff",
    "#open",
    "#selection",
    "#diagnostics",
    "#symbol:one",
    "#file:a.py",
    "#file:link.py",
    "#file:linked/secret.py",
    "#file:../outside/secret.py",
    "#file:fifo/.gitignore",
    "#file:device/.gitignore",
    *(f"#file:{name}/a.py" for name in IGNORE_FILES),
)


@pytest.fixture
def hostile(tmp_path: Path) -> HostileRepository:
    made = hostile_repository(tmp_path)
    lay_traps(made.root, made.witness)
    return made


async def asked(editor: EditorSession, method: str, **params: Any) -> str:
    """Return the result or the error as text."""
    try:
        return str(plain(await editor.client.protocol.send_request_async(method, params)))
    except JsonRpcException as error:
        return f"refused: {error.message}"


async def used(editor: EditorSession, root: Path) -> dict[str, str]:
    """Complete, chat with every kind of mention, list code actions and ask for commit messages."""
    uri = (root / "a.py").as_uri()
    editor.open("def one():\n    return 1\n\n\none = ", uri)
    document = {"textDocument": {"uri": uri}, "range": json_range((0, 0), (0, 7))}
    shown = {"completion": str(await editor.inline(4, 6, uri=uri))}
    for mention in MENTIONS:
        shown[mention] = await asked(editor, "codellama/chat", text=f"What is {mention}?", **document)
    place = types.Range(types.Position(0, 0), types.Position(0, 3))
    actions = types.CodeActionParams(types.TextDocumentIdentifier(uri), place, types.CodeActionContext([]))
    shown["actions"] = str(await editor.client.text_document_code_action_async(actions))
    for name in ("", *REPOSITORIES):
        repository = (root / name).as_uri()
        shown[f"commit {name}"] = await asked(editor, "codellama/commitMessage", repository=repository)
    return shown


@pytest.mark.slow
async def test_hostile_repository_runs_hangs_and_leaks_nothing(runtime, hostile):
    answerer = ScriptedModel()
    async with asyncio.timeout(HANG):
        with working_in(hostile):
            async with (
                serving(runtime, answerer),
                editor_session(command=PROGRAM, root=hostile.root.as_uri()) as editor,
            ):
                shown = await used(editor, hostile.root)
    assert "one = ab" in shown["completion"]
    for ok in ("#file:a.py", "#diff", "#open", "#selection", "#symbol:one", "#file:bad_lines/a.py", "commit "):
        assert not shown[ok].startswith("refused"), shown[ok]
    for refused in ("#file:link.py", "#file:linked/secret.py", "#file:fifo/a.py", "#file:huge/a.py", "commit borrowed"):
        assert shown[refused].startswith("refused"), shown[refused]
    hostile.assert_untouched(*shown.values(), str(answerer.log), str(answerer.asked))


@pytest.mark.slow
async def test_session_on_each_folder_of_a_hostile_repository(runtime, hostile):
    """Each folder has its own session, as if a user opened a part of a clone."""
    answerer, shown = ScriptedModel(), {}
    async with asyncio.timeout(HANG):
        with working_in(hostile):
            async with serving(runtime, answerer):
                for name in REPOSITORIES:
                    async with editor_session(command=PROGRAM, root=(hostile.root / name).as_uri()) as editor:
                        uri = (hostile.root / name / "a.py").as_uri()
                        editor.open("one = ", uri)
                        await editor.inline(0, 6, uri=uri)
                        shown[name] = await asked(editor, "codellama/chat", text="#diff", textDocument={"uri": uri})
    assert {name: text.partition(":")[0] for name, text in shown.items()} == dict.fromkeys(REPOSITORIES, "refused")
    hostile.assert_untouched(*shown.values(), str(answerer.log), str(answerer.asked))


async def test_unusable_ignore_files_refuse_and_warn_once(runtime, hostile):
    answerer, results = ScriptedModel(), {}
    async with (
        asyncio.timeout(HANG),
        serving(runtime, answerer),
        editor_session(command=PROGRAM, root=hostile.root.as_uri()) as editor,
    ):
        for name in IGNORE_FILES:
            for file in ("a.py", EVIL_NAME):
                uri = (hostile.root / name / file).as_uri()
                editor.open("one = ", uri)
                await editor.inline(0, 6, uri=uri)
                results[name] = (await editor.trace())[-1]["result"]
        for name in ODD_NAMES:
            editor.open("one = ", (hostile.root / name).as_uri())
            await editor.inline(0, 6, uri=(hostile.root / name).as_uri())
        told = [message.message for message in editor.client.messages]
    usable = ("costly", "bad_lines")
    assert results == {name: "shown" if name in usable else "refused" for name in IGNORE_FILES}
    for name in IGNORE_FILES:
        assert sum(f"/{name}/.gitignore " in text for text in told) == (name != "costly"), (name, told)
    hostile.assert_untouched(str(answerer.log))


async def test_bad_pattern_in_the_settings_does_not_stop_completion(runtime, tmp_path):
    settings = {"completion": {"excludedFiles": ["!", "build\\", "[z-a]", "*.sql"]}}
    async with serving(runtime, ScriptedModel()), editor_session(settings=settings, root=tmp_path.as_uri()) as editor:
        shown = []
        for name in ("a.py", "a.sql"):
            editor.open("x = ", (tmp_path / name).as_uri())
            shown.append(len(await editor.inline(0, 4, uri=(tmp_path / name).as_uri())))
        told = [message.message for message in editor.client.messages]
    assert shown == [1, 0]
    assert sum("build" in text and "not a valid pattern" in text for text in told) == 1


async def test_request_cancelled_while_files_are_checked_is_traced(runtime, monkeypatch):
    checking, go = threading.Event(), threading.Event()

    def slow(*_: object) -> None:
        checking.set()
        go.wait(30)

    monkeypatch.setattr(disk, "privacy", slow)
    async with serving(runtime, ScriptedModel(["1"])), in_process_session(create_server()) as editor:
        editor.open("x = ")
        request = editor.request(0, 4, msg_id="the-one")
        assert await asyncio.to_thread(checking.wait, 10)
        editor.client.cancel_request(types.CancelParams("the-one"))
        await asyncio.wait_for(asyncio.gather(request, return_exceptions=True), 10)
        go.set()
        assert (await editor.trace())[-1]["result"] == "cancelled"
