"""The screen of a Neovim UI, from its drawing events after each flush."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

WIDTH, HEIGHT = 80, 24
MARK = "terminal-mark"


class Terminal:
    """The character grid of one UI, without colours."""

    def __init__(self, nvim: Any) -> None:
        self._nvim = nvim
        self._cells = [[" "] * WIDTH for _ in range(HEIGHT)]

    def flushed(self) -> list[list[str]]:
        """Return the flushed screens since the last call."""
        self._nvim.command(f"call rpcnotify({self._nvim.channel_id}, '{MARK}')")
        seen: list[list[str]] = []
        while (message := self._nvim.next_message()) is not None and message[1] != MARK:
            if message[1] == "redraw":
                for name, *calls in message[2]:
                    for call in calls:
                        self._draw(name, call)
                    if name == "flush":
                        seen.append(["".join(row).rstrip() for row in self._cells])
        return seen

    def _draw(self, name: str, call: list) -> None:
        if name == "grid_line":
            _, row, column, cells, *_ = call
            for text, *rest in cells:
                for _ in range(rest[1] if len(rest) > 1 else 1):
                    self._cells[row][column] = text
                    column += 1
        elif name == "grid_clear":
            self._cells = [[" "] * WIDTH for _ in range(HEIGHT)]
        elif name == "grid_scroll":
            _, top, bottom, left, right, rows, _ = call
            order = range(top, bottom - rows) if rows > 0 else range(bottom - 1, top - rows - 1, -1)
            for row in order:
                self._cells[row][left:right] = self._cells[row + rows][left:right]


@contextmanager
def watching(nvim: Any) -> Iterator[Terminal]:
    """Start recording after a flush."""
    nvim.ui_attach(WIDTH, HEIGHT, rgb=True, ext_linegrid=True)
    try:
        terminal = Terminal(nvim)
        while not terminal.flushed():
            pass
        yield terminal
    finally:
        nvim.ui_detach()
