"""The code of the code action tests: a function with an undefined name, and the actions offered for it."""

from __future__ import annotations

from fakes.scripted_model import block
from support.simulated_user import problem

CODE = "import os\n\n\ndef f(a):\n    x = foo\n    return a\n\n\nprint(os, f)\n"
BODY = "def f(a):\n    x = {}\n    return {}"
UNDEFINED = problem(4, '"foo" is not defined', 8, 11)
GOOD = block(BODY.format(1, "a + x"))
EDITORS = ("vscode", "neovim")
FIX = 'Fix: "foo" is not defined'
OTHERS = ["Document 'f'", "Add types to 'f'", "Write tests for 'f' in test_a.py", "Simplify 'f'"]


def titles(actions) -> list[str]:
    return [one.title for one in actions]
