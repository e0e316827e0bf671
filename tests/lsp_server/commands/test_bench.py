"""The complete benchmark with tiny servers on both sides. No test asserts a time."""

from __future__ import annotations

import json
from dataclasses import replace

from fakes.llama_server import FakeLlamaServer, listening
from fakes.scripted_model import ScriptedModel
from support.fixtures_engine import serving

from inference.models.catalog import find
from inference.text.source_files import SourceFile
from lsp_server.benchmark import scenarios
from lsp_server.benchmark.bench_figures import figures
from lsp_server.benchmark.editing_trace import KINDS, make_trace
from lsp_server.benchmark.sides.http_sides import find_side
from lsp_server.benchmark.sides.own_engine import side_on
from lsp_server.benchmark.workload import Recording, Workload
from lsp_server.commands import bench_command

FILES = [SourceFile("a.py", "python", "import os\n\n\ndef add(a, b):\n    return a + b\n")]


class Obedient(ScriptedModel):
    """A model that generates exactly the requested number of tokens."""

    def complete(self, prompt, suffix, sampling, rule, options, context=()):
        self.pieces = ["x"] * sampling.max_tokens
        return super().complete(prompt, suffix, sampling, rule, options, context=())


def work(requests: int) -> Workload:
    trace = make_trace(FILES, requests)
    ids = [[n + 1, *range(30)] for n in range(12)]
    return Workload(
        trace=[(request, [n, n]) for n, request in enumerate(trace)],
        unseen=ids[:2],
        short=ids[2:4],
        rewrites=[Recording([n], (7, 8, 9), "before", 60) for n in range(2)],
        streams=ids[4:],
        typed=[[3] * n for n in range(1, 7)],
    )


async def test_both_sides_get_the_same_ids_in_alternating_order(runtime):
    fake, answerer = FakeLlamaServer(), Obedient()
    async with serving(runtime, answerer) as running, listening(fake.app()) as url:
        sides = [side_on(running.socket, "starter"), await find_side(url)]
        results = await scenarios.measure(sides, work(5), 4, None, lambda _: None)
        for side in sides:
            await side.aclose()
    asked = [body["prompt"] for path, body in fake.bodies if path == "/completion"]
    begun = [line.removeprefix("begin ") for line in answerer.log if line.startswith("begin [")]
    assert [ids for ids in begun if ids not in ("[0]", "[1]")] == [str(ids) for ids in asked]
    assert (
        begun.count("[0]") == begun.count("[1]") == 3
    )  # the original text is read, then rewritten with and without drafts
    replayed = [s for s in results.samples if s.kind in KINDS]
    assert [s.side == "codellama-ls" for s in replayed] == [
        True,
        False,
        False,
        True,
        True,
        False,
        False,
        True,
        True,
        False,
    ]
    assert {s.answer.written for s in replayed} == {4}
    one = figures(results, "codellama-ls")
    assert {name: side["requests"]["all"]["count"] for name, side in one["sides"].items()} == dict.fromkeys(
        ("codellama-ls", f"llama-server at {url}"), 5
    )
    assert all(side["streams"] and side["wait_ms"]["count"] == 3 for side in one["sides"].values())
    assert one["rewrites"]["count"] == 2
    assert json.loads(json.dumps(one)) == one


async def test_slow_rival_is_compared_on_a_sample(runtime):
    fake = FakeLlamaServer()
    async with serving(runtime, Obedient()) as running, listening(fake.app()) as url:
        ours, rival = side_on(running.socket, "starter"), await find_side(url)
        rival.every = 3
        results = await scenarios.measure([ours, rival], work(7), 4, None, lambda _: None)
        for side in (ours, rival):
            await side.aclose()
    asked = {
        side.name: [s.request for s in results.samples if s.side == side.name and s.kind in KINDS]
        for side in (ours, rival)
    }
    assert asked == {ours.name: list(range(7)), rival.name: [0, 3, 6]}
    assert figures(results, ours.name)["sides"][rival.name]["requests"]["all"]["count"] == 3


