"""The code in an answer: which part it is, whether it is all of it, and how far it is indented."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lsp_server.edits.model_answer import dedented, fence_for, fitted, read


@pytest.mark.parametrize(
    ("text", "cause", "code", "whole"),
    [
        ("```python\nx = 1\n```\n", "end", "x = 1", True),
        ("Sure! Here it is:\n\n```python\nx = 1\n```\nIt works.\n```\ny\n```", "end", "x = 1", True),
        ("~~~\nx\n~~~", "end", "x", True),
        ("````md\n```\nx\n```\n````", "end", "```\nx\n```", True),
        ("```\r\na\r\n    b\r\n```", "end", "a\n    b", True),
        # a fence within the code is indented, or brings a word with it
        ('```python\ndef f():\n    """\n    ```\n    x\n    ```\n    """\n```', "end", None, True),
        # or is not, and is told from the block's own by the word it begins with
        ("```md\n# A\n```sh\nls\n```\nB\n```\nThat's it.", "end", "# A\n```sh\nls\n```\nB", True),
        ("```md\n~~~sh\n```\nx\n```", "end", "~~~sh", True),
        ("```md\n````sh\n```\n````\nB\n```", "end", "````sh\n```\n````\nB", True),
        ("````md\n```sh\n````\nB", "end", "```sh", True),
        ("```md\n```sh\nls\n```\nB", "length", "```sh\nls\n```\nB", False),
        ("```py\nx\n```py\ny\n```\nDone.", "end", "x\n```py\ny", True),
        # without a fence: all of it
        ("\n\nx = 1\ny = 2\n\n", "end", "x = 1\ny = 2", True),
        ("    x = 1", "end", "    x = 1", True),
        # broken off
        ("```python\nx = 1\n", "end", "x = 1", False),
        ("```python\nx = 1\n", "length", "x = 1", False),
        ("x = 1", "length", "x = 1", False),
        ("x = 1", "deadline", "x = 1", False),
        # the answer was, the code was not
        ("```\nx = 1\n```\nAnd now let me", "length", "x = 1", True),
        ("", "end", "", True),
        ("```\n```", "end", "", True),
    ],
)
def test_first_block_or_all_of_it(text, cause, code, whole):
    answer = read(text, cause)
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
def test_as_far_indented_as_what_it_replaces(code, original, result):
    assert fitted(code, original) == result


HEREDOC = "    if a; then\n        cat <<END\nleft\nEND\n    fi"


@pytest.mark.parametrize(
    ("code", "original", "result"),
    [
        # a model that takes the indentation off takes it off the rest alone
        ("if b; then\n    cat <<END\nleft\nEND\nfi", HEREDOC, HEREDOC.replace("if a", "if b")),
        ("      if b; then\n          cat <<END\nleft\nEND\n      fi", HEREDOC, HEREDOC.replace("if a", "if b")),
        ("#ifdef A\nf();\n#endif", "\tf();\n#endif", "\t#ifdef A\n\tf();\n#endif"),
        ("x = 2\n  y", "    x = 1\n  y", "    x = 2\n  y"),
        # a selection that begins deeper than it ends, as it is shown to the model
        ("    x = 2\nreturn x", "        x = 1\n    return x", "        x = 2\n    return x"),
    ],
)
def test_what_stands_further_left_stays_there(code, original, result):
    """A heredoc's end that is indented ends nothing, and a string of several lines would say something else."""
    assert fitted(code, original) == result


@given(st.lists(st.sampled_from(["a", "    b", "\tc", ""]), max_size=5), st.sampled_from(["", "    ", "\t", "  "]))
def test_taken_off_and_put_back_is_the_same(lines, lead):
    code = "\n".join(f"{lead}{line}" if line else "" for line in ["x", *lines])
    bare, taken = dedented(code)
    assert taken == lead
    assert fitted(bare, code) == code


def test_a_fence_that_the_code_does_not_close():
    assert fence_for("a\n```\nb") == "````"
    assert fence_for("a `b` c") == "```"
