"""A person's own instructions, from the settings, among the code actions.

The real server and engine service, spoken to over LSP; only the model is a script.
"""

from __future__ import annotations

import asyncio

import pytest
from fakes.answerer import block
from lsprotocol import types
from support.acting import CODE, EDITORS, GOOD, OTHERS, titles
from support.e2e_window import URI
from support.simulated_user import editor, where

OWN = ["Add x to what it returns", "  ", "Add x to what it returns", "Name things\nso that their use is seen"]
SETTINGS = {"actions": {"prompts": OWN}}
LISTED = ["Add x to what it returns", "Name things"]


@pytest.mark.parametrize(
    ("start", "stop", "only", "listed"),
    [
        ((4, 9), None, None, [*OTHERS, *LISTED, "Explain"]),
        ((4, 0), (5, 4), None, ["Simplify the selection", *LISTED, "Explain"]),
        ((0, 0), None, None, ["Explain"]),
        ((4, 9), None, ["refactor.rewrite"], [*OTHERS, *LISTED]),
        ((4, 9), None, ["quickfix"], []),
    ],
)
async def test_each_is_offered_once_where_others_are(runtime, start, stop, only, listed):
    async with editor(runtime, settings=SETTINGS) as one:
        one.open(CODE)
        assert titles(await one.actions(start, stop, only=only)) == listed


@pytest.mark.parametrize("name", EDITORS)
async def test_it_is_put_to_the_model_and_its_answer_checked_as_any(runtime, name):
    async with editor(runtime, [block("def f(a:"), GOOD], name, settings=SETTINGS) as one:
        one.open(CODE)
        edit = (await one.resolved(await one.action("Add x to what it returns", (4, 9)))).edit
        assert one.edits_of(edit) == [((4, 8, 4, 11), "1"), ((5, 12, 5, 12), " + x")]
        first, second = one.engine.turns
    assert first[1][1].endswith("changed as follows: Add x to what it returns")
    assert "does not parse" in second[-1][1]


async def test_one_that_the_settings_have_no_more_is_not_put_to_the_model(runtime):
    """What a client gives back chooses among the person's instructions, and makes none."""
    async with editor(runtime, settings=SETTINGS) as one:
        one.open(CODE)
        action = await one.action("Name things", (4, 9))
        changed = {"codellama": {"actions": {"prompts": OWN[:1]}}}
        one.client.workspace_did_change_configuration(types.DidChangeConfigurationParams(changed))
        (error,) = await asyncio.wait_for(asyncio.gather(one.resolving(action), return_exceptions=True), 10)
        assert getattr(error, "code", None) == -32801 and one.engine.log == []


async def test_what_stands_around_it_is_shown_where_the_settings_say_so(runtime):
    async with editor(runtime, [GOOD, GOOD], settings={"actions": {"contextChars": 40}}) as one:
        one.open(CODE)
        await one.resolved(await one.action("Simplify 'f'", (4, 9)))
        at = {"textDocument": {"uri": URI}, "range": where((4, 9), (4, 9)), "instruction": "shorter"}
        await one.ask("codellama/edit", **at)
        shown = [turn[1][1] for turn in one.engine.turns]
    assert ["Do not write them again:\n```python\nimport os\n```" in text for text in shown] == [True, True]
    assert ["Do not write them again:\n```python\nprint(os, f)\n```" in text for text in shown] == [True, True]
