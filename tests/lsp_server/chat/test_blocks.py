"""Code blocks of an answer."""

from __future__ import annotations

from lsp_server.chat.markdown import CodeBlock, code_blocks


def test_blocks_have_language_code_and_lines() -> None:
    answer = "Do:\n```Python title=x\ndef f():\n    pass\n```\nor\n~~~\na ``` b\n~~~\n"
    assert code_blocks(answer) == [
        CodeBlock("python", "def f():\n    pass\n", 1, 4, True),
        CodeBlock("", "a ``` b\n", 6, 8, True),
    ]


def test_unfinished_block_is_marked_as_not_closed() -> None:
    """Clients may display it but should not apply it."""
    assert code_blocks("```js\nlet a") == [CodeBlock("js", "let a\n", 0, 2, False)]


def test_longer_fence_contains_shorter_ones() -> None:
    assert code_blocks("````md\n```\nx\n```\n````") == [CodeBlock("md", "```\nx\n```\n", 0, 4, True)]


def test_indentation_of_the_fence_is_removed() -> None:
    assert code_blocks("  ```\n  a\n    b\n c\n  ```") == [CodeBlock("", "a\n  b\nc\n", 0, 4, True)]


def test_inline_code_is_not_a_block() -> None:
    assert code_blocks("`a` and ``b``\n    ```\n```inline``` code") == []


def test_empty_block_and_its_successor_are_found() -> None:
    assert [(b.code, b.start, b.stop) for b in code_blocks("```\n```\n```c\nx\n```")] == [("", 0, 1), ("x\n", 2, 4)]
