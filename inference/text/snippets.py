"""Cut files into snippets for cross-file context, and rank the snippets for a cursor.

Definitions and imports are found by tree-sitter queries. The ranking is BM25 over identifiers and their parts. Source:
Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond" (2009), section 3.2. Pure.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from tree_sitter import Node

from inference.text.prompts import Snippet
from inference.text.syntax import captures, parse

MAX_LINES = 24
"""Lines of the longest snippet."""
PARSE_SECONDS = 0.05
_MAX_PARSED = 100_000
"""Characters of a file that are parsed."""
_MAX_DEPTH = 6
"""Depth in the syntax tree of the deepest definition that becomes a snippet."""

_C_DEFINITIONS = """[
    (function_definition) (declaration) (field_declaration) (namespace_definition) (namespace_alias_definition)
    (type_definition) (alias_declaration) (concept_definition) (init_declarator) (function_declarator)
    (array_declarator) (pointer_declarator) (pointer_type_declarator) (abstract_function_declarator)
    (abstract_array_declarator) (abstract_pointer_declarator) (parameter_declaration) (optional_parameter_declaration)
    (variadic_parameter_declaration) (optional_type_parameter_declaration)
] @definition"""
_JAVASCRIPT_DEFINITIONS = """[
    (class_declaration) (function_declaration) (generator_function_declaration) (method_definition)
    (variable_declarator)
] @definition"""
_TYPESCRIPT_DEFINITIONS = """[
    (class_declaration) (abstract_class_declaration) (interface_declaration) (enum_declaration)
    (type_alias_declaration) (function_declaration) (generator_function_declaration) (method_definition)
    (public_field_definition) (variable_declarator)
] @definition"""

_DEFINITIONS = {
    "bash": "[(function_definition) (case_item)] @definition",
    "c": _C_DEFINITIONS,
    "cpp": _C_DEFINITIONS,
    "csharp": """[
        (namespace_declaration) (file_scoped_namespace_declaration) (class_declaration) (interface_declaration)
        (struct_declaration) (record_declaration) (enum_declaration) (enum_member_declaration) (delegate_declaration)
        (method_declaration) (constructor_declaration) (destructor_declaration) (property_declaration)
        (accessor_declaration) (event_declaration) (variable_declarator) (catch_declaration)
    ] @definition""",
    "go": """[
        (function_declaration) (method_declaration) (type_spec) (const_spec) (var_spec) (field_declaration)
        (parameter_declaration) (variadic_parameter_declaration) (type_parameter_declaration) (import_spec)
    ] @definition""",
    "java": """[
        (module_declaration) (class_declaration) (interface_declaration) (enum_declaration) (record_declaration)
        (annotation_type_declaration) (annotation_type_element_declaration) (method_declaration)
        (constructor_declaration) (compact_constructor_declaration) (field_declaration) (constant_declaration)
        (local_variable_declaration) (variable_declarator)
    ] @definition""",
    "javascript": _JAVASCRIPT_DEFINITIONS,
    "javascriptreact": _JAVASCRIPT_DEFINITIONS,
    "php": """[
        (namespace_definition) (class_declaration) (interface_declaration) (trait_declaration) (enum_declaration)
        (function_definition) (method_declaration) (const_declaration) (static_variable_declaration)
    ] @definition""",
    "python": "[(class_definition) (function_definition)] @definition",
    "rust": """[
        (function_item) (function_signature_item) (struct_item) (enum_item) (union_item) (trait_item) (type_item)
        (const_item) (static_item) (mod_item) (macro_definition) (extern_crate_declaration) (field_declaration)
    ] @definition""",
    "typescript": _TYPESCRIPT_DEFINITIONS,
    "typescriptreact": _TYPESCRIPT_DEFINITIONS,
}
"""By language, a query for the nodes that define a name. Their ``name`` or ``declarator`` field holds it."""

_IMPORTS = {
    "c": "(preproc_include) @import",
    "cpp": "(preproc_include) @import",
    "csharp": "(using_directive) @import",
    "go": "(import_declaration) @import",
    "java": "(import_declaration) @import",
    "javascript": "(import_statement) @import",
    "javascriptreact": "(import_statement) @import",
    "php": "(namespace_use_declaration) @import",
    "python": "[(import_statement) (import_from_statement)] @import",
    "rust": "(use_declaration) @import",
    "typescript": "[(import_statement) (import_alias)] @import",
    "typescriptreact": "[(import_statement) (import_alias)] @import",
}
"""By language, a query for the import statements of a file."""


@dataclass(frozen=True, slots=True)
class SourceSnippet:
    """Some lines of a file. ``defines`` is the name that they define, or empty."""

    path: str
    text: str
    defines: str = ""


def definitions(language: str, path: str, text: str, max_lines: int = MAX_LINES) -> list[SourceSnippet]:
    """Return a snippet for each function, class, method and type that spans several lines: its first ``max_lines``.

    Return none if no grammar is installed for ``language``.
    """
    data, nodes = _captured(language, text, _DEFINITIONS, "definition", _MAX_DEPTH)
    return [
        SourceSnippet(path, "\n".join(_lines(data, node)[:max_lines]), name)
        for node in nodes
        if node.end_point.row > node.start_point.row and (name := _name(node, data))
    ]


def import_lines(language: str, path: str, text: str) -> list[SourceSnippet]:
    """Return one snippet with all top-level imports of a file, or none if it has none or there is no grammar."""
    data, nodes = _captured(language, text, _IMPORTS, "import", 1)
    lines = [line for node in nodes for line in _lines(data, node)]
    return [SourceSnippet(path, "\n".join(lines))] if lines else []


def split_file(path: str, text: str) -> list[SourceSnippet]:
    """Cut a whole file into snippets, at empty lines where possible."""
    snippets: list[SourceSnippet] = []
    portion: list[str] = []
    for line in text.split("\n"):
        if portion and (len(portion) >= MAX_LINES or (not line.strip() and len(portion) >= MAX_LINES // 2)):
            snippets.append(_portion(path, portion))
            portion = []
        if portion or line.strip():
            portion.append(line)
    if portion:
        snippets.append(_portion(path, portion))
    return snippets


def _portion(path: str, lines: Sequence[str]) -> SourceSnippet:
    return SourceSnippet(path, "\n".join(lines).rstrip())


def _captured(
    language: str, text: str, queries: dict[str, str], capture: str, max_depth: int
) -> tuple[bytes, list[Node]]:
    """Return the parsed bytes of ``text`` and the nodes that the language's query captures."""
    data = text[:_MAX_PARSED].encode(errors="replace")
    query = queries.get(language)
    tree = parse(language, data, PARSE_SECONDS) if query else None
    if query is None or tree is None:
        return data, []
    return data, captures(language, query, tree.root_node, capture, max_depth)


