"""Whole sessions of ``python -m lsp_server`` over stdio, recorded: each request of each feature, and its refusals."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from fakes.scripted_model import block
from recordings.recording import compare
from recordings.stdio import APPLY_EDIT, BEGIN, CREATE, END, SHOW, STATUS, Session, session

CODE = "import os\n\n\ndef f(a):\n    x = foo\n    return a\n\n\nprint(os, f)\n"
BODY = "def f(a):\n    x = {}\n    return {}"
EDITED = CODE.replace("foo", "1").replace("return a", "return a + x")
PROBLEM = {
    "range": {"start": {"line": 4, "character": 8}, "end": {"line": 4, "character": 11}},
    "message": '"foo" is not defined',
    "source": "any",
}
FULL: dict[str, Any] = {
    "general": {"positionEncodings": ["utf-16"]},
    "textDocument": {
        "inlineCompletion": {},
        "codeAction": {
            "codeActionLiteralSupport": {"codeActionKind": {"valueSet": ["", "quickfix", "refactor", "source"]}},
            "dataSupport": True,
            "resolveSupport": {"properties": ["edit"]},
            "honorsChangeAnnotations": True,
        },
    },
    "workspace": {
        "applyEdit": True,
        "configuration": True,
        "workspaceEdit": {"documentChanges": True, "resourceOperations": ["create"], "changeAnnotationSupport": {}},
        "executeCommand": {},
    },
    "window": {"workDoneProgress": True, "showDocument": {"support": True}},
    "experimental": dict.fromkeys(("codellamaStatus", "codellamaReports", "codellamaChat", "codellamaEdit"), True),
}
PLAIN: dict[str, Any] = {
    "textDocument": {"completion": {}, "codeAction": {}},
    "workspace": {"applyEdit": True},
    "window": {"showDocument": {"support": True}},
    "experimental": {"codellamaStatus": True},
}
SETTINGS = {"completion": {"prefetch": False, "alternatives": 1, "debounceMs": 300}}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A repository with a staged change and a private file."""
    root = tmp_path / "project"
    root.mkdir()
    (root / "a.py").write_text(CODE)
    (root / "c.py").write_text("y = 1\n")
    (root / ".env").write_text("KEY=1\n")
    for command in (["init", "-q", "-b", "main"], ["add", "c.py"]):
        subprocess.run(["git", *command], cwd=root, check=True)
    return root


def at(line: int, character: int) -> dict[str, int]:
    return {"line": line, "character": character}


def span(start: tuple[int, int], stop: tuple[int, int]) -> dict[str, Any]:
    return {"start": at(*start), "end": at(*stop)}


def initialize(folder: Path, capabilities: Any, name: str = "An editor", options: Any = SETTINGS) -> tuple[str, Any]:
    return "initialize", {
        "processId": None,
        "clientInfo": {"name": name},
        "rootUri": folder.as_uri(),
        "capabilities": capabilities,
        "initializationOptions": options,
    }


def opened(folder: Path, text: str, name: str = "a.py", language: str = "python") -> tuple[str, Any]:
    item = {"uri": (folder / name).as_uri(), "languageId": language, "version": 1, "text": text}
    return "!textDocument/didOpen", {"textDocument": item}


def changed(folder: Path, version: int, text: str) -> tuple[str, Any]:
    document = {"uri": (folder / "a.py").as_uri(), "version": version}
    return "!textDocument/didChange", {"textDocument": document, "contentChanges": [{"text": text}]}


def configured(settings: Any) -> tuple[str, Any]:
    return "!workspace/didChangeConfiguration", {"settings": settings}


def inline(folder: Path, line: int, character: int, kind: int = 1, name: str = "a.py", **more: Any) -> tuple[str, Any]:
    where = {"textDocument": {"uri": (folder / name).as_uri()}, "position": at(line, character)}
    return "textDocument/inlineCompletion", {**where, "context": {"triggerKind": kind, **more}}


def actions(folder: Path, start: tuple[int, int], only: Any = None, problems: Any = ()) -> tuple[str, Any]:
    context = {"diagnostics": list(problems), **({"only": only} if only else {})}
    where = {"textDocument": {"uri": (folder / "a.py").as_uri()}, "range": span(start, start)}
    return "textDocument/codeAction", {**where, "context": context}


def executed(command: str, *arguments: Any) -> tuple[str, Any]:
    return "workspace/executeCommand", {"command": command, "arguments": list(arguments)}


