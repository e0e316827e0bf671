"""What a task must leave alone: a docstring changes no code, a type changes no behaviour. Pure; by syntax.

Knows no model. Where a text can't be parsed, nothing is said of it.

Is a rewrite good enough to be offered? If not, why not, in sentences that a model can act on and a person can read.

Pure. Knows what the task asked for, and nothing of how the rewrite came about.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass

from inference.text.syntax import parse
from lsp_server.completion.postprocess.syntax_check import faults
from lsp_server.edits import python_problems
from lsp_server.edits.python_problems import compiles

_SECONDS = 0.15

_DOCUMENTED = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def same_code(language: str, before: str, after: str) -> bool:
    """Is all the same but comments and docstrings?"""
    if language == "python":
        return _same_programs(before, after, types=False)
    old, new = _tokens(language, before), _tokens(language, after)
    return old is None or new is None or old == new


def same_behaviour(language: str, before: str, after: str) -> bool:
    """Is all the same but annotations, comments and docstrings? Told of Python alone."""
    return language != "python" or _same_programs(before, after, types=True)


def _same_programs(before: str, after: str, *, types: bool) -> bool:
    """What is nested too deep to be told apart is not called the same."""
    if not compiles(before) or not compiles(after):
        return True
    try:
        return _stripped(before, types=types) == _stripped(after, types=types)
    except RecursionError:
        return False


def _stripped(text: str, *, types: bool) -> list[str]:
    """The program in words, without docstrings and, with ``types``, without annotations."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, _DOCUMENTED):
            node.body = [one for n, one in enumerate(node.body) if not _says_nothing(one, first=not n)]
        if types:
            _untype(node)
    return _words(tree)


def _words(tree: ast.AST) -> list[str]:
    """What ``ast.dump`` tells, without its recursion: a sum of a thousand numbers is nested a thousand deep."""
    found: list[str] = []
    waiting: list[object] = [tree]
    while waiting:
        one = waiting.pop()
        if isinstance(one, ast.AST):
            found.append(type(one).__name__)
            waiting += [getattr(one, name, None) for name in one._fields]
        elif isinstance(one, list):
            found.append(f"{len(one)} of")
            waiting += one
        else:
            found.append(repr(one))
    return found


def _says_nothing(statement: ast.stmt, *, first: bool) -> bool:
    """A docstring; also ``pass``, which a body of its docstring alone does without."""
    if isinstance(statement, ast.Pass):
        return True
    value = statement.value if isinstance(statement, ast.Expr) else None
    return first and isinstance(value, ast.Constant) and isinstance(value.value, str)


def _untype(node: ast.AST) -> None:
    if isinstance(node, ast.arg):
        node.annotation = None
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        node.returns = None
    for name in ("body", "orelse", "finalbody"):
        if isinstance(statements := getattr(node, name, None), list):
            setattr(node, name, [_assigned(one) for one in statements if not _only_declares(one)])


def _only_declares(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.AnnAssign) and statement.value is None


def _assigned(statement: ast.stmt) -> ast.stmt:
    if isinstance(statement, ast.AnnAssign) and statement.value is not None:
        return ast.Assign([statement.target], statement.value)
    return statement


def _tokens(language: str, text: str) -> list[bytes] | None:
    """All but comments; None where it can't be parsed."""
    data = text.encode(errors="replace")
    tree = parse(language, data, _SECONDS)
    if tree is None:
        return None
    found, waiting = [], [tree.root_node]
    while waiting:
        node = waiting.pop()
        if "comment" in node.type:
            continue
        if not node.children:
            found.append(data[node.start_byte : node.end_byte])
        waiting += reversed(node.children)
    return found


AROUND = 40_000
"""Characters before and after the change that are parsed with it."""

_LEFT_OUT = re.compile(
    r"^\s*(?:#|//|--|/\*|<!--)\s*(?:\.\.\.|…|(?:the )?(?:rest|remainder) of|(?:existing|remaining|other) code)",
    re.IGNORECASE | re.MULTILINE,
)


@dataclass(frozen=True, slots=True)
class Reported:
    """What a diagnostic says of a document; ``line`` is zero-based."""

    line: int
    message: str


@dataclass(frozen=True, slots=True)
class Change:
    """A piece of a document and its rewrite, all with LF.

    Attributes:
        before: the document's text before the piece, ``after`` that behind it.
        whole: the model came to its end.
        reported: the problem to be fixed, if that is the task.
    """

    task: str
    language: str
    before: str
    original: str
    after: str
    rewrite: str
    whole: bool = True
    reported: Reported | None = None

    @property
    def old(self) -> str:
        return self.before + self.original + self.after

    @property
    def new(self) -> str:
        return self.before + self.rewrite + self.after


def failure(change: Change) -> str:
    """What is wrong with it, or an empty string. The gravest comes first, and alone."""
    if not change.whole:
        return "The answer broke off before its end."
    if not change.rewrite.strip():
        return "The answer holds no code."
    if _plain(change.rewrite) == _plain(change.original):
        return "The answer is the same code as before."
    if (left_out := _LEFT_OUT.search(change.rewrite)) and left_out.group().strip() not in change.original:
        return "The answer leaves out code that is to stay."
    return _of_syntax(change) or _of_task(change) or (_of_python(change) if change.language == "python" else "")


def parses_no_worse(language: str, old: str, new: str) -> bool:
    """Has a text no more faults than before, as far as its grammar can tell in time?"""
    had, has = faults(language, old), faults(language, new)
    return had is None or has is None or has <= had


def _plain(code: str) -> list[str]:
    """Without blanks at the ends of lines, which nobody asks for."""
    return [line.rstrip() for line in code.strip("\n").split("\n")]


def _of_syntax(change: Change) -> str:
    if change.language == "python" and python_problems.compiles(change.old):
        problem = python_problems.parsed(change.new)
        if isinstance(problem, python_problems.Problem):
            return f"The answer does not parse: {problem.sentence}{_where(change, problem.line)}."
    before, after = change.before[-AROUND:], change.after[:AROUND]
    if not parses_no_worse(change.language, before + change.original + after, before + change.rewrite + after):
        return "The answer does not parse, or does not fit where it is to stand."
    return ""


def _of_task(change: Change) -> str:
    if change.task == "document" and not same_code(change.language, change.old, change.new):
        return "The answer changes the code itself, not only its documentation."
    if change.task == "types" and not same_behaviour(change.language, change.old, change.new):
        return "The answer changes more than the types."
    return ""


def _of_python(change: Change) -> str:
    fixing = change.reported is not None
    new = python_problems.new_problems(change.old, change.new, unresolved=not fixing)
    if new:
        return f"The answer brings a new problem: {new[0].sentence}{_where(change, new[0].line)}."
    if change.reported is None:
        return ""
    told = python_problems.told_by(
        change.old, change.reported.line, change.reported.message, _lines(change, change.original)
    )
    left = python_problems.still_there(told, change.old, change.new, _lines(change, change.rewrite))
    return f"The problem is still there: {left.sentence}{_where(change, left.line)}." if left else ""


def _where(change: Change, line: int) -> str:
    """The line's text, where it is one of the answer's: numbers would be the file's, which a model does not see."""
    lines = change.new.split("\n")
    if line in _lines(change, change.rewrite) and lines[line].strip():
        return f", in `{lines[line].strip()[:120]}`"
    return ""


def _lines(change: Change, piece: str) -> range:
    """The lines that the original or the rewrite takes up."""
    first = change.before.count("\n")
    return range(first, first + piece.count("\n") + 1)
