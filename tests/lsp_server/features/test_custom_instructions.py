"""Custom instructions from the settings as code actions.

A real server and engine service over LSP; only the model is scripted.
"""

from __future__ import annotations

import asyncio

import pytest
from fakes.scripted_model import block
from lsprotocol import types
from support.code_actions import CODE, EDITORS, GOOD, OTHERS, titles
from support.editor_session import URI
from support.simulated_user import editing_user, json_range

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
async def test_each_instruction_is_offered_once(runtime, start, stop, only, listed):
    async with editing_user(runtime, settings=SETTINGS) as one:
        one.open(CODE)
        assert titles(await one.actions(start, stop, only=only)) == listed


@pytest.mark.parametrize("name", EDITORS)
async def test_instruction_runs_and_output_is_validated(runtime, name):
    async with editing_user(runtime, [block("def f(a:"), GOOD], name, settings=SETTINGS) as one:
        one.open(CODE)
        edit = (await one.resolve(await one.action("Add x to what it returns", (4, 9)))).edit
        assert one.edits_of(edit) == [((4, 8, 4, 11), "1"), ((5, 12, 5, 12), " + x")]
        first, second = one.model.turns
    assert first[1][1].endswith("changed as follows: Add x to what it returns")
    assert "does not parse" in second[-1][1]


async def test_removed_instruction_is_refused(runtime):
    """The client's data select one of the user's instructions and cannot add one."""
    async with editing_user(runtime, settings=SETTINGS) as one:
        one.open(CODE)
        action = await one.action("Name things", (4, 9))
        changed = {"codellama": {"actions": {"prompts": OWN[:1]}}}
        one.client.workspace_did_change_configuration(types.DidChangeConfigurationParams(changed))
        (error,) = await asyncio.wait_for(asyncio.gather(one.send_resolve(action), return_exceptions=True), 10)
        assert getattr(error, "code", None) == -32801 and one.model.log == []


async def test_surrounding_code_is_included_if_configured(runtime):
    async with editing_user(runtime, [GOOD, GOOD], settings={"actions": {"contextChars": 40}}) as one:
        one.open(CODE)
        await one.resolve(await one.action("Simplify 'f'", (4, 9)))
        at = {"textDocument": {"uri": URI}, "range": json_range((4, 9), (4, 9)), "instruction": "shorter"}
        await one.ask("codellama/edit", **at)
        shown = [turn[1][1] for turn in one.model.turns]
    assert ["Do not write them again:\n```python\nimport os\n```" in text for text in shown] == [True, True]
    assert ["Do not write them again:\n```python\nprint(os, f)\n```" in text for text in shown] == [True, True]
