"""Requests for a hole equal those of the language server, and no completion is requested twice."""

from __future__ import annotations

from pathlib import Path

import pytest
from fakes.scripted_engine import ScriptedEngine

from inference.api.engine_errors import EngineUnavailable
from inference.evaluation.batch_journal import BatchJournal
from inference.text.stopping import StopRule
from lsp_server.benchmark.gains.completions import CompletionSource, TextLimits, requests_for
from lsp_server.benchmark.gains.gain_holes import GainHole
from lsp_server.commands.gains_command import ask_all
from lsp_server.completion.pipeline import greedy_request

LIMITS = TextLimits(prefix_chars=400, suffix_chars=200, context_chars=600, line_tokens=8, block_tokens=16)
OTHER = "def area(width, height):\n    return width * height\n\n\ndef girth(width, height):\n    return 2 * width\n"
BEFORE = "from shapes import area\n\n\ndef price(width, height):\n    "
AFTER = "\n\n\nprint(price(3, 4))\n"


def hole(root: Path, kind: str = "line", before: str = BEFORE, middle: str = "return area(width, height)") -> GainHole:
    return GainHole("shop.py", kind, before, middle, AFTER, root, "python")  # pyright: ignore[reportArgumentType]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    project = (tmp_path / "project").resolve()
    project.mkdir()
    (project / "shapes.py").write_text(OTHER)
    return project


def test_requests_are_those_of_the_language_server(root):
    line = hole(root)
    server = greedy_request(line.snapshot, LIMITS.settings(line))
    asked = requests_for(line, LIMITS)
    assert (asked.infill.prompt, asked.infill.suffix, asked.infill.stop_rule) == (BEFORE, AFTER, server.stop_rule)
    assert asked.infill.stop_rule.kind == "block"
    assert (asked.infill.sampling.max_tokens, asked.infill.deadline_ms) == (8, None)


def test_prefix_only_request_has_no_suffix_and_stops_at_the_line(root):
    asked = requests_for(hole(root), LIMITS).prefix
    assert (asked.prompt, asked.suffix, asked.stop_rule) == (BEFORE, None, StopRule("line"))


def test_block_request_has_no_stop_rule(root):
    """It is applied to the answer later; with context it is applied at once."""
    asked = requests_for(hole(root, "block"), LIMITS)
    assert (asked.prefix.stop_rule, asked.infill.stop_rule) == (StopRule(), StopRule())
    assert asked.context is not None
    assert (asked.context.stop_rule.kind, asked.infill.sampling.max_tokens) == ("block", 16)


def test_context_comes_from_imported_files(root):
    asked = requests_for(hole(root), LIMITS)
    assert asked.context is not None
    assert [(chunk.path, chunk.text.split("\n")[0]) for chunk in asked.context.context] == [
        ("shapes.py", "def area(width, height):"),
        ("shapes.py", "def girth(width, height):"),
    ]


def test_no_context_request_without_snippets(root):
    (root / "shapes.py").unlink()
    assert requests_for(hole(root), LIMITS).context is None


async def test_second_run_reads_the_journal(root, tmp_path):
    engine = ScriptedEngine(prefix="return 1\n", infill="return width\n", context="return area(width, height)\n")
    first = await CompletionSource(engine, BatchJournal(tmp_path / "answers"), "model").ask(
        requests_for(hole(root), LIMITS)
    )
    nobody = ScriptedEngine(limit=0)
    again = await CompletionSource(nobody, BatchJournal(tmp_path / "answers"), "model").ask(
        requests_for(hole(root), LIMITS)
    )
    assert first == again
    assert first.context is not None
    assert [first.prefix.text, first.infill.text, first.context.text] == [engine.prefix, engine.infill, engine.context]
    assert ([round(token.logprob, 4) for token in again.infill.tokens], again.prefix.tokens) == ([-0.6931], ())


async def test_journal_is_per_model(root, tmp_path):
    journal = BatchJournal(tmp_path / "answers")
    await CompletionSource(ScriptedEngine(), journal, "one").ask(requests_for(hole(root), LIMITS))
    assert not CompletionSource(ScriptedEngine(), journal, "two").known(requests_for(hole(root), LIMITS))


async def test_killed_run_resumes(root, tmp_path):
    """At the fourth answer of six: of the second hole one is there, two are not."""
    holes = [hole(root), hole(root, before=BEFORE + "x = 1\n    ")]
    short, long = ScriptedEngine(infill="a", limit=4), ScriptedEngine(infill="a")
    with pytest.raises(EngineUnavailable):
        await ask_all(
            CompletionSource(short, BatchJournal(tmp_path / "answers"), "m"), holes, LIMITS, None, lambda _: None
        )
    answered = await ask_all(
        CompletionSource(long, BatchJournal(tmp_path / "answers"), "m"), holes, LIMITS, None, lambda _: None
    )
    assert (len(answered), len(short.asked), len(long.asked)) == (2, 4, 2)
    assert [request.suffix is None for request in long.asked] == [False, False]


async def test_without_time_left_only_the_journal_is_used(root, tmp_path):
    holes = [hole(root), hole(root, before=BEFORE + "x = 1\n    ")]
    first = await CompletionSource(ScriptedEngine(), BatchJournal(tmp_path / "answers"), "m").ask(
        requests_for(holes[0], LIMITS)
    )
    nobody = CompletionSource(ScriptedEngine(limit=0), BatchJournal(tmp_path / "answers"), "m")
    assert await ask_all(nobody, holes, LIMITS, 0, lambda _: None) == [first]
