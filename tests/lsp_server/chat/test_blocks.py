"""Code blocks of an answer, as an editor may insert them."""

from __future__ import annotations

from lsp_server.chat.markdown import CodeBlock, code_blocks


def test_blocks_with_their_languages_and_places() -> None:
    answer = "Do:\n```Python title=x\ndef f():\n    pass\n```\nor\n~~~\na ``` b\n~~~\n"
    assert code_blocks(answer) == [
        CodeBlock("python", "def f():\n    pass\n", 1, 4, True),
        CodeBlock("", "a ``` b\n", 6, 8, True),
    ]


def test_answer_that_was_broken_off_in_a_block() -> None:
    """It may be shown, and should not be applied."""
    assert code_blocks("```js\nlet a") == [CodeBlock("js", "let a\n", 0, 2, False)]


def test_a_longer_fence_holds_shorter_ones() -> None:
    assert code_blocks("````md\n```\nx\n```\n````") == [CodeBlock("md", "```\nx\n```\n", 0, 4, True)]


def test_an_indented_block_loses_its_fences_indentation() -> None:
    assert code_blocks("  ```\n  a\n    b\n c\n  ```") == [CodeBlock("", "a\n  b\nc\n", 0, 4, True)]


def test_what_is_no_block() -> None:
    assert code_blocks("`a` and ``b``\n    ```\n```inline``` code") == []


def test_an_empty_block_and_one_after_it() -> None:
    assert [(b.code, b.start, b.stop) for b in code_blocks("```\n```\n```c\nx\n```")] == [("", 0, 1), ("x\n", 2, 4)]
