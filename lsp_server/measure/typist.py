"""A document under a person's hands: what stands around the cursor while they write a stretch of it anew.

Pure: text in, text out. Like editors by default, it closes brackets and quotes by itself, types over what it closed and
indents a new line. Knows no requests and no model.
"""

from __future__ import annotations

from dataclasses import dataclass

CLOSERS = {"(": ")", "[": "]", "{": "}", '"': '"', "'": "'"}
QUOTES = "\"'"
OPENS_BLOCK = ("(", "[", "{", ":")


@dataclass
class Typist:
    """A person who writes ``todo`` between ``before`` and ``rest``.

    Attributes:
        before: the text left of the cursor.
        todo: what is still to be written there; it is not in the document yet.
        rest: what stands below all that.
        closed: what the editor closed by itself: it stands right of the cursor and is not written yet.
    """

    before: str
    todo: str
    rest: str
    closed: str = ""

    @property
    def after(self) -> str:
        """The text right of the cursor."""
        return self.closed + self.rest

    @property
    def to_line_end(self) -> int:
        """Characters of the current line still to be written."""
        end = self.todo.find("\n")
        return len(self.todo) if end < 0 else end

    def type(self, count: int) -> None:
        """Write the next characters of the line, at most ``count``."""
        for _ in range(min(count, self.to_line_end)):
            self._key(closing=True)

    def accept(self) -> None:
        """Take a suggestion that says the rest of the line; nothing is closed in what is inserted."""
        for _ in range(self.to_line_end):
            self._key(closing=False)

    def take(self, count: int) -> None:
        """Insert the next characters, over several lines perhaps, as a suggestion that is taken in part is."""
        self.before, self.todo = self.before + self.todo[:count], self.todo[count:]

    def delete(self, count: int) -> None:
        """Take back letters and digits just written, at most ``count``, to write them again."""
        for _ in range(count):
            if not self.before or not self.before[-1].isalnum():
                return
            self.todo, self.before = self.before[-1] + self.todo, self.before[:-1]

    def enter(self) -> None:
        """Begin a new line. The editor indents it, and puts a bracket it closed on a line of its own below."""
        line = self.before[self.before.rfind("\n") + 1 :]
        indent = line[: len(line) - len(line.lstrip())]
        self.closed = self.closed.lstrip(QUOTES)  # a stray quote is deleted; brackets are kept for later
        if self.closed and not self.closed.startswith("\n"):
            self.closed = f"\n{indent}{self.closed}"
        self.todo = self.todo[1:]
        self.before += "\n" + indent + ("    " if line.rstrip().endswith(OPENS_BLOCK) else "")

    def settle(self) -> None:
        """Give the line just begun the indentation it is to have, or step down over what was closed there."""
        blank = len(self.before) - len(self.before.rstrip(" \t"))
        self.before = self.before[: len(self.before) - blank]
        if self.closed and self.before.endswith("\n") and ("\n" + self.todo).startswith(self.closed):
            self.todo = self.todo[len(self.closed) - 1 :]
            self.before, self.closed = self.before[:-1] + self.closed, ""
            return
        indent = len(self.todo) - len(self.todo.lstrip(" \t"))
        self.before, self.todo = self.before + self.todo[:indent], self.todo[indent:]

    def finish(self) -> str:
        """Write all that is left, delete what was closed in vain; the whole document."""
        self.before, self.todo, self.closed = self.before + self.todo, "", ""
        return self.before + self.rest

    def _key(self, *, closing: bool) -> None:
        key, self.todo = self.todo[0], self.todo[1:]
        if self.closed.startswith(key):
            self.closed = self.closed[1:]
        elif closing and key in CLOSERS and self._closes(key):
            self.closed = CLOSERS[key] + self.closed
        self.before += key

    def _closes(self, key: str) -> bool:
        """Editors close where nothing but a blank or a closer follows; a quote also not after a word: it's one."""
        follows = self.after[:1]
        if follows.strip() and follows not in CLOSERS.values():
            return False
        return key not in QUOTES or not self.before[-1:].isalnum()
