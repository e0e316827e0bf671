"""Code from a model's answer: the fenced block, its completeness and its indentation."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lsp_server.edits.model_answer import dedent, fence_for, parse_answer, reindent


@pytest.mark.parametrize(
    ("text", "cause", "code", "whole"),
    [
        ("```python\nx = 1\n```\n", "end", "x = 1", True),
        ("Sure! Here it is:\n\n```python\nx = 1\n```\nIt works.\n```\ny\n```", "end", "x = 1", True),
        ("~~~\nx\n~~~", "end", "x", True),
        ("````md\n```\nx\n```\n````", "end", "```\nx\n```", True),
        ("```\r\na\r\n    b\r\n```", "end", "a\n    b", True),
        # an indented fence, or one with an info string, belongs to the code
        ('```python\ndef f():\n    """\n    ```\n    x\n    ```\n    """\n```', "end", None, True),
        # an unindented nested fence is recognised by its info string
        ("```md\n# A\n```sh\nls\n```\nB\n```\nThat's it.", "end", "# A\n```sh\nls\n```\nB", True),
        ("```md\n~~~sh\n```\nx\n```", "end", "~~~sh", True),
        ("```md\n````sh\n```\n````\nB\n```", "end", "````sh\n```\n````\nB", True),
        ("````md\n```sh\n````\nB", "end", "```sh", True),
        ("```md\n```sh\nls\n```\nB", "length", "```sh\nls\n```\nB", False),
        ("```py\nx\n```py\ny\n```\nDone.", "end", "x\n```py\ny", True),
        # without a fence: the whole answer
        ("\n\nx = 1\ny = 2\n\n", "end", "x = 1\ny = 2", True),
        ("    x = 1", "end", "    x = 1", True),
        # cut off
        ("```python\nx = 1\n", "end", "x = 1", False),
        ("```python\nx = 1\n", "length", "x = 1", False),
        ("x = 1", "length", "x = 1", False),
        ("x = 1", "deadline", "x = 1", False),
        # the answer is cut off, the code is complete
        ("```\nx = 1\n```\nAnd now let me", "length", "x = 1", True),
        ("", "end", "", True),
        ("```\n```", "end", "", True),
    ],
)
def test_first_fenced_block_or_whole_answer_is_the_code(text, cause, code, whole):
    answer = parse_answer(text, cause)
    if code is None:
        code = 'def f():\n    """\n    ```\n    x\n    ```\n    """'
    assert (answer.code, answer.whole) == (code, whole)


@pytest.mark.parametrize(
    ("code", "original", "result"),
    [
        ("def f():\n    x", "    def f():\n        y", "    def f():\n        x"),
        ("\tdef f():\n\t\tx", "    def f():\n        y", "    def f():\n    \tx"),
        ("        a\n            b", "    a\n        c", "    a\n        b"),
        ("a\n\nb", "\ta\n\tc", "\ta\n\n\tb"),
        ("a", "    ", "    a"),
        ("    a", "a", "a"),
        ("  a\nb", "a", "a\nb"),
    ],
)
def test_code_gets_the_indentation_of_the_original(code, original, result):
    assert reindent(code, original) == result


HEREDOC = "    if a; then\n        cat <<END\nleft\nEND\n    fi"


@pytest.mark.parametrize(
    ("code", "original", "result"),
    [
        # a model that removes the indentation leaves the heredoc as it is
        ("if b; then\n    cat <<END\nleft\nEND\nfi", HEREDOC, HEREDOC.replace("if a", "if b")),
        ("      if b; then\n          cat <<END\nleft\nEND\n      fi", HEREDOC, HEREDOC.replace("if a", "if b")),
        ("#ifdef A\nf();\n#endif", "\tf();\n#endif", "\t#ifdef A\n\tf();\n#endif"),
        ("x = 2\n  y", "    x = 1\n  y", "    x = 2\n  y"),
        # a selection that starts deeper than it ends, as in the prompt
        ("    x = 2\nreturn x", "        x = 1\n    return x", "        x = 2\n    return x"),
    ],
)
def test_lines_with_less_indentation_stay_where_they_are(code, original, result):
    """An indented heredoc delimiter would not end it; shifting a multi-line string would change its value."""
    assert reindent(code, original) == result


@given(st.lists(st.sampled_from(["a", "    b", "\tc", ""]), max_size=5), st.sampled_from(["", "    ", "\t", "  "]))
def test_dedent_and_reindent_are_inverse(lines, lead):
    code = "\n".join(f"{lead}{line}" if line else "" for line in ["x", *lines])
    bare, taken = dedent(code)
    assert taken == lead
    assert reindent(bare, code) == code


def test_fence_is_longer_than_any_in_the_code():
    assert fence_for("a\n```\nb") == "````"
    assert fence_for("a `b` c") == "```"
