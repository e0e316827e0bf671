"""Grey text in real VS Code: the keys and the screen of a person, the real language server, a scripted engine."""

from __future__ import annotations

import pytest
from vscode_window import GHOST

pytestmark = pytest.mark.asyncio(loop_scope="session")

CODE = "def total(values):\n    result =\n    return result\n"


async def test_a_suggestion_is_seen_and_tab_takes_it(window, folder, engine):
    engine.pieces = ["sum(values)"]
    await window.open(folder / "seen.py", CODE, 1, 12)
    await window.write(" ")
    await window.see(GHOST)
    assert "".join(await window.texts(GHOST)) == "sum(values)"
    await window.press("Tab")
    await window.holds(CODE.replace("result =", "result = sum(values)", 1))
