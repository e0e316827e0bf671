"""Validate a rewrite before it is offered: it must be complete, parse, and change only what the task allows.

``failure`` returns one sentence that goes into the retry prompt and, after the last try, to the user. Texts that cannot
be parsed count as unchanged.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass

from inference.text.syntax import parse
from lsp_server.completion.postprocess.syntax_check import faults
from lsp_server.edits import python_problems

_PARSE_SECONDS = 0.15
"""CPU time limit for parsing one text."""

_DOCUMENTED = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef

AROUND = 40_000
"""Characters parsed before and after the change, to check its syntax in context."""

_LEFT_OUT = re.compile(
    r"^\s*(?:#|//|--|/\*|<!--)\s*(?:\.\.\.|…|(?:the )?(?:rest|remainder) of|(?:existing|remaining|other) code)",
    re.IGNORECASE | re.MULTILINE,
)


@dataclass(frozen=True, slots=True)
class ReportedProblem:
    """A diagnostic to fix: its message and zero-based line."""

    line: int
    message: str


@dataclass(frozen=True, slots=True)
class Change:
    """A part of a document and its rewrite. All texts have LF line ends.

    Attributes:
        before: the document's text before ``original``.
        after: the document's text after it.
        whole: the model finished its answer.
        reported: the problem to fix, for the task ``fix``.
    """

    task: str
    language: str
    before: str
    original: str
    after: str
    rewrite: str
    whole: bool = True
    reported: ReportedProblem | None = None

    @property
    def old(self) -> str:
        return self.before + self.original + self.after

    @property
    def new(self) -> str:
        return self.before + self.rewrite + self.after


def failure(change: Change) -> str:
    """Return the most serious fault as a sentence; empty if the rewrite can be offered."""
    if not change.whole:
        return "The answer broke off before its end."
    if not change.rewrite.strip():
        return "The answer holds no code."
    if _stripped_lines(change.rewrite) == _stripped_lines(change.original):
        return "The answer is the same code as before."
    if (left_out := _LEFT_OUT.search(change.rewrite)) and left_out.group().strip() not in change.original:
        return "The answer leaves out code that is to stay."
    return (
        _syntax_failure(change)
        or _task_failure(change)
        or (_python_failure(change) if change.language == "python" else "")
    )


def parses_no_worse(language: str, old: str, new: str) -> bool:
    """Return True if ``new`` has no more syntax errors than ``old``, or if either cannot be parsed in time."""
    had, has = faults(language, old), faults(language, new)
    return had is None or has is None or has <= had


def same_code(language: str, before: str, after: str) -> bool:
    """Return True if only comments and docstrings differ."""
    if language == "python":
        return _same_programs(before, after, types=False)
    old, new = _tokens(language, before), _tokens(language, after)
    return old is None or new is None or old == new


def same_behaviour(language: str, before: str, after: str) -> bool:
    """Return True if only annotations, comments and docstrings differ. Other languages than Python are not checked."""
    return language != "python" or _same_programs(before, after, types=True)


def _stripped_lines(code: str) -> list[str]:
    """Return the lines without trailing blanks."""
    return [line.rstrip() for line in code.strip("\n").split("\n")]


def _syntax_failure(change: Change) -> str:
    if change.language == "python" and python_problems.compiles(change.old):
        problem = python_problems.parsed(change.new)
        if isinstance(problem, python_problems.Problem):
            return f"The answer does not parse: {problem.sentence}{_where(change, problem.line)}."
    before, after = change.before[-AROUND:], change.after[:AROUND]
    if not parses_no_worse(change.language, before + change.original + after, before + change.rewrite + after):
        return "The answer does not parse, or does not fit where it is to stand."
    return ""


def _task_failure(change: Change) -> str:
    if change.task == "document" and not same_code(change.language, change.old, change.new):
        return "The answer changes the code itself, not only its documentation."
    if change.task == "types" and not same_behaviour(change.language, change.old, change.new):
        return "The answer changes more than the types."
    return ""


def _python_failure(change: Change) -> str:
    fixing = change.reported is not None
    new = python_problems.new_problems(change.old, change.new, unresolved=not fixing)
    if new:
        return f"The answer brings a new problem: {new[0].sentence}{_where(change, new[0].line)}."
    if change.reported is None:
        return ""
    candidates = python_problems.matching(
        change.old, change.reported.line, change.reported.message, _lines(change, change.original)
    )
    left = python_problems.still_there(candidates, change.old, change.new, _lines(change, change.rewrite))
    return f"The problem is still there: {left.sentence}{_where(change, left.line)}." if left else ""


def _where(change: Change, line: int) -> str:
    """Quote a line of the rewrite. Line numbers would be the file's, which the model does not see."""
    lines = change.new.split("\n")
    if line in _lines(change, change.rewrite) and lines[line].strip():
        return f", in `{lines[line].strip()[:120]}`"
    return ""


def _lines(change: Change, part: str) -> range:
    """Return the document lines that ``part`` (the original or the rewrite) occupies."""
    first = change.before.count("\n")
    return range(first, first + part.count("\n") + 1)


def _same_programs(before: str, after: str, *, types: bool) -> bool:
    """Compare syntax trees. Programs nested too deeply to compare count as different."""
    if not python_problems.compiles(before) or not python_problems.compiles(after):
        return True
    try:
        return _stripped(before, types=types) == _stripped(after, types=types)
    except RecursionError:
        return False


def _stripped(text: str, *, types: bool) -> list[str]:
    """Return the syntax tree as a flat list, without docstrings and, with ``types``, without annotations."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, _DOCUMENTED):
            node.body = [one for n, one in enumerate(node.body) if not _is_docstring_or_pass(one, first=not n)]
        if types:
            _untype(node)
    return _flattened(tree)


def _flattened(tree: ast.AST) -> list[str]:
    """Flatten a tree as ``ast.dump`` does, without recursion: a sum of a thousand numbers is nested that deep."""
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


def _is_docstring_or_pass(statement: ast.stmt, *, first: bool) -> bool:
    """Match docstrings, and ``pass``, which a body with a docstring does not need."""
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
    """Return all tokens but comments; None if the text cannot be parsed."""
    data = text.encode(errors="replace")
    tree = parse(language, data, _PARSE_SECONDS)
    if tree is None:
        return None
    tokens, waiting = [], [tree.root_node]
    while waiting:
        node = waiting.pop()
        if "comment" in node.type:
            continue
        if not node.children:
            tokens.append(data[node.start_byte : node.end_byte])
        waiting += reversed(node.children)
    return tokens
