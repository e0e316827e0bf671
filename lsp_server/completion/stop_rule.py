"""Choose the stop rule, one line or a block, from the syntax around the cursor.

The engine applies the rule while it generates, so no tokens are generated that would be discarded.
"""

from __future__ import annotations

import re

from inference.text.stopping import OPENERS, StopRule, indent_width
from inference.text.syntax_position import OpenBracket, SyntaxPosition, position_at
from lsp_server.snapshot import Snapshot

LINE = StopRule("line")

LONGEST_LINE = 2_000
"""Characters up to which a line is searched for block keywords. The patterns take quadratic time."""

_CLOSERS = {opener: closer for closer, opener in OPENERS.items()}
_BRACES_HOLD_DATA = frozenset(["python", "ruby", "lua", "julia", "elixir"])
_COLON = re.compile(
    r"\s*(?:\)|(?:async\s+)?(?:def|class|if|elif|else|for|while|try|except|finally|with|match|case|default|public|"
    r"private|protected)\b).*:$"
)
"""A statement that ends in a colon, or the last line of one, and C's labels."""
_UNINDENTED = re.compile(r"\s*(?:(?:inline\s+)?namespace\b|extern\s+\"C)")
"""C++ blocks whose body is not indented."""
_LISTED = re.compile(r"\b(?:import|const|var|type|enum)\b[^()]*\($")
"""Lists of declarations, one on each line."""
_WORDS = {
    "bash": ((re.compile(r"(?:^|[\s;])(?:then|else)\s*$"), "fi"), (re.compile(r"(?:^|[\s;])do\s*$"), "done")),
    "lua": ((re.compile(r"(?:\b(?:then|do|else|repeat)|\bfunction\b[^()]*\([^()]*\))\s*$"), "end"),),
    "ruby": (
        (re.compile(r"^\s*(?:def|class|module|if|unless|while|until|case|begin|else|elsif|rescue)\b.*$"), "end"),
        (re.compile(r"\bdo\s*(?:\|[^|]*\|)?\s*$"), "end"),
    ),
    "elixir": ((re.compile(r"\bdo\s*$"), "end"),),
    "julia": ((re.compile(r"^\s*(?:function|if|for|while|begin|struct|module|let|try|else)\b.*$"), "end"),),
}
"""For languages that open blocks with keywords: a pattern for the opening line, and the closing keyword."""


def stop_rule(snapshot: Snapshot) -> StopRule:
    """Return a block rule after a block opener or on an empty line in a body, else the line rule."""
    if snapshot.right.strip():
        return LINE
    position = position_at(snapshot.language, snapshot.before)
    if position.inside != "code" or (position.opened and position.opened[-1].in_string):
        return LINE
    if snapshot.left.strip() and _among_data(snapshot, position):
        return LINE
    if not snapshot.left.strip():
        return _on_empty_line(snapshot, position)
    closer = _opens(snapshot.language, snapshot.left, snapshot.after)
    if closer is None:
        return LINE
    opens = snapshot.left.rstrip().endswith(tuple(_CLOSERS)) and position.whole and bool(position.opened)
    indent = position.opened[-1].indent if opens else indent_width(snapshot.left)
    return StopRule("block", indent + 1, _unless_below(closer, indent, snapshot.after))


def _on_empty_line(snapshot: Snapshot, position: SyntaxPosition) -> StopRule:
    """Return a rule for the rest of the body. In a list or call: one line, or all of it if it is still empty."""
    indent = indent_width(snapshot.left)
    body = position.opened[-1] if position.opened else None
    if body is not None:
        if _holds_data(body, snapshot.language):
            return StopRule("block", max(indent, body.indent + 1)) if _is_empty(body, snapshot) else LINE
        if _UNINDENTED.match(body.head):
            return StopRule("block", indent)
        head = _head(body, indent, snapshot.before)
        return StopRule("block", max(indent, head + 1), _unless_below(_CLOSERS[body.bracket], head, snapshot.after))
    above = _line_above(snapshot.before)
    closer = _opens(snapshot.language, above, snapshot.after)
    if closer is None:
        return StopRule("block", indent)
    opener = indent_width(above)
    return StopRule("block", max(indent, opener + 1), _unless_below(closer, opener, snapshot.after))


def _opens(language: str, line: str, after: str) -> str | None:
    """Return the closer of the block that ``line`` opens (empty: by indentation); None if it opens none."""
    line = line.rstrip()
    if line.endswith(("{", "[")):
        return _CLOSERS[line[-1]]
    if len(line) > LONGEST_LINE:
        return None
    if line.endswith("("):
        listed = _LISTED.search(line) or _closed_below(")", indent_width(line), after)
        return ")" if listed else None
    for opener, closer in _WORDS.get(language, ()):
        if opener.search(line):
            return closer
    return "" if _COLON.match(line) else None


def _among_data(snapshot: Snapshot, position: SyntaxPosition) -> bool:
    """Return whether the cursor is between arguments or list elements, and not right after the opening bracket."""
    opens = snapshot.left.rstrip().endswith(tuple(_CLOSERS))
    return not opens and bool(position.opened) and _holds_data(position.opened[-1], snapshot.language)


def _holds_data(bracket: OpenBracket, language: str) -> bool:
    """Return whether the bracket contains data, not statements."""
    return bracket.bracket != "{" or language in _BRACES_HOLD_DATA


def _is_empty(bracket: OpenBracket, snapshot: Snapshot) -> bool:
    """Return whether nothing but the cursor's line lies between the bracket and its closer below."""
    below = next((line for line in snapshot.after.split("\n")[1:] if line.strip()), "")
    closer = _CLOSERS[bracket.bracket]
    return _line_above(snapshot.before).rstrip().endswith(bracket.bracket) and below.lstrip().startswith(closer)


def _head(body: OpenBracket, indent: int, before: str) -> int:
    """Return the indentation of the statement that opened the body.

    A bracket that is indented deeper than the cursor ends a head of several lines, such as a constructor's initialiser
    list. The statement then starts on a line above.
    """
    if not 0 < indent < body.indent:
        return body.indent
    above = (indent_width(line) for line in reversed(before.split("\n")[:-1]) if line.strip())
    return next((width for width in above if width < indent), body.indent)


def _unless_below(closer: str, indent: int, after: str) -> str:
    """Return the closer, or nothing if the document already has it below at this indentation."""
    return "" if _closed_below(closer, indent, after) else closer


def _closed_below(closer: str, indent: int, after: str) -> bool:
    """Return whether the first line below that is indented no deeper begins with ``closer``."""
    for line in after.split("\n")[1:]:
        if line.strip() and indent_width(line) <= indent:
            return indent_width(line) == indent and bool(closer) and line.lstrip().startswith(closer)
    return False


def _line_above(before: str) -> str:
    """Return the last line above the cursor that is not blank."""
    return next((line for line in reversed(before.split("\n")[:-1]) if line.strip()), "")
