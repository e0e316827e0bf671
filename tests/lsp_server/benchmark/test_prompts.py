"""Prompts as ids: typed requests and edits."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from fakes.byte_llama import ByteTokenizer

from inference.models.catalog import STARTER
from inference.text.source_files import SourceFile
from lsp_server.benchmark.workload import BUDGET, TYPED, Edit, PromptMaker

FILES = [SourceFile("a.py", "python", "".join(f"line_{n} = {n}\n" for n in range(200)))]


@pytest.fixture
def maker() -> PromptMaker:
    return PromptMaker(replace(STARTER, infill=False), ByteTokenizer())


@pytest.mark.parametrize("count", [10, 300])
def test_typed_prompts_each_extend_the_one_before(maker, count):
    """The text is repeated until it is long enough."""
    prompts = maker.typed(FILES, count)
    assert len(prompts) == count
    grown = [later[len(earlier) :] for earlier, later in pairwise(prompts) if later[: len(earlier)] == earlier]
    assert len(grown) > 0.9 * (count - 1), "but where the window moves"
    assert sum(map(len, grown)) / len(grown) == pytest.approx(TYPED, rel=0.2)


def test_edit_becomes_prompt_and_answer_ids(maker):
    one = maker.recording(Edit("a = 1\nb = 2\n", "a = 1\n"))
    assert bytes(one.prompt[-12:]) == b"a = 1\nb = 2\n"
    assert (bytes(one.answer), one.before, one.lines) == (b"a = 1\n", "a = 1\nb = 2\n", 2)
    short = one.cut(4, 3)
    assert (bytes(short.prompt), bytes(short.answer), short.before) == (b" = 2\n"[-4:], b"a =", one.before)


def test_edits_larger_than_the_context_are_skipped(maker):
    long, short = Edit("x" * BUDGET, "y"), Edit("x", "y")
    assert [one.before for one in maker.recordings([long, short, long, short, short], 2)] == ["x", "x"]
    assert maker.recordings([long] * 100, 2) == []
