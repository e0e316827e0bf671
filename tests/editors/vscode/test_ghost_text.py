"""Ghost text in a real VS Code: keys and screen, the real language server, a scripted engine."""

from __future__ import annotations

import asyncio
import json

import pytest
from support.vscode_window import GHOST, VscodeWindow, becomes

pytestmark = [pytest.mark.editors, pytest.mark.slow, pytest.mark.asyncio(loop_scope="session")]

CODE = "def total(values):\n    result =\n    return result\n"

PROVIDER = """
state.provider = vscode.languages.registerInlineCompletionItemProvider({pattern: "**/form *.py"}, {
  provideInlineCompletionItems(document, position) {
    if (!state.form || document.getText() !== state.code) return [];
    const line = document.lineAt(position.line).text;
    const left = line.slice(0, position.character), right = line.slice(position.character);
    const span = (start, stop) => new vscode.Range(position.line, start, position.line, stop);
    const [text, range] = {
      "at the cursor": [state.text, span(position.character, position.character)],
      "to the cursor": [left + state.text, span(0, position.character)],
      "the whole line": [left + state.text + right, span(0, line.length)],
    }[state.form];
    return [new vscode.InlineCompletionItem(text, range)];
  },
});
"""


async def shown(window: VscodeWindow) -> dict:
    """Return today's usage statistics."""
    return (await window.ask("codellama/stats"))["today"]


async def test_completion_is_shown_and_tab_accepts_it(window, folder, engine):
    engine.pieces = ["sum(values)"]
    before = await shown(window)
    await window.open(folder / "seen.py", CODE, 1, 12)
    await window.write(" ")
    await window.shows("sum(values)")
    await window.press("Tab")
    await window.holds(CODE.replace("result =", "result = sum(values)", 1))
    after = await shown(window)
    counts = {name: after[name] - before[name] for name in ("shown", "accepted", "characters_saved")}
    assert counts == {"shown": 1, "accepted": 1, "characters_saved": 11}, "told by didShow and didAccept"


async def test_block_is_shown_and_accepted_whole(window, folder, engine):
    engine.pieces = ["total = 0\n    for value in values:\n        total += value\n    return total"]
    await window.open(folder / "block.py", "def total(values):\n    \n", 1, 4)
    await window.command("editor.action.inlineSuggest.trigger")
    await window.see(GHOST)
    await window.keep("ghost")
    await window.press("Tab")
    await window.holds(f"def total(values):\n    {engine.pieces[0]}\n")


async def test_word_is_accepted_by_a_key_and_counted(window, folder, engine):
    """VS Code does not notify extensions, so our key runs VS Code's command and counts."""
    engine.pieces = ["max(values) - min(values)"]
    before = (await shown(window))["partly_accepted"]
    await window.open(folder / "word.py", CODE, 1, 12)
    await window.write(" ")
    await window.see(GHOST)
    await window.press("Control+ArrowRight")
    await window.holds(CODE.replace("result =", "result = max", 1))
    assert (await shown(window))["partly_accepted"] == before + 1


async def test_one_line_of_several_is_accepted_and_the_rest_stays(window, folder, engine):
    """VS Code accepts the line with its line end, and shows the next one from its indentation on."""
    lines = ["total = 0", "for value in values:", "    total += value"]
    engine.pieces = ["\n    ".join(lines)]
    before = (await shown(window))["partly_accepted"]
    head = "def total(values):\n    "
    await window.open(folder / "line.py", f"{head}\n", 1, 4)
    await window.command("editor.action.inlineSuggest.trigger")
    await window.see(GHOST)
    await window.command("codellama.acceptLine")
    await window.holds(f"{head}total = 0\n\n")
    below, here = "        total += value", "    for value in values:"
    await window.shows(below + here)  # in the page's DOM, the lines below the cursor precede the cursor's line
    assert (await shown(window))["partly_accepted"] == before + 1
    await window.command("editor.action.inlineSuggest.commit")  # Tab indents if only indentation is left of the cursor
    await window.holds(head + engine.pieces[0] + "\n")