async def ready(one: Session, folder: Path, capabilities: Any, name: str = "An editor") -> None:
    """The server has found the engine."""
    await one.step("initialize", initialize(folder, capabilities, name))
    await one.step("initialized: the engine is found", ("!initialized", {}))
    await one.client.until(lambda: any(p["params"]["phase"] == "ready" for p in statuses(one)))


def statuses(one: Session) -> list[dict[str, Any]]:
    return [told for told in one.client.told if told["method"] == STATUS]


async def ended(one: Session) -> None:
    await one.step("shutdown", ("shutdown", None))
    await one.step("a request after it", ("codellama/trace", {}))
    one.client.send({"jsonrpc": "2.0", "method": "exit"})
    one.note(f"== exit\nstatus {await one.client.ended()}")


async def test_completion_is_recorded(runtime, folder, monkeypatch):
    async with session(runtime, folder, monkeypatch, []) as one:
        await ready(one, folder, FULL)
        (status, *_) = (one["params"] for one in statuses(one))
        one.note(f"members of codellama/status: {', '.join(status)}")
        await one.step("an automatic request", opened(folder, "def f(a):\n    x = \n"), inline(folder, 1, 8, 2), asks=1)
        (items,) = await one.step("the same again, known", inline(folder, 1, 8))
        name = items[0]["command"]["arguments"][0]
        await one.step("reports", ("!codellama/didShow", {"id": name}), ("!codellama/didAccept", {"id": name}))
        await one.step(
            "of two requests at once the first is superseded",
            changed(folder, 2, "def f(a):\n    x = y + \n"),
            inline(folder, 1, 12, 2),
            inline(folder, 1, 12, 2),
            asks=1,
        )
        entry = {"range": span((1, 8), (1, 9)), "text": "yes"}
        selecting = changed(folder, 3, "def f(a):\n    x = y\n")
        await one.step(
            "a list's entry is selected", selecting, inline(folder, 1, 9, selectedCompletionInfo=entry), asks=1
        )
        elsewhere = {"range": span((0, 0), (0, 1)), "text": "yes"}
        await one.step("one that stands elsewhere", inline(folder, 1, 9, selectedCompletionInfo=elsewhere))
        await one.step("a private file", opened(folder, "KEY = ", ".env"), inline(folder, 0, 6, name=".env"))
        await one.step("a document that is not open", inline(folder, 0, 0, name="b.py"))
        one.engine.pieces = ["boom"]
        await one.step("the engine fails", changed(folder, 4, "z = \n"), inline(folder, 0, 4), asks=1)
        await one.step(
            "alternatives", configured({"codellama": {"completion": {"alternatives": 3, "prefetch": False}}})
        )
        one.engine.pieces, one.engine.by_seed = ["a"], {1: "b", 2: "c"}
        await one.step("three by hand", changed(folder, 5, "zz = \n"), inline(folder, 0, 5))
        await one.step("switched off", configured({"codellama": {"completion": {"enabled": False}}}))
        await one.step("nothing", inline(folder, 0, 5))
        await one.step("what became of them", ("codellama/trace", {}), ("codellama/stats", {"days": 7}))
        await one.step("counted by a command", executed("codellama.accepted", name))
        await ended(one)
    compare("stdio/completion.txt", one.text)


async def test_settings_and_mistakes_are_recorded(runtime, folder, monkeypatch):
    async with session(runtime, folder, monkeypatch, []) as one:
        await one.step("before initialize", ("codellama/trace", {}))
        await ready(one, folder, FULL)
        bad = {"maxTokens": 0, "enabled": 1, "excludedFiles": ["a", 1], "minConfidence": "x", "contextLines": 3}
        pushed = {"completion": bad, "engine": {"format": "q4", "model": 7}, "chat": [], "more": {}}
        await one.step("bad values are said in one message", configured({"codellama": pushed}), told={SHOW: 1})
        patterns = {"completion": {"excludedFiles": ["!", "*.txt"]}}
        await one.step("a bad pattern", configured(patterns), told={SHOW: 1})
        one.settings = {"completion": {"debounceMs": -1}}
        await one.step("settings that are pulled", configured(None), told={SHOW: 1, "workspace/configuration": 1})
        url = {"engine": {"url": "https://a.example"}}
        await one.step("a server that a folder chooses", configured(url), told={SHOW: 1})
        await one.step("settings that are none", configured("none"), told={SHOW: 1})
        for method, params in (
            *(("codellama/nonsense", {}), ("textDocument/inlineCompletion", {}), ("textDocument/inlineCompletion", [])),
            *(("codeAction/resolve", {"title": "t"}), ("codeAction/resolve", {"title": "t", "data": {"uri": "x:y"}})),
            *(
                executed("codellama.nonsense"),
                executed("codellama.apply"),
                executed("codellama.explain", {"uri": "x:y"}),
            ),
            *(("codellama/edit", {}), ("codellama/edit", {"textDocument": {"uri": 1}}), ("codellama/edit/accept", {})),
            *(("codellama/edit/accept", {"id": "no"}), ("codellama/edit/reject", {"id": "no"})),
            *(("codellama/edit/followUp", {"id": "no"}), ("codellama/edit/cancel", {"id": "no"})),
            *(("codellama/chat", {"text": 1}), ("codellama/chat", {"text": "a", "conversation": "no"})),
            *(("codellama/chat", {"regenerate": True}), ("codellama/chat", {"text": "#file:nowhere.py"})),
            *(("codellama/chat", {"text": "/nonsense"}), ("codellama/chat/export", {}), ("codellama/answer", {})),
            *(("codellama/answer", {"messages": [{"role": "tool"}]}), ("codellama/chat/drop", {"conversation": "no"})),
            *(("codellama/commitMessage", {"repository": "file:///nowhere"}), ("codellama/stats", {"days": "x"})),
        ):
            await one.step(f"a mistake: {method}", (method, params))
        await ended(one)
    compare("stdio/mistakes.txt", one.text)


