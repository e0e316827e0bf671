"""The text of each stage, and the figures that follow."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from fakes.scripted_engine import ScriptedEngine
from rich.console import Console

from inference.evaluation.batch_journal import BatchJournal
from inference.text.source_files import SourceFile
from lsp_server.benchmark.gains.completions import CompletedHole, CompletionSource, TextLimits, requests_for
from lsp_server.benchmark.gains.gain_figures import (
    CONTEXT,
    INFILL,
    MORE,
    OTHER_ENDS,
    OTHER_FILES,
    PREFIX,
    SHAPED,
    STOP,
    count_true_blocks,
    cut_blocks,
    effects,
    figures,
    postprocessed,
    stage_texts,
)
from lsp_server.benchmark.gains.gain_holes import GainHole, defined_names
from lsp_server.benchmark.gains.gain_report import show

LIMITS = TextLimits(prefix_chars=400, suffix_chars=200, context_chars=600, line_tokens=8, block_tokens=16)
SHAPES = "def area(width, height):\n    return width * height\n"


def hole(root: Path, kind: str, document: str, middle: str) -> GainHole:
    """Return a hole with the cursor at ``|``."""
    before, _, after = document.partition("|")
    return GainHole("shop.py", kind, before, middle, after, root, "python")  # pyright: ignore[reportArgumentType]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "shapes.py").write_text(SHAPES)
    return tmp_path.resolve()


@pytest.fixture
def ask(tmp_path):
    async def asked(where: GainHole, engine: ScriptedEngine) -> CompletedHole:
        return await CompletionSource(engine, BatchJournal(tmp_path / "answers"), repr(engine)).ask(
            requests_for(where, LIMITS)
        )

    return asked


IMPORTS = "from shapes import area\n\n\n"
BLOCK = f"{IMPORTS}def price(width, height):\n    |\n\n\nprint(price(3, 4))\n"
WROTE = "if width > height:\n        return 1\n    return 2\n\n\nlast = 3\n"


async def test_a_missing_block(root, ask):
    """Without rules the whole text; with them up to the dedent; with context the text generated with it."""
    engine = ScriptedEngine(prefix="return 1\n\n\nprint(", infill=WROTE, context="return area(width, height)")
    one = await ask(hole(root, "block", BLOCK, "return area(width, height)"), engine)
    assert stage_texts(one) == {
        PREFIX: "return 1\n\n\nprint(",
        INFILL: WROTE,
        SHAPED: "if width > height:\n        return 1\n    return 2",
        CONTEXT: "return area(width, height)",
    }


async def test_the_rest_of_a_line(root, ask):
    """All stages are cut after the first line; post-processing also drops text right of the cursor."""
    where = hole(root, "end", f"{IMPORTS}print(area(3, |\n", "4))")
    engine = ScriptedEngine(prefix="4, 5)\nprint(", infill="4))))", context="4))")
    assert stage_texts(await ask(where, engine)) == {PREFIX: "4, 5)", INFILL: "4))))", SHAPED: "4))", CONTEXT: "4))"}


async def test_without_snippets_context_changes_nothing(root, ask):
    where = hole(root, "end", "total = pri|\n", "ce")
    one = await ask(where, ScriptedEngine(prefix="ces", infill="ce", context="never asked"))
    assert one.context is None
    assert stage_texts(one)[CONTEXT] == stage_texts(one)[SHAPED] == "ce"


async def test_truncated_block_loses_its_unfinished_line(root, ask):
    where = hole(root, "block", BLOCK, "a = 1\n    return a")
    one = await ask(where, ScriptedEngine(infill="a = 1\n    return a + wid", cause="length"))
    assert stage_texts(one)[INFILL] == "a = 1\n    return a + wid"
    assert stage_texts(one)[SHAPED] == "a = 1"


async def test_each_rule_is_compared_with_its_absence(root, ask):
    """The stop rule corrects one of three holes, post-processing another; the third is not touched."""
    block = hole(root, "block", BLOCK, "if width > height:\n        return 1\n    return 2")
    end = hole(root, "end", f"{IMPORTS}print(area(3, |\n", "4))")
    answered = [
        await ask(block, ScriptedEngine(infill=WROTE)),
        await ask(end, ScriptedEngine(infill="4))))")),
        await ask(end, ScriptedEngine(infill="5))")),
    ]
    found = {effect.rule: effect for effect in effects(answered)}
    stop, closer = found[STOP], found["doubled closer"]
    assert (stop.holes, stop.touched, stop.righted, stop.wronged, stop.exact.value) == (1, 1, 1, 0, 1.0)
    assert (closer.holes, closer.touched, closer.dropped, closer.righted) == (3, 1, 0, 1)
    assert closer.exact.value == pytest.approx(1 / 3)
    assert (closer.exact.low, closer.exact.high) == (0.0, 1.0)
    touched = {name for name, effect in found.items() if effect.touched and not name.startswith(MORE)}
    assert touched == {STOP, "doubled closer"}


async def test_extra_lines_after_a_missing_line_are_counted(root, ask):
    where = hole(root, "line", BLOCK, "x = area(1, 2)")
    one = await ask(where, ScriptedEngine(infill="x = area(1, 2)\n    return x"))
    more, alone = (effect for effect in effects([one]) if effect.rule.startswith(MORE))
    assert stage_texts(one)[SHAPED] == "x = area(1, 2)"
    assert postprocessed(one.hole, one.infill).text == "x = area(1, 2)\n    return x"
    assert replace(alone, rule=MORE) == more
    assert (more.touched, more.wronged, more.exact.value) == (1, 1, -1.0)


def test_true_blocks_cut_by_the_stop_rule_are_counted(root):
    whole = hole(root, "block", BLOCK, "a = 1\n    return a")
    cut = hole(root, "block", BLOCK, 'text = """\nat the margin\n"""\n    return text')
    assert count_true_blocks([whole, cut]) == {"blocks": 2, "cut": 1, "cut_lines": 0, "too_long": 0}
    assert cut_blocks([whole, cut]) == [cut]


async def test_figures_of_two_holes(root, ask):
    """Infilling makes one of two right, context the other, which uses a name that only another file defines."""
    line = hole(root, "line", "from shapes import *\n\nwidth = 3\n|\n", "x = area(3, 4)")
    end = hole(root, "end", "total = pri|\n", "ce")
    answered = [
        await ask(line, ScriptedEngine(prefix="x", infill="x", context="x = area(3, 4)")),
        await ask(end, ScriptedEngine(prefix="nt", infill="ce", context="ce")),
    ]
    known = {root: defined_names([SourceFile("shapes.py", "python", SHAPES)])}
    found = figures(answered, [], known)
    exact = {stage: scores["exact"] for stage, scores in found["groups"]["all"]["stages"].items()}
    assert exact == {PREFIX: 0.0, INFILL: 0.5, SHAPED: 0.5, CONTEXT: 1.0}
    assert found["groups"]["all"]["added"][INFILL]["exact"] == {"value": 0.5, "low": 0.0, "high": 1.0}
    assert found["groups"]["all"]["stages"][INFILL] == {
        "exact": 0.5, "similarity": pytest.approx((1 / 14 + 1) / 2), "first_line": 0.5, "shown": 1.0, "precision": 0.5
    }  # fmt: skip
    other = found["groups"][OTHER_FILES]
    assert (other["holes"], other["added"][CONTEXT]["exact"]["value"]) == (1, 1.0)
    assert (found["holes"], found["with_context"], "block" in found["groups"]) == (2, 1, False)
    assert json.loads(json.dumps(found)) == found


async def test_additional_ends_form_their_own_group(root, ask):
    """They change no other figure."""
    end, known = hole(root, "end", "total = pri|\n", "ce"), {root: defined_names([])}
    one, other = (
        await ask(end, ScriptedEngine(prefix="ce", infill="ce", context="ce")),
        await ask(end, ScriptedEngine(prefix="nt", infill="nt", context="ce")),
    )
    alone, both = figures([one], [], known), figures([one], [other], known)
    ends = both["groups"].pop(OTHER_ENDS)
    assert (ends["holes"], ends["stages"][INFILL]["exact"]) == (1, 0.0)
    assert both == alone | {"others": 1}


async def test_confidence_table_shows_what_a_threshold_leaves(root, ask):
    """Each line is as likely as not: up to 0.5 both answers are left, one of them right; above it none."""
    end = hole(root, "end", "total = pri|\n", "ce")
    answered = [await ask(end, ScriptedEngine(infill="ce")), await ask(end, ScriptedEngine(infill="nt"))]
    rows = {row["threshold"]: row for row in figures(answered, [], {root: defined_names([])})["confidence"]}
    left = {"threshold": 0.4, "shown": 1.0, "right": 0.5, "first_line": 0.5, "kept_right": 1.0}
    assert rows[0.4] == left
    assert rows[0.6] == dict.fromkeys(left, 0.0) | {"threshold": 0.6}


async def test_the_tables_name_every_stage_and_rule(root, ask):
    end = hole(root, "end", "total = pri|\n", "ce")
    found = figures([await ask(end, ScriptedEngine(prefix="nt", infill="ce"))], [], {root: defined_names([])})
    console = Console(width=200, record=True, file=io.StringIO())
    show(console, found)
    printed = console.export_text()
    assert all(word in printed for word in (PREFIX, INFILL, SHAPED, CONTEXT, "parses worse", "+100.0 [+100.0, +100.0]"))
