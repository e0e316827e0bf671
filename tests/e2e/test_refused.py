"""Refused documents over stdio: no text reaches the engine; trace and doctor report the reason."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from fakes.scripted_model import ScriptedModel
from support.editor_session import editor_session
from support.fixtures_engine import serving


@pytest.mark.parametrize(
    ("name", "why"),
    [
        (".env", "the file's name says that it may hold keys or passwords"),
        ("private.py", "a .gitignore or .codellamaignore names the file or a folder it lies in"),
        ("dump.sql", "the setting completion.excludedFiles names the file"),
    ],
)
async def test_secret_or_ignored_document_never_reaches_the_engine(runtime, tmp_path, name, why):
    """This holds for explicit requests too."""
    (tmp_path / ".codellamaignore").write_text("private.py\n")
    answerer, uri = ScriptedModel(), (tmp_path / name).as_uri()
    settings = {"completion": {"excludedFiles": ["*.sql"]}}
    async with serving(runtime, answerer), editor_session(settings=settings) as editor:
        editor.open("PASSWORD=", uri)
        assert await editor.inline(0, 9, uri=uri, invoked=True) == []
        assert await editor.inline(0, 9, uri=uri, invoked=False) == []
        records = await editor.trace()
    assert answerer.log == []
    assert [(record["result"], record["reason"]) for record in records] == [("refused", why)] * 2


async def test_newly_ignored_file_is_refused(runtime, tmp_path):
    """Its cached completions are not shown again either."""
    answerer, uri = ScriptedModel(), (tmp_path / "a.py").as_uri()
    async with serving(runtime, answerer), editor_session() as editor:
        editor.open("x = ", uri)
        assert await editor.inline(0, 4, uri=uri) == [("x = ab", (0, 0, 0, 4))]
        (tmp_path / ".gitignore").write_text("a.py\n")
        assert await editor.inline(0, 4, uri=uri) == []


async def test_language_can_be_disabled(runtime):
    settings = {"completion": {"disabledLanguages": ["python"]}}
    answerer = ScriptedModel()
    async with serving(runtime, answerer), editor_session(settings=settings) as editor:
        editor.open("x = ")
        assert await editor.inline(0, 4) == []
        editor.open("x = ", "file:///project/a.c", "c")
        assert await editor.inline(0, 4, uri="file:///project/a.c") == [("x = ab", (0, 0, 0, 4))]


async def test_doctor_lists_requests_of_a_closed_session_without_code(runtime, tmp_path):
    async with serving(runtime, ScriptedModel()), editor_session() as editor:
        editor.open("hunter2 = ")
        await editor.inline(0, 10)
        editor.open("hunter2 = ", (tmp_path / ".env").as_uri())
        await editor.inline(0, 10, uri=(tmp_path / ".env").as_uri())
    (file,) = runtime.glob("requests*")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "hunter2" not in file.read_text()
    shown, refused = json.loads(doctor("--last", "2", "--json"))
    assert (shown["result"], shown["shown"], shown["outcome"]["completion_tokens"]) == ("shown", 2, 2)
    assert (refused["result"], refused["uri"]) == ("refused", (tmp_path / ".env").as_uri())
    table = doctor("--last")
    assert "a.py:1" in table and "2 characters" in table
    assert "none: refused  the file's name says that it may hold keys or passwords" in table


def doctor(*arguments: str) -> str:
    command = [sys.executable, "-m", "lsp_server", "doctor", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path.cwd()).stdout
