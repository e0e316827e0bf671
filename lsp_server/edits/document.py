"""One document at one moment, as it is: with its own line ends. Knows no LSP but its counting of characters."""

from __future__ import annotations

from dataclasses import dataclass

from lsp_server.snapshot import LINE_END, Encoding, Position, offset_of, position_of


@dataclass(frozen=True, slots=True)
class Document:
    """Offsets into ``text`` count code points, a CR LF as two.

    Attributes:
        language: the client's language id, e.g. ``python``.
        version: as the client counts; None where it does not.
        encoding: what the client counts characters in.
    """

    uri: str
    language: str
    version: int | None
    text: str
    encoding: Encoding = "utf-16"

    @property
    def line_end(self) -> str:
        """What ends the document's lines: what ends its first."""
        first = LINE_END.search(self.text)
        return first.group() if first else "\n"

    def offset(self, line: int, character: int) -> int:
        """Where the client's position is; of one outside the document the nearest inside."""
        return offset_of(self.text, Position(line, character), self.encoding)

    def position(self, offset: int) -> Position:
        """Where the client sees an offset."""
        return position_of(self.text, offset, self.encoding)
