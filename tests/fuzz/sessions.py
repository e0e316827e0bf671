"""Valid messages of an editor session: everything that a client may send, to be mutated."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from support.raw_client import CAPABILITIES, document

TEXTS = (
    "x = ",
    "def f(a):\n    return \n",
    "é = '💥'\nprint(é)\r\n",
    "",
    "a\x0cb\u2028c\n" * 20,
    "\ud800 = 1\n",
    "\tif x:\n" * 300,
)
EDIT, CHAT = "codellama/edit", "codellama/chat"


class Editor:
    """An editor with a few documents. Each method returns the parameters of a request or notification."""

    def __init__(self, rng: Random, folder: Path) -> None:
        self.rng = rng
        self.folder = folder.as_uri()
        self.uris = [f"{self.folder}/{name}" for name in ("a.py", "b.py", "c é.ts", ".env")] + ["untitled:One"]
        self.version = 1

    def uri(self) -> str:
        return self.rng.choice(self.uris)

    def position(self) -> dict[str, int]:
        return {"line": self.rng.randrange(4), "character": self.rng.randrange(12)}

    def selection(self) -> dict[str, Any]:
        return {"textDocument": {"uri": self.uri()}, "range": {"start": self.position(), "end": self.position()}}

    def opened(self) -> dict[str, Any]:
        self.version += 1
        return {"textDocument": {**document(self.uri(), self.rng.choice(TEXTS)), "version": self.version}}

    def changed(self) -> dict[str, Any]:
        self.version += 1
        change: dict[str, Any] = {"text": self.rng.choice(TEXTS)}
        if self.rng.random() < 0.2:
            change["range"] = {"start": self.position(), "end": self.position()}
        return {"textDocument": {"uri": self.uri(), "version": self.version}, "contentChanges": [change]}

    def closed(self) -> dict[str, Any]:
        return {"textDocument": {"uri": self.uri()}}

    def inline(self) -> dict[str, Any]:
        context: dict[str, Any] = {"triggerKind": self.rng.choice((1, 2))}
        if self.rng.random() < 0.3:
            chosen = {"start": self.position(), "end": self.position()}
            context["selectedCompletionInfo"] = {"range": chosen, "text": "text\r\nmore"}
        return {"textDocument": {"uri": self.uri()}, "position": self.position(), "context": context}

    def completed(self) -> dict[str, Any]:
        return {"textDocument": {"uri": self.uri()}, "position": self.position(), "context": {"triggerKind": 1}}

    def actions(self) -> dict[str, Any]:
        return {
            **self.selection(),
            "context": {"diagnostics": [self.diagnostic()], "only": ["refactor"], "triggerKind": 1},
        }

    def diagnostic(self) -> dict[str, Any]:
        range_ = {"start": self.position(), "end": self.position()}
        return {
            "range": range_,
            "message": "undefined name 'x'",
            "severity": 1,
            "code": "F821",
            "source": "ruff",
            "tags": [1],
        }

    def data(self) -> dict[str, Any]:
        task = self.rng.choice(("fix", "document", "simplify", "types", "todo", "edit", "tests"))
        return {
            "uri": self.uri(),
            "version": self.version,
            "task": task,
            "start": 0,
            "stop": 3,
            "title": "T",
            "line": 1,
            "message": "m",
        }

    def resolved(self) -> dict[str, Any]:
        return {"title": "T", "kind": "refactor.rewrite", "data": self.data()}

    def command(self) -> dict[str, Any]:
        name = self.rng.choice(("codellama.apply", "codellama.accepted", "codellama.explain"))
        arguments = {"codellama.apply": [self.data()], "codellama.accepted": ["some-id"]}
        return {
            "command": name,
            "arguments": arguments.get(name, [{"uri": self.uri(), "range": self.selection()["range"]}]),
        }

    def tokens(self) -> dict[str, Any]:
        return {"partialResultToken": f"p{self.rng.randrange(9)}", "workDoneToken": self.rng.randrange(9)}

    def chat(self) -> dict[str, Any]:
        text = self.rng.choice(
            ("What is this?", "/explain @a.py", "@selection #problems", "#open", "@folder/", "\ud800")
        )
        return {
            "text": text,
            **self.selection(),
            **self.tokens(),
            "diagnostics": [self.diagnostic()],
            "regenerate": False,
        }

    def named(self) -> dict[str, Any]:
        return {
            "conversation": "one",
            "id": f"e{self.rng.randrange(4)}",
            "characters": 3,
            "hunk": 0,
            "instruction": "Shorter",
        }

    def answer(self) -> dict[str, Any]:
        return {
            "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "?"}],
            **self.tokens(),
        }

    def edit(self) -> dict[str, Any]:
        return {
            **self.selection(),
            "instruction": "Add a docstring",
            "id": f"e{self.rng.randrange(4)}",
            **self.tokens(),
        }

    def settings(self) -> dict[str, Any]:
        completion = {
            "debounceMs": 0,
            "maxTokens": 8,
            "prefetch": True,
            "excludedFiles": ["*.key"],
            "contextChars": 500,
        }
        return {
            "settings": {
                "codellama": {"completion": completion, "chat": {"maxTokens": 20}, "actions": {"prompts": ["Do"]}}
            }
        }

    def folders(self) -> dict[str, Any]:
        one = {"uri": f"{self.folder}/sub", "name": "sub"}
        return {"event": {"added": [one], "removed": [one]}}

    def initialize(self) -> dict[str, Any]:
        kinds = {"valueSet": [1, 2, 3]}
        text_document = {
            "completion": {"completionItemKind": kinds, "completionItem": {"documentationFormat": ["markdown"]}},
            "codeAction": {"codeActionLiteralSupport": {"codeActionKind": {"valueSet": ["refactor"]}}},
            "documentSymbol": {"symbolKind": kinds},
        }
        return {
            "processId": 1,
            "clientInfo": {"name": "Neovim", "version": "0.11"},
            "rootUri": self.folder,
            "capabilities": {**CAPABILITIES, "textDocument": text_document, "window": {"workDoneProgress": True}},
            "initializationOptions": self.settings()["settings"],
            "trace": "off",
            "workspaceFolders": [{"uri": self.folder, "name": "x"}],
        }

    def notebook(self) -> dict[str, Any]:
        uri = "file:///n.ipynb"
        cells = [{"kind": 2, "document": self.uri()}]
        book = {"uri": uri, "notebookType": "jupyter", "version": 1, "cells": cells}
        return {
            "notebookDocument": book,
            "cellTextDocuments": [document("vscode-notebook-cell:1", "x = ")],
            "change": {},
        }

    @property
    def requests(self) -> dict[str, Callable[[], Any]]:
        inline = "textDocument/inlineCompletion"
        few = {"codellama/commitMessage": self.chat} if self.rng.random() < 0.1 else {}  # it runs git
        return few | {
            inline: self.inline,
            "textDocument/completion": self.completed,
            "textDocument/codeAction": self.actions,
            "codeAction/resolve": self.resolved,
            "workspace/executeCommand": self.command,
            CHAT: self.chat,
            **{f"{CHAT}/{name}": self.named for name in ("new", "list", "drop", "export")},
            "codellama/answer": self.answer,
            "codellama/answer/model": dict,
            EDIT: self.edit,
            **{f"{EDIT}/{name}": self.named for name in ("followUp", "accept", "reject", "cancel")},
            "codellama/stats": lambda: {"days": 3},
            "codellama/trace": dict,
            "initialize": self.initialize,
            "window/showMessage": dict,
            "no/such": dict,
        }

    @property
    def notifications(self) -> dict[str, Callable[[], Any]]:
        opening: dict[str, Callable[[], Any]] = {f"textDocument/did{name}": call for name, call in (
            ("Open", self.opened), ("Change", self.changed), ("Close", self.closed))}  # fmt: skip
        return opening | {
            "workspace/didChangeConfiguration": self.settings,
            "workspace/didChangeWorkspaceFolders": self.folders,
            "codellama/didShow": self.named,
            "codellama/didAccept": self.named,
            "codellama/didPartiallyAccept": self.named,
            **{f"notebookDocument/did{name}": self.notebook for name in ("Open", "Change", "Close")},
            "window/workDoneProgress/cancel": lambda: {"token": self.rng.randrange(9)},
            "$/setTrace": lambda: {"value": "messages"},
            "$/progress": lambda: {"token": "p1", "value": {"kind": "report"}},
        }