def _name(node: Node, data: bytes) -> str:
    """Return the defined name. C nests declarators; the innermost one holds the name."""
    while True:
        name = node.child_by_field_name("name")
        inner = name or node.child_by_field_name("declarator")
        if inner is None:
            return ""
        if name or not inner.named_children:
            return data[inner.start_byte : inner.end_byte].decode(errors="replace")
        node = inner


def _lines(data: bytes, node: Node) -> list[str]:
    """Return the lines of ``node``, the first one with its indentation."""
    start = data.rfind(b"\n", 0, node.start_byte) + 1
    return data[start : node.end_byte].decode(errors="replace").split("\n")


K1, B = 1.2, 0.75
MAX_CHOSEN = 8
QUERY_LINES = 20
"""Lines before the cursor that form the query."""
MAX_OVERLAP = 0.6
"""A snippet is redundant if the prefix window or better snippets hold this share of its distinctive lines."""
DEFINITION_BOOST = 2.0
"""Factor on the score of a snippet that defines a name used near the cursor."""
_MIN_DISTINCTIVE = 8
_IDENTIFIER = re.compile(r"[^\W\d]\w*")
_PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[^\W\da-zA-Z_]+")


def words(text: str) -> list[str]:
    """Return the identifiers of ``text`` and the parts of compound ones, in lower case."""
    terms: list[str] = []
    for match in _IDENTIFIER.finditer(text):
        name = match.group()
        parts = _PART.findall(name)
        terms += [name.lower(), *(part.lower() for part in parts if len(parts) > 1 and len(part) > 2)]
    return terms


def bm25(query: Sequence[str], documents: Sequence[Sequence[str]]) -> list[float]:
    """Return the BM25 score of each document. Repeated query terms count once."""
    counts = [Counter(document) for document in documents]
    mean = sum(map(len, documents)) / max(len(documents), 1) or 1.0
    scores = [0.0] * len(documents)
    for term in sorted(set(query)):
        frequency = sum(term in count for count in counts)
        weight = math.log(1 + (len(documents) - frequency + 0.5) / (frequency + 0.5))
        for n, count in enumerate(counts):
            if times := count[term]:
                norm = K1 * (1 - B + B * len(documents[n]) / mean)
                scores[n] += weight * times * (K1 + 1) / (times + norm)
    return scores


def rank_snippets(
    before: str, right: str, window: str, snippets: Sequence[SourceSnippet], limit: int
) -> tuple[Snippet, ...]:
    """Return the snippets most relevant to the cursor, best first, without redundant ones.

    Args:
        before: the text before the cursor.
        right: the rest of the cursor's line.
        window: the text that the prompt contains anyway.
        snippets: the candidates.
        limit: characters in all chosen snippets together; there are at most ``MAX_CHOSEN``.
    """
    query = words("\n".join(before.split("\n")[-QUERY_LINES:]) + "\n" + right)
    terms = set(query)
    scores = [
        score * (DEFINITION_BOOST if snippet.defines.lower() in terms else 1.0)
        for score, snippet in zip(bm25(query, [words(s.text) for s in snippets]), snippets, strict=True)
    ]
    order = sorted(range(len(snippets)), key=lambda n: -scores[n])
    return select_fitting([snippets[n] for n in order if scores[n] > 0], window, limit)


def select_fitting(snippets: Sequence[SourceSnippet], window: str, limit: int) -> tuple[Snippet, ...]:
    """Keep, in order, the snippets that fit into ``limit`` characters and are not redundant to ``window``."""
    seen, chosen = _distinctive_lines(window), list[Snippet]()
    for snippet in snippets:
        lines = _distinctive_lines(snippet.text)
        if len(chosen) == MAX_CHOSEN:
            break
        if len(snippet.text) <= limit and len(lines & seen) < MAX_OVERLAP * len(lines):
            chosen.append(Snippet(snippet.path, snippet.text))
            limit -= len(snippet.text)
            seen |= lines
    return tuple(chosen)


def _distinctive_lines(text: str) -> set[str]:
    return {line.strip() for line in text.split("\n") if len(line.strip()) >= _MIN_DISTINCTIVE}