async def test_actions_and_edits_are_recorded(runtime, folder, monkeypatch):
    fixed, words = block(BODY.format(1, "a + x")), "I can't do that.\n"
    test = block("from a import f\n\n\ndef test_f():\n    assert f(1) == 1\n")
    answers = [fixed, words, test, fixed, block(BODY.format(2, "a - x")), fixed, "What it does.\n"]
    async with session(runtime, folder, monkeypatch, answers) as one:
        await ready(one, folder, FULL)
        await one.step("nothing to act on", opened(folder, CODE), actions(folder, (1, 0)))
        (found,) = await one.step("actions in a function, with a problem", actions(folder, (4, 9), problems=[PROBLEM]))
        await one.step("of one kind alone", actions(folder, (4, 9), ["quickfix"], [PROBLEM]))
        offered = {action["title"]: action for action in found if "data" in action}
        fix, rest = next(iter(offered.values())), list(offered.values())[1:]
        bar = {CREATE: 1}
        await one.step("resolve: a fix", ("codeAction/resolve", fix), told={**bar, END: 1}, held=True)
        await one.step("resolve: no code comes", ("codeAction/resolve", rest[0]), told={**bar, SHOW: 1})
        tests = next(action for action in rest if action["data"]["task"] == "tests")
        await one.step("resolve: a new file", ("codeAction/resolve", tests), told=bar)
        await _edits(one, folder)
        argument = {"uri": (folder / "a.py").as_uri(), "range": span((3, 0), (5, 0))}
        shown = {"window/showDocument": 1, **bar}
        await one.step("an explanation is shown", executed("codellama.explain", argument), told=shown)
        await ended(one)
    compare("stdio/edits.txt", one.text)


async def _edits(one: Session, folder: Path) -> None:
    """Accept one edit hunk by hunk with a follow-up in between; cancel another."""
    document = {"textDocument": {"uri": (folder / "a.py").as_uri()}, "range": span((4, 0), (4, 0))}
    tokens = {"partialResultToken": "drawn", "workDoneToken": "done"}
    asked = {**document, "id": "mine", "instruction": "Add x.", **tokens}
    await one.step("an edit, drawn as it comes", ("codellama/edit", asked), told={END: 1})
    again = {"id": "mine", "instruction": "Subtract it."}
    await one.step("followed up", ("codellama/edit/followUp", again))
    await one.step("one change rejected", ("codellama/edit/reject", {"id": "mine", "hunk": 0}))
    await one.step("decided already", ("codellama/edit/accept", {"id": "mine", "hunk": 0}))
    await one.step("the rest accepted", ("codellama/edit/accept", {"id": "mine"}), told={APPLY_EDIT: 1})
    await one.step("it is over", ("codellama/edit/reject", {"id": "mine"}))
    text = CODE.replace("return a", "return a - x")
    await one.step("another", changed(folder, 2, text), ("codellama/edit", {**document, "instruction": "x", "id": "b"}))
    await one.step("the same name", ("codellama/edit", {**document, "instruction": "x", "id": "b"}))
    await one.step("cancelled", ("codellama/edit/cancel", {"id": "b"}))


