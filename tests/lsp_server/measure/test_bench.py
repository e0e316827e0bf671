"""The whole bench with tiny servers on both sides; nothing is asserted about seconds."""

from __future__ import annotations

import json

from fakes.answerer import ScriptedAnswerer
from fakes.llama_server import FakeLlamaServer, listening
from fixtures_engine import serving

from inference.text.source import SourceFile
from lsp_server.measure import bench, scenarios
from lsp_server.measure.bench import Work, measure
from lsp_server.measure.figures import figures
from lsp_server.measure.sides.finding import find_side
from lsp_server.measure.sides.own import side_on
from lsp_server.measure.trace import make_trace

FILES = [SourceFile("a.py", "python", "import os\n\n\ndef add(a, b):\n    return a + b\n")]


class Obedient(ScriptedAnswerer):
    """Writes as many tokens as it is asked for."""

    def complete(self, prompt, suffix, sampling, rule, deadline, context=()):
        self.pieces = ["x"] * sampling.max_tokens
        return super().complete(prompt, suffix, sampling, rule, deadline, context=())


def work(requests: int) -> Work:
    trace = make_trace(FILES, requests)
    ids = [[n + 1, *range(30)] for n in range(12)]
    return Work([(request, [n, n]) for n, request in enumerate(trace)], ids[:2], ids[2:4], ids[4:], list(range(200)))


async def test_both_sides_get_the_same_ids_in_turns_and_write_as_many_tokens(runtime):
    fake, answerer = FakeLlamaServer(), Obedient()
    async with serving(runtime, answerer) as running, listening(fake.app()) as url:
        sides = [side_on(running.socket, "starter"), await find_side(url)]
        results = await measure(sides, work(5), 4, None, lambda _: None)
        for side in sides:
            await side.aclose()
    asked = [body["prompt"] for path, body in fake.bodies if path == "/completion"]
    begun = [line.removeprefix("begin ") for line in answerer.log if line.startswith("begin [")]
    assert begun == [str(ids) for ids in asked]
    replayed = [s for s in results.samples if s.kind not in ("unseen", "decode")]
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
    assert all(side["jitter_ms"] and side["wait_ms"] for side in one["sides"].values())
    assert json.loads(json.dumps(one)) == one


async def test_many_streams_are_asked_at_once_and_every_gap_counts(runtime):
    fake = FakeLlamaServer()
    async with listening(fake.app()) as url:
        side, results = await find_side(url), scenarios.Results()
        await scenarios.streams([side], [[n] for n in range(8)], results)
        await side.aclose()
    assert len(results.gaps[side.name]) == 8 * (scenarios.STREAM_TOKENS - 1)


def refused(capsys, *arguments: str) -> tuple[int, str]:
    status = bench.main(arguments)
    captured = capsys.readouterr()
    assert captured.out == ""
    return status, captured.err.removeprefix("codellama-ls: ").strip()


def test_a_rival_that_is_not_there_ends_the_bench_in_one_sentence(capsys):
    message = "Nothing answers at http://127.0.0.1:9: start the server, or check the address."
    assert refused(capsys, "--against", "http://127.0.0.1:9") == (1, message)


def test_a_folder_that_is_not_there_is_a_wrong_use(capsys, tmp_path):
    message = f"There is no file or folder {tmp_path}/x."
    assert refused(capsys, "--files", f"{tmp_path}/x") == (2, message)


def test_a_folder_without_code_is_a_wrong_use(capsys, tmp_path):
    message = f"There is no source code in {tmp_path}; choose another folder."
    assert refused(capsys, "--files", str(tmp_path)) == (2, message)
