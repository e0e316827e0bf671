"""What a task must leave alone: a docstring changes no code, a type changes no behaviour. Pure; by syntax.

Knows no model. Where a text can't be parsed, nothing is said of it.
"""

from __future__ import annotations

import ast

from inference.text.syntax import parse
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
