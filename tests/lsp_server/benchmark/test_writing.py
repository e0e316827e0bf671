"""The simulated typist with the real language server and a scripted model."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from fakes.scripted_model import ScriptedModel
from support.fixtures_engine import serving

from lsp_server.benchmark.editing_trace import TypedText
from lsp_server.benchmark.source_choice import NoFilesError
from lsp_server.benchmark.typing_run import Habits, Tally, keys_saved, type_file, typing_table
from lsp_server.commands import typist_command
from lsp_server.commands.typist_command import AT_ITS_OWN_PACE, work_in
from lsp_server.demo.tiny_editor import TinyEditor, tiny_editor

SETTINGS = {"completion": AT_ITS_OWN_PACE, "engine": {"adapter": ""}}


@dataclass
class Told(ScriptedModel):
    """A model that generates the scripted text for a prompt's end, else an empty text."""

    says: dict[str, str] = field(default_factory=dict)

    def complete(self, prompt, suffix, sampling, rule, options, context=()):
        self.pieces = [text for end, text in self.says.items() if prompt.endswith(f"\n{end}")]
        return super().complete(prompt, suffix, sampling, rule, options)


def begun(answerer: ScriptedModel) -> list[str]:
    """Return the last line of each prompt."""
    return [line.rpartition("\n")[2] for line in answerer.log if line.startswith("begin ")]


async def wrote(editor: TinyEditor, todo: str, **habits) -> Tally:
    """Type ``todo`` between two lines of a file."""
    await editor.ready()
    return await type_file(
        editor, Path("/a.py"), "python", TypedText("import os\n", todo, "\nend = 1\n"), Habits(**habits)
    )


async def test_matching_words_are_accepted_and_counted(runtime):
    """After `v` the completion is wrong. After `va` only the number is wrong."""
    answerer = Told(says={"v": "ector", "va": "lue = compute(2)"})
    async with serving(runtime, answerer), tiny_editor(SETTINGS) as editor:
        tally = await wrote(editor, "value = compute(1)")
    # keys: v, a, then the words "lue", " =" and " compute", then ( 1 )
    assert (tally.alone, tally.keys) == (18, 8)
    assert (tally.shown, tally.accepted, tally.partly) == (2, 1, 1)
    # no request after the last key; no model call while the suggestion still matches
    assert (tally.requests, tally.unanswered, tally.superseded) == (7, 0, 0)
    assert (tally.calls, tally.known, len(tally.seconds)) == (3, 4, 7)
    assert begun(answerer) == ["v", "va", "value = compute(1"]


async def test_typist_for_whole_completions_types_the_rest(runtime):
    """Parts of the completion are not accepted but typed."""
    answerer = Told(says={"va": "lue = compute(2)", "value = compute(1": " + offset"})
    async with serving(runtime, answerer), tiny_editor(SETTINGS) as editor:
        tally = await wrote(editor, "value = compute(1 + offset)", least="whole")
    assert (tally.alone, tally.keys) == (27, 17 + 1 + 1)
    assert (tally.shown, tally.accepted, tally.partly) == (2, 1, 0)


async def test_several_lines_are_accepted_at_once(runtime):
    answerer = Told(says={"d": "ef f(a):\n    return a"})
    async with serving(runtime, answerer), tiny_editor(SETTINGS) as editor:
        tally = await wrote(editor, "def f(a):\n    return a\n\nx = 2")
    # keys: d Tab Enter Enter x = 2, with blanks
    assert (tally.alone, tally.keys) == (9 + 1 + 8 + 1 + 1 + 5, 2 + 2 + 5)
    assert (tally.shown, tally.accepted, tally.partly) == (1, 1, 0)
    assert (tally.requests, tally.calls, tally.known) == (8, 8, 0)


async def test_at_a_human_rate_older_requests_are_superseded(runtime):
    """The model is blocked until the last key."""
    answerer = ScriptedModel(["1", "2"], hold=True)

    async def release(editor: TinyEditor) -> None:
        while [record["result"] for record in await editor.records()].count("superseded") < 4:
            pass
        answerer.go.set()

    async with serving(runtime, answerer), tiny_editor(SETTINGS) as editor:
        tally, _ = await asyncio.gather(wrote(editor, "abcdef", gap=lambda: 0.0), release(editor))
    assert (tally.keys, tally.accepted) == (6, 0)
    assert (tally.requests, tally.superseded, tally.unanswered, len(tally.seconds)) == (5, 4, 0, 1)


async def test_command_prints_all_languages_and_their_sum(runtime, tmp_path, monkeypatch):
    (tmp_path / "a.py").write_text("import os\n\n\ndef first_of_all(values):\n    return values[0] + values[1]\n" * 3)
    (tmp_path / "b.js").write_text(
        "'use strict'\n\nfunction last(values) {\n  return values[values.length - 1]\n}\n" * 3
    )

    @asynccontextmanager
    async def here(model, form, completion):
        async with tiny_editor({"completion": completion, "engine": {"adapter": ""}}) as editor:
            await editor.ready()
            yield editor

    monkeypatch.setattr(typist_command, "isolated_editor", here)
    args = typist_command._arguments([str(tmp_path), "--keys", "20", "--seed", "3"])
    answerer = ScriptedModel(["zzz"])
    async with serving(runtime, answerer):
        result = await typist_command.simulate(args, lambda _: None)
    assert json.loads(json.dumps(result)) == result
    assert list(result["languages"]) == ["javascript", "python", "all"]
    javascript, python, whole = result["languages"].values()
    for name in ("files", "keys", "requests", "shown", "model_calls"):
        assert whole[name] == javascript[name] + python[name] > 0
    assert (whole["files"], whole["unanswered"], whole["saved"]) == (2, 0, 0.0)
    assert whole["model_calls"] == len(begun(answerer))
    assert typing_table(result["languages"]).row_count == 3


def test_figures_are_sums_and_shares():
    tallies = [
        Tally("python", 1, 100, 60, 10, 5, 2, 50, 0, 20, 25, 5, [0.1, 0.2]),
        Tally("c", 1, 50, 50, 0, 0, 0, 49, 1, 40, 8, 0, []),
    ]
    of_c, of_python, whole = keys_saved(tallies).values()
    assert (of_python["saved"], of_python["acceptance"], of_python["calls_per_100_keys"]) == (0.4, 0.5, 33.3)
    assert of_python["ms"] == {"p50": 150.0, "p95": 200.0}
    assert (of_c["saved"], of_c["acceptance"], of_c["ms"]) == (0.0, 0.0, None)
    assert (whole["keys_alone"], whole["saved"], whole["unanswered"], whole["without_model"]) == (150, 0.2667, 1, 33)


def test_same_seed_chooses_the_same_files_and_positions(tmp_path):
    for name in "abc":
        (tmp_path / f"{name}.py").write_text("".join(f"{name}_{n} = compute({n})\n" for n in range(40)))
    first, again, other = (work_in([tmp_path], 2, 30, seed) for seed in (1, 1, 2))
    assert first == again != other
    assert [(path.name, language, len(typist.todo) >= 30) for path, language, typist in first] == [
        ("a.py", "python", True),
        ("b.py", "python", True),
    ]


def test_missing_files_are_reported(tmp_path):
    (tmp_path / "a.py").write_text("value = compute(1)\n" * 6)
    with pytest.raises(NoFilesError, match="Choose fewer --keys"):
        work_in([tmp_path], 2, 1000, 0)