async def test_keys_cycle_alternatives_and_tab_accepts(window, folder, engine):
    """The first alternative is the greedy completion, the others are sampled."""
    engine.pieces, engine.by_seed = ["sum(values)"], {1: "max(values, default=0)", 2: "len(values)"}
    update = "await vscode.workspace.getConfiguration('codellama.completion').update('alternatives', {}, false)"
    await window.host(update.format(3))
    before = await shown(window)
    await window.open(folder / "others.py", CODE.replace("result =", "result = "), 1, 13)
    await window.command("editor.action.inlineSuggest.trigger")
    await window.shows("sum(values)")
    for key, text in (("]", "max(values, default=0)"), ("]", "len(values)"), ("]", "sum(values)")):
        await window.press(f"Alt+{key}")
        await window.shows(text)
    await window.press("Alt+[", "Alt+[")
    await window.shows("max(values, default=0)")
    await window.press("Tab")
    await window.holds(CODE.replace("result =", "result = max(values, default=0)", 1))
    after = await shown(window)
    counts = {name: after[name] - before[name] for name in ("accepted", "characters_saved")}
    assert counts == {"accepted": 1, "characters_saved": 22}, "told by didAccept which one it was"
    await window.host(update.format("undefined"))


async def test_typing_through_calls_no_model(window, folder, engine):
    engine.pieces = ["sorted(values)"]
    await window.open(folder / "typed.py", CODE, 1, 12)
    await window.write(" ")
    await window.see(GHOST)
    asked = len(engine.asked)
    await window.write("sor")
    await window.shows("ted(values)")
    assert len(engine.asked) == asked


async def test_next_key_cancels_the_generation(window, folder, engine):
    engine.pieces, engine.hold = ["sum(", "values)"], True
    await window.open(folder / "cancelled.py", CODE, 1, 12)
    await window.write(" ")
    assert await asyncio.to_thread(engine.began.wait, 20)
    await window.write("1")

    async def first() -> str:
        records = await window.ask("codellama/trace")
        return next(one["result"] for one in records if one["uri"].endswith("cancelled.py"))

    await becomes(first, "cancelled")
    engine.pieces = ["00"]
    engine.go.set()
    await window.shows("00")


async def test_completion_extends_the_selected_list_entry(window, folder, engine):
    engine.pieces = ["(values)"]
    await window.open(folder / "list.py", "values_of_all = 1\nvalues_of\n", 1, 9)
    await window.command("editor.action.triggerSuggest")
    await window.see(".suggest-widget.visible .monaco-list-row.focused[aria-label^='values_of_all']")
    await window.shows("_all(values)")
    assert engine.asked[-1][0].endswith("values_of_all"), "asked as if the entry had been taken"
    await window.press("Escape", "Escape")


async def test_completion_is_disabled_and_enabled_for_a_file(window, folder, engine):
    engine.pieces = ["sum(values)"]
    await window.open(folder / "off.py", CODE, 1, 12)
    for state in (": off", ""):
        await window.command("codellama.toggle")
        await window.choose("for this file")
        await window.status(f"Code Llama{state}")
        await window.write(" ")
        if state:  # the later request for another file is answered, and this file had none
            await window.open(folder / "on.py", CODE, 1, 12)
            await window.write(" ")
        await window.shows("sum(values)")
        of_this = [record for record in await window.ask("codellama/trace") if record["uri"].endswith("off.py")]
        assert bool(of_this) == (not state)
        await window.open(folder / "off.py", CODE, 1, 12)


@pytest.mark.parametrize("form", ["at the cursor", "to the cursor", "the whole line"])
async def test_block_before_text_on_the_line_is_inserted_in_place(window, folder, engine, form):
    """With text right of the cursor, an item of several lines is shown and inserted correctly. This includes our
    server's form, the whole line. (Without a range, VS Code replaces the rest of the line or shows nothing.)
    """
    engine.pieces = [""]
    code, text = "def f(a):\n    y =  + rest(1)\n    return 1\n", "bar(\n        1,\n    )"
    wanted = code.replace("y = ", f"y = {text}")
    await window.host(
        f"{PROVIDER} state.form = null; state.text = {json.dumps(text)}; state.code = {json.dumps(code)};"
    )
    await window.open(folder / f"form {form}.py", code, 1, 8)
    await window.host(f"state.form = {json.dumps(form)};")
    await window.command("editor.action.inlineSuggest.trigger")
    await window.see(GHOST)
    ghost = "".join(await window.texts(GHOST)).replace(" ", "")
    assert sorted(ghost) == sorted("bar(1,)"), "the rest of the line is none"
    await window.press("Tab")
    await window.holds(wanted)
    await window.host("state.provider.dispose()")
