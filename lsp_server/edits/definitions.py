"""Find the functions and types around a position with tree-sitter: their extent, name and missing documentation.

Offsets count characters. Languages without a grammar, and texts that take too long to parse, have no definitions.

Node types are compared by name while walking up from the position. Tree-sitter queries would need one text per grammar
(a query that names a type its grammar lacks is an error), and are no faster for a single position.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from tree_sitter import Node, Tree

from inference.text.syntax import parse
from inference.text.syntax_position import parsed_window

AROUND = 60_000
"""Characters parsed before and after the position; most files are shorter."""
PARSE_SECONDS = 0.15
"""CPU time limit. Editors request code actions at every cursor move."""

_FUNCTIONS = frozenset(
    [
        "function_definition",
        "function_declaration",
        "generator_function_declaration",
        "method_definition",
        "method_declaration",
        "constructor_declaration",
        "function_item",
        "local_function_statement",
    ]
)
_TYPES = frozenset(
    [
        "class_definition",
        "class_declaration",
        "abstract_class_declaration",
        "interface_declaration",
        "enum_declaration",
        "record_declaration",
        "struct_declaration",
        "trait_declaration",
        "type_declaration",
        "type_alias_declaration",
        "class_specifier",
        "struct_specifier",
        "enum_specifier",
        "union_specifier",
        "impl_item",
        "struct_item",
        "enum_item",
        "trait_item",
        "union_item",
    ]
)
_WRAPPERS = frozenset(["decorated_definition", "export_statement", "template_declaration"])
_FUNCTION_VALUES = frozenset(["arrow_function", "function_expression", "generator_function"])
_BARE_PARAMETERS = frozenset(["identifier", "default_parameter", "list_splat_pattern", "dictionary_splat_pattern"])
_RECEIVERS = ("self", "cls")
_SCRIPTS = ("typescript", "typescriptreact")


@dataclass(frozen=True, slots=True)
class Definition:
    """A function or a type, including its decorators.

    Attributes:
        start: offset of its first character, decorators included.
        stop: offset behind its last character.
        kind: function or type.
        name: its name; empty if the grammar gives none.
        documented: it has a docstring (Python) or a comment directly above it.
        typed: every parameter and the result are annotated. Always true where annotations are not optional.
    """

    start: int
    stop: int
    kind: Literal["function", "type"]
    name: str
    documented: bool
    typed: bool


def enclosing(language: str, text: str, start: int, stop: int) -> Iterator[Definition]:
    """Yield the definitions that contain ``text[start:stop]``, innermost first."""
    before = parsed_window(language, text[:start], AROUND)
    after = text[stop : stop + AROUND]
    begin, head = start - len(before), before.encode(errors="replace")  # the prefix window of PHP may add a first line
    middle = text[start:stop].encode(errors="replace")
    data = head + middle + after.encode(errors="replace")
    tree = _parsed(language, data)
    node = tree.root_node.descendant_for_byte_range(len(head), len(head) + len(middle)) if tree else None
    truncated = stop + AROUND < len(text)
    while node is not None:
        core = _without_wrappers(node)
        kind = _kind(core)
        outer = _with_wrappers(core) if kind else node
        if kind and not (truncated and outer.end_byte >= len(data)):
            first, end = (begin + len(data[:byte].decode()) for byte in (outer.start_byte, outer.end_byte))
            documented, typed = _documented(language, core, outer), _typed(language, core, data)
            yield Definition(first, end, kind, _name(core, data), documented, typed)
        node = outer.parent


@lru_cache(maxsize=2)
def _parsed(language: str, data: bytes) -> Tree | None:
    """Parse once per text: one list of code actions looks up several positions of the same text."""
    return parse(language, data, PARSE_SECONDS)


def _kind(node: Node) -> Literal["function", "type"] | None:
    if node.type in _FUNCTIONS or _function_value(node):
        return "function"
    return "type" if node.type in _TYPES and node.child_count > 1 else None


def _function_value(node: Node) -> Node | None:
    """Return the function in ``const name = () => …``, else None."""
    if node.type not in ("lexical_declaration", "variable_declaration"):
        return None
    declared = [child for child in node.named_children if child.type == "variable_declarator"]
    value = declared[0].child_by_field_name("value") if len(declared) == 1 else None
    return value if value is not None and value.type in _FUNCTION_VALUES else None


def _without_wrappers(node: Node) -> Node:
    """Strip decorators, ``export`` and template headers."""
    while node.type in _WRAPPERS and node.named_children:
        node = node.named_children[-1]
    return node


def _with_wrappers(node: Node) -> Node:
    while node.parent is not None and node.parent.type in _WRAPPERS:
        node = node.parent
    return node


def _name(node: Node, data: bytes) -> str:
    """Return the name as written in the source; empty if the grammar has no name field for it."""
    if _function_value(node):
        node = next(child for child in node.named_children if child.type == "variable_declarator")
    found = node.child_by_field_name("type" if node.type == "impl_item" else "name")
    declarator = node.child_by_field_name("declarator")
    while found is None and declarator is not None:
        inner = declarator.child_by_field_name("declarator")
        found, declarator = (declarator, None) if inner is None else (None, inner)
    if found is None and (spec := next((c for c in node.named_children if c.child_by_field_name("name")), None)):
        found = spec.child_by_field_name("name")
    return _text(found, data).partition("\n")[0] if found is not None else ""


def _documented(language: str, node: Node, outer: Node) -> bool:
    if language == "python":
        body = node.child_by_field_name("body")
        first = body.named_children[0] if body is not None and body.named_children else None
        return first is not None and is_docstring(first)
    above = outer.prev_named_sibling
    return above is not None and "comment" in above.type and above.end_point[0] + 1 >= outer.start_point[0]


def is_docstring(statement: Node) -> bool:
    """Return True if a Python statement is a string literal and nothing else."""
    children = statement.named_children
    return statement.type == "expression_statement" and len(children) == 1 and children[0].type == "string"


def _typed(language: str, node: Node, data: bytes) -> bool:
    node = _function_value(node) or node
    parameters = node.child_by_field_name("parameters")
    if parameters is None or language not in ("python", *_SCRIPTS):
        return True
    children = parameters.named_children
    if language == "python":
        bare = any(one.type in _BARE_PARAMETERS and _text(one, data) not in _RECEIVERS for one in children)
    else:
        bare = any("parameter" in one.type and not one.child_by_field_name("type") for one in children)
    return not bare and node.child_by_field_name("return_type") is not None


def _text(node: Node, data: bytes) -> str:
    """Return a node's source text; nodes of incrementally read trees carry none."""
    return data[node.start_byte : node.end_byte].decode(errors="replace")
