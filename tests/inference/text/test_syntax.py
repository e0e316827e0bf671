"""Blocks of code, by grammar and by indentation."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from inference.text.syntax import blocks, parse, parser

BODIES = {
    "python": ("def f(x):\n    if x:\n        a = 1\n        b = 2\n    return x\n", "a = 1\n        b = 2"),
    "javascript": ("function f(x) {\n  if (x) {\n    a();\n    b();\n  }\n}\n", "a();\n    b();"),
    "typescript": ("function f(x: number) {\n  if (x) {\n    a();\n    b();\n  }\n}\n", "a();\n    b();"),
    "typescriptreact": ("const F = () => {\n  a();\n  return <p>hi</p>;\n};\n", "a();\n  return <p>hi</p>;"),
    "java": ("class A {\n  void f() {\n    a();\n    b();\n  }\n}\n", "a();\n    b();"),
    "c": ("int f(int x) {\n  int y = x;\n  return y;\n}\n", "int y = x;\n  return y;"),
    "cpp": ("auto f(int x) {\n  auto y = x;\n  return y;\n}\n", "auto y = x;\n  return y;"),
    "csharp": ("class A {\n  void F() {\n    G();\n    H();\n  }\n}\n", "G();\n    H();"),
    "go": ("package p\nfunc f() {\n\ta()\n\tb()\n}\n", "a()\n\tb()"),
    "rust": ("fn f() {\n    a();\n    b();\n}\n", "a();\n    b();"),
    "php": ("<?php\nfunction f() {\n  a();\n  b();\n}\n", "a();\n  b();"),
    "bash": ("f() {\n  echo a\n  echo b\n}\n", "echo a\n  echo b"),
    "ruby": ("def f\n  a = 1\n  b = 2\nend\n", "a = 1\n  b = 2"),
}


@pytest.mark.parametrize("language", BODIES)
def test_content_of_a_body_is_a_block(language: str) -> None:
    text, body = BODIES[language]
    assert body in [text[begin:end] for begin, end in blocks(language, text)]


def test_block_does_not_share_its_lines() -> None:
    text = "x = call(\n    1,\n)\nif a: b = [\n    2,\n]\n"
    found = [text[begin:end] for begin, end in blocks("python", text)]
    assert "x = call(\n    1,\n)" in found
    assert not any(block.startswith(("b", "[", "call")) for block in found)


def test_offsets_count_characters_not_bytes() -> None:
    text = "# 😋é\ndef f():\n    a = 'ü'\n    return a\n"
    assert "a = 'ü'\n    return a" in [text[begin:end] for begin, end in blocks("python", text)]


def test_blocks_have_the_requested_number_of_lines() -> None:
    text = "def f():\n" + "".join(f"    x{n} = {n}\n" for n in range(20))
    assert blocks("python", text, range(1, 13)) == []
    assert [text.count("\n", *span) + 1 for span in blocks("python", text, range(20, 22))] == [21, 20]


def test_invalid_code_is_split_by_indentation() -> None:
    text = "def broken(:\n    a = 1\n    b = 2\n\nx = 1\n"
    assert [text[begin:end] for begin, end in blocks("python", text)] == ["a = 1\n    b = 2"]


def test_each_thread_has_its_own_parsers():
    """A parser handles one text at a time; sharing one between threads would crash."""
    with ThreadPoolExecutor(1) as other:
        assert other.submit(parser, "python").result() is not parser("python")
        assert other.submit(parser, "ruby").result() is None
    assert parser("python") is parser("python")


@pytest.mark.parametrize("seconds", [5.0, -1.0])
def test_parsed_text_is_not_leaked(seconds: float) -> None:
    """tree-sitter leaks the objects that its read callback returns."""
    data = bytes(bytearray(b"def f(x):\n    return x\n" * 400))
    before = sys.getrefcount(data)
    tree = parse("python", data, seconds)
    assert (tree is None) == (seconds < 0)
    del tree
    assert sys.getrefcount(data) == before


def test_text_longer_than_the_read_buffer_is_parsed() -> None:
    data = ("# \u00e9\U0001f600\n" + "x = 'a \u00e9'\n" * 3000 + "def f():\n    return (1\n").encode()
    tree, whole = parse("python", data, 5.0), parser("python")
    assert tree is not None
    assert whole is not None
    assert str(tree.root_node) == str(whole.parse(data).root_node)