async def test_drafts_are_on_only_for_rewrites(runtime):
    """Rewrites are recorded, so draft acceptance does not depend on chance. The order alternates between rewrites."""
    answerer, results, made = Obedient(), scenarios.Results(), work(1)
    async with serving(runtime, answerer) as running:
        side = side_on(running.socket, "starter")
        await scenarios.measure_decode([side], made.short, results)
        long_answers = [sampling for _, _, sampling in answerer.asked]
        answerer.asked.clear()
        await scenarios.measure_rewrites([side], made.rewrites, results)
        await side.aclose()
    assert [(one.drafts, one.max_tokens) for one in long_answers] == [(False, scenarios.DECODE_TOKENS)] * 2
    assert [(prompt, one.drafts, one.forced) for prompt, _, one in answerer.asked] == [
        ([0], True, (7,)),
        ([0], True, (7, 8, 9)),
        ([0], False, (7, 8, 9)),
        ([1], True, (7,)),
        ([1], False, (7, 8, 9)),
        ([1], True, (7, 8, 9)),
    ]
    assert {one.prediction for _, _, one in answerer.asked} == {"before"}


async def test_large_model_gets_few_requests_and_rivals_rewrite(runtime):
    large = replace(work(1), trace=(), warm=[[1, 2]], rewrites=work(1).rewrites[:1], short=(), streams=(), typed=())
    fake, answerer = FakeLlamaServer(), Obedient()
    async with serving(runtime, answerer) as running, listening(fake.app()) as url:
        sides = [side_on(running.socket, "starter"), await find_side(url)]
        results = await scenarios.measure(sides, large, 4, None, lambda _: None)
        for side in sides:
            await side.aclose()
    kinds = ["unseen", "unseen", "warm", "rewrite"]
    assert sorted(s.kind for s in results.samples if s.side != "codellama-ls") == sorted(kinds)
    assert sorted(s.kind for s in results.samples if s.side == "codellama-ls") == sorted([*kinds, "plain rewrite"])
    assert (results.streams, results.waits) == ({}, {})


async def test_side_that_queues_behind_chat_gets_few_requests(runtime):
    """One idle and one concurrent request are sent if a request takes longer than the time limit."""
    fake, results = FakeLlamaServer(), scenarios.Results()
    async with listening(fake.app()) as url:
        side = await find_side(url)
        await scenarios.measure_during_chat([side], work(1).typed, 4, results, patience=0)
        await side.aclose()
    waits = results.waits[side.name]
    assert (len(waits.idle), len(waits.busy), len(waits.steps)) == (1, 1, 2)


async def test_side_without_chat_is_skipped(runtime):
    results = scenarios.Results()
    async with serving(runtime, Obedient(row=find("codellama-7b"))) as running:
        side = side_on(running.socket, "codellama-7b")
        await scenarios.measure_during_chat([side], work(1).typed, 4, results, patience=0)
        await side.aclose()
    assert results.waits == {}


async def test_concurrent_streams_count_every_gap(runtime):
    fake = FakeLlamaServer()
    async with listening(fake.app()) as url:
        side, results = await find_side(url), scenarios.Results()
        await scenarios.measure_streams([side], [[n] for n in range(8)], results)
        await side.aclose()
    assert [len(answer.arrivals) for answer in results.streams[side.name]] == 8 * [scenarios.STREAM_TOKENS]


def refused(capsys, *arguments: str) -> tuple[int, str]:
    status = bench_command.main(arguments)
    captured = capsys.readouterr()
    assert captured.out == ""
    return status, captured.err.removeprefix("codellama-ls: ").strip()


def test_missing_rival_is_reported_in_one_sentence(capsys):
    message = "No server answers at http://127.0.0.1:9. Start it, or check the address."
    assert refused(capsys, "--against", "http://127.0.0.1:9") == (1, message)


def test_missing_folder_is_a_usage_error(capsys, tmp_path):
    message = f"There is no file or folder {tmp_path}/x."
    assert refused(capsys, "--files", f"{tmp_path}/x") == (2, message)


def test_folder_without_code_is_a_usage_error(capsys, tmp_path):
    message = f"There is no source code in {tmp_path}. Choose another folder."
    assert refused(capsys, "--files", str(tmp_path)) == (2, message)


def test_unknown_model_is_reported_in_one_sentence(capsys):
    assert bench_command.main(["--quick", "--model", "gpt"]) == 1
    assert (
        capsys.readouterr().err
        == "codellama-ls: There is no model 'gpt'. `codellama-ls models` lists the known models.\n"
    )