async def test_chat_is_recorded(runtime, folder, monkeypatch):
    subject = "Add y\n\nIt was missing.\n"
    answers = ["Say\n```python\nx = 1\n```\n", "Again.\n", "More.\n", "Doc.\n", subject, block(subject, ""), "Free.\n"]
    async with session(runtime, folder, monkeypatch, answers) as one:
        await ready(one, folder, FULL)
        tokens = {"partialResultToken": "said", "workDoneToken": "done"}
        text = "What does #file:c.py do?"
        asked = {"text": text, "textDocument": {"uri": (folder / "a.py").as_uri()}, "range": span((3, 0), (5, 12))}
        first = ("codellama/chat", {**asked, **tokens})
        (answer,) = await one.step("a question", opened(folder, CODE), first, told={END: 1})
        named = {"conversation": answer["conversation"]}
        await one.step("written anew", ("codellama/chat", {**named, "regenerate": True}))
        await one.step("the next question", ("codellama/chat", {**named, "text": "Why?"}))
        await one.step("a private file", ("codellama/chat", {"text": "What is in #file:.env?"}))
        slash = {**asked, "text": "/doc", "diagnostics": [PROBLEM]}
        await one.step("a task", ("codellama/chat", slash))
        await one.step("all", ("codellama/chat/list", {}), ("codellama/chat/export", named))
        await one.step("a new one, and one dropped", ("codellama/chat/new", {}), ("codellama/chat/drop", named))
        await one.step("what is left", ("codellama/chat/list", {}))
        commit = ("codellama/commitMessage", {"partialResultToken": "message"})
        await one.step("a commit message", commit)
        await one.step("one in a block", ("codellama/commitMessage", {"repository": folder.as_uri()}))
        messages = [{"role": "system", "content": "Be short."}, {"role": "user", "content": "Hi"}]
        answering = ("codellama/answer", {"messages": messages, "partialResultToken": "free"})
        await one.step("the model alone", answering, ("codellama/answer/model", {}))
        shutil.rmtree(folder / ".git")
        await one.step("without a repository", ("codellama/commitMessage", {}))
        await ended(one)
    compare("stdio/chat.txt", one.text)


async def test_plain_editor_is_recorded(runtime, folder, monkeypatch):
    """One without inline completion, which can't resolve actions either."""
    async with session(runtime, folder, monkeypatch, [block(BODY.format(1, "a + x"))]) as one:
        await ready(one, folder, PLAIN)
        where = {"textDocument": {"uri": (folder / "a.py").as_uri()}, "position": at(4, 8)}
        await one.step("plain completion", opened(folder, CODE), ("textDocument/completion", where))
        (found,) = await one.step("actions are commands", actions(folder, (4, 9), problems=[PROBLEM]))
        command = next(action for action in found if action["command"] == "codellama.apply")
        await one.step("one is run", executed(command["command"], *command["arguments"]), told={APPLY_EDIT: 1})
        await ended(one)
    compare("stdio/plain_editor.txt", one.text)


async def test_neovim_is_recorded(runtime, folder, monkeypatch):
    """Units of UTF-8, and lines that hold no CR."""
    async with session(runtime, folder, monkeypatch, []) as one:
        one.engine.pieces = ["\n", "    return 1"]
        capabilities = {**FULL, "general": {"positionEncodings": ["utf-8"]}, "experimental": {"codellamaStatus": True}}
        await ready(one, folder, capabilities, "Neovim")
        text = "s = '😋'\r\ndef f():\r\n\r\nx = 1\r\n"
        await one.step("several lines", opened(folder, text), inline(folder, 1, 8), asks=1)
        await ended(one)
    compare("stdio/neovim.txt", one.text)


async def test_engine_that_is_not_ready_is_recorded(runtime, folder, monkeypatch):
    async with session(runtime, folder, monkeypatch, [], phase="loading") as one:
        await one.step("initialize", initialize(folder, FULL))
        await one.step("initialized", ("!initialized", {}), told={CREATE: 1, BEGIN: 1}, held=True)
        await one.client.until(lambda: any(p["params"]["progress"] == 40 for p in statuses(one)))
        await one.step("a completion", opened(folder, "x = "), inline(folder, 0, 4))
        await one.step("a question", ("codellama/chat", {"text": "Hi"}))
        await one.step("the model", ("codellama/answer/model", {}), ("codellama/trace", {}))
        one.running.service.board.post(phase="failed", message="It can't be loaded.")
        await one.step("loading fails", told={SHOW: 1})
        await one.step("a question", ("codellama/chat", {"text": "Hi"}))
        await ended(one)
    compare("stdio/not_ready.txt", one.text)
