"""The number of requests, for a short benchmark and for a slow model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from fakes.byte_llama import ByteTokenizer

from inference.models.catalog import STARTER
from lsp_server.benchmark import workload
from lsp_server.benchmark.source_choice import NoFilesError
from lsp_server.benchmark.workload import PromptMaker

TEXT = "".join(f"value_{n} = {n}\n" for n in range(150))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    maker = PromptMaker(replace(STARTER, infill=False), ByteTokenizer())
    monkeypatch.setattr(workload, "prompts_for", lambda model: maker)
    (tmp_path / "a.py").write_text(TEXT)
    return tmp_path


@pytest.mark.parametrize(
    ("requests", "unseen", "rewrites", "typed"), [(300, 20, 7, 120), (20, 2, 1, 24), (1, 2, 1, 24)]
)
def test_longer_trace_scales_every_scenario(folder, requests, unseen, rewrites, typed):
    made = workload.make_workload("starter", folder, requests, 0)
    assert (len(made.trace), len(made.unseen), len(made.short), len(made.streams)) == (requests, unseen, unseen, 8)
    assert (len(made.rewrites), len(made.typed), len(made.warm)) == (rewrites, typed, 0)
    assert {len(ids) for ids in made.unseen} == {workload.COLD_PROMPT}
    assert {len(ids) for ids in made.short} == {workload.DECODE_PROMPT}
    assert {edit.lines for edit in made.rewrites} == {60} or len(made.rewrites) > 1


def test_unseen_prompts_share_no_prefix(folder):
    made = workload.make_workload("starter", folder, 300, 0)
    prompts = [*made.unseen, *made.short, *made.streams]
    assert len({tuple(ids[:24]) for ids in prompts}) == len(prompts)


def test_large_model_gets_fixed_lengths(folder):
    made = workload.make_large_work("starter", folder, 0)
    assert [len(ids) for ids in made.unseen] == [200]
    assert [len(ids) for ids in made.warm] == [203, 206, 209, 212, 215]
    assert all(ids[:200] == made.unseen[0] for ids in made.warm)
    assert [(len(edit.prompt), len(edit.answer)) for edit in made.rewrites] == [(64, 24)]
    assert (made.trace, made.streams, made.typed) == ((), (), ())


def test_files_without_code_are_a_usage_error(folder):
    (folder / "a.py").write_text("x = 1\n" + "#\n" * 100)
    with pytest.raises(NoFilesError, match=r"^No source file has a line of code to rewrite\. Choose another folder\.$"):
        workload.make_workload("starter", folder, 3, 0)
