"""The language server of a session stays small after many requests."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest
from support.editor_session import editor_session

pytestmark = [pytest.mark.starter, pytest.mark.slow]

MOST = 90_000_000
"""Bytes of resident memory; 80 million were measured after completions in eleven languages."""

FILES = {
    "python": ("a.py", "def add(a, b):\n    return "),
    "javascript": ("a.js", "function add(a, b) {\n    return "),
    "typescript": ("a.ts", "function add(a: number, b: number): number {\n    return "),
    "java": ("A.java", "class A {\n    int add(int a, int b) { return "),
    "c": ("a.c", "int add(int a, int b) {\n    return "),
    "cpp": ("a.cpp", "int add(int a, int b) {\n    return "),
    "csharp": ("a.cs", "class A {\n    int Add(int a, int b) { return "),
    "php": ("a.php", "<?php\nfunction add($a, $b) { return "),
    "shellscript": ("a.sh", "add() {\n    echo "),
    "go": ("a.go", "package a\nfunc add(a int, b int) int { return "),
    "rust": ("a.rs", "fn add(a: i32, b: i32) -> i32 {\n    return "),
}
"""One file per language, so that every grammar is loaded."""


async def test_language_server_stays_under_90_mb_with_a_loaded_engine(starter_folder: Path, runtime: Path):
    settings = {"engine": {"graceSeconds": 1}, "completion": {"prefixChars": 300, "maxTokens": 16}}
    async with editor_session(settings=settings) as editor:
        server = psutil.Process(editor.pid)
        shown = 0
        for language, (name, text) in FILES.items():
            uri = f"file:///project/{name}"
            long = f"{text.splitlines()[0]}\n" * 400 + text
            editor.open(long, uri, language)
            lines = long.splitlines()
            shown += len(await editor.inline(len(lines) - 1, len(lines[-1]), uri=uri))
        resident = server.memory_info().rss
    assert shown > 0
    assert resident < MOST
