"""The ``eval`` command from arguments to tables, with a tiny random model and with reference completions."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from fakes.tiny_llama import save_checkpoint

from inference.evaluation import runner
from inference.evaluation.batch_generation import BatchGenerator
from inference.evaluation.batch_journal import BatchJournal
from inference.models.adapter_store import FOLDER_VARIABLE
from lsp_server import cli

TASKS = [
    {
        "task_id": "SingleLineInfilling/T/0",
        "prompt": "def double(x):\n",
        "suffix": "\n",
        "canonical_solution": "    return 2 * x",
        "test": "def check(f):\n    assert f(3) == 6",
        "entry_point": "double",
    },
    {
        "task_id": "SingleLineInfilling/T/1",
        "prompt": "def last(items):\n    n = len(items)\n",
        "suffix": "\n",
        "canonical_solution": "    return items[n - 1]",
        "test": "def check(f):\n    assert f([1, 2]) == 2",
        "entry_point": "last",
    },
    {
        "task_id": "MultiLineInfilling/T/2",
        "prompt": "def sign(x):\n",
        "suffix": "    return 0\n",
        "canonical_solution": "    if x > 0:\n        return 1\n    if x < 0:\n        return -1\n",
        "test": "def check(f):\n    assert (f(3), f(0), f(-2)) == (1, 0, -1)",
        "entry_point": "sign",
    },
    {
        "task_id": "MultiLineInfilling/T/3",
        "prompt": "def total(items):\n    found = 0\n",
        "suffix": "    return found\n",
        "canonical_solution": "    for item in items:\n        found += item\n",
        "test": "def check(f):\n    assert f([1, 2, 3]) == 6",
        "entry_point": "total",
    },
]

CODE = "".join(f"def name{n}(a, b):\n    if a:\n        return b + {n}\n    return a\n\n\n" for n in range(6))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint with random weights and infilling sentinels."""
    return save_checkpoint(tmp_path_factory.mktemp("model"), sentinels=True, max_position_embeddings=1024)


@pytest.fixture
def tasks(tmp_path: Path) -> Path:
    path = tmp_path / "T.jsonl.gz"
    path.write_bytes(gzip.compress("".join(json.dumps(task) + "\n" for task in TASKS).encode()))
    return path


@pytest.fixture
def code(tmp_path: Path) -> Path:
    """A folder with two different files of functions."""
    folder = tmp_path / "code"
    folder.mkdir()
    (folder / "one.py").write_text(CODE)
    (folder / "two.py").write_text(CODE.replace("name", "other").replace("a", "first_value").replace("b", "second"))
    return folder


def evaluated(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, Any]:
    """Run the command and return its last line, which is JSON."""
    assert cli.main(["eval", *map(str, arguments)]) == 0
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def error_of(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """Run the command, which must fail, and return its message."""
    assert cli.main(["eval", *map(str, arguments)]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err.splitlines()[-1].removeprefix("codellama-ls: ")


def test_canonical_solutions_score_100_percent(capsys, tasks, tmp_path):
    report = evaluated(capsys, "--data", tasks, "--answers", "canonical", "--execute", "--output", tmp_path / "o")
    for family in ("SingleLineInfilling", "MultiLineInfilling"):
        scores = report["groups"][family]["layouts"]["canonical"]
        assert (scores["exact"], scores["passed"], scores["similarity"], scores["first_line"]) == (1, 1, 1, 1)
        assert (scores["exact_shown"], scores["passed_shown"]) == (1, 1)


def test_shuffled_solutions_score_zero(capsys, tasks, tmp_path):
    """Each task gets the solution of another task of its family."""
    report = evaluated(capsys, "--data", tasks, "--answers", "shuffled", "--execute", "--output", tmp_path / "o")
    scores = [group["layouts"]["shuffled"] for group in report["groups"].values()]
    assert [(one["exact"], one["passed"]) for one in scores] == [(0, 0), (0, 0)]


def test_tests_run_only_with_execute(capsys, tasks, tmp_path):
    assert cli.main(["eval", "--data", str(tasks), "--answers", "canonical", "--output", str(tmp_path / "o")]) == 0
    out = capsys.readouterr().out
    assert "Add --execute" in out
    assert '"passed"' not in out


def test_execute_needs_tasks(capsys, code):
    assert cli.main(["eval", "--holes", str(code), "--execute"]) == 2
    assert "holes in source files have none" in capsys.readouterr().err


def test_every_hole_is_completed_in_every_layout(capsys, code, model, tmp_path):
    report = evaluated(capsys, "--holes", code, "--model", model, "--limit", 3, "--output", tmp_path / "o")
    assert list(report["groups"]) == ["end", "line", "block"]
    for group in report["groups"].values():
        assert (list(group["layouts"]), group["holes"]) == (["prefix", "psm", "spm"], 3)
        pairs = [(pair["first"], pair["second"]) for pair in group["compared"]]
        assert pairs == [("psm", "prefix"), ("spm", "prefix"), ("spm", "psm")]
        gained = [pair["gained"] for pair in group["compared"]]
        assert all(one["low"] <= one["value"] <= one["high"] for one in gained)
    assert json.loads((tmp_path / "o").read_text()) == report


def test_tables_precede_the_json_line(capsys, code, model, tmp_path):
    arguments = ["--holes", str(code), "--model", str(model), "--limit", "2", "--output", str(tmp_path / "o")]
    assert cli.main(["eval", *arguments, "--kinds", "line", "--layout", "spm"]) == 0
    heading, row, line = capsys.readouterr().out.splitlines()
    assert heading.split()[:2] == ["holes", "layout"]
    assert row.split()[:3] == ["line", "spm", "2"]
    assert evaluated(capsys, *arguments, "--kinds", "line", "--layout", "spm", "--json") == json.loads(line)


def test_second_run_generates_nothing(capsys, code, model, tmp_path, monkeypatch):
    arguments = ("--holes", code, "--model", model, "--limit", 3, "--output", tmp_path / "o")
    first = evaluated(capsys, *arguments)
    monkeypatch.setattr(BatchGenerator, "complete", lambda *_: pytest.fail("generated again"))
    assert evaluated(capsys, *arguments) == first


def test_another_model_gets_its_own_completions(capsys, code, model, tmp_path):
    """Completions are stored under the digest of the weights, not under a name."""
    arguments = ("--holes", code, "--limit", 2, "--kinds", "line", "--output", tmp_path / "o")
    first = evaluated(capsys, *arguments, "--model", model)
    other = save_checkpoint(tmp_path / "other", sentinels=True, max_position_embeddings=1024, rope_theta=5e5)
    second = evaluated(capsys, *arguments, "--model", other)
    assert first["identity"] != second["identity"]
    assert first["groups"] != second["groups"]


def test_killed_run_resumes_with_the_same_result(capsys, code, model, tmp_path, monkeypatch):
    """SIGKILL hits while a batch is written. Complete batches are not generated again."""
    monkeypatch.setattr(runner, "BATCH_SIZE", 2)
    arguments = ["--holes", str(code), "--model", str(model), "--limit", "3", "--json"]
    expected = evaluated(capsys, *arguments, "--output", tmp_path / "whole")
    child = (
        "import os, signal, sys\n"
        "from inference.evaluation import runner\n"
        f"from {BatchJournal.__module__} import {BatchJournal.__name__} as journal\n"
        "from lsp_server import cli\n"
        "runner.BATCH_SIZE = 2\n"
        "keep, kept = journal.keep, []\n"
        "def killed(self, *a):\n"
        "    keep(self, *a)\n"
        "    kept.append(a)\n"
        "    if len(kept) == 5:\n"
        "        os.truncate(self.path, self.path.stat().st_size - 7)\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "journal.keep = killed\n"
        "cli.main(sys.argv[1:])\n"
    )
    output = tmp_path / "killed"
    root = Path(runner.__file__).parents[2]
    command = [sys.executable, "-c", child, "eval", *arguments, "--output", str(output)]
    assert subprocess.run(command, cwd=root, capture_output=True).returncode == -signal.SIGKILL
    generated = []
    complete = BatchGenerator.complete
    monkeypatch.setattr(
        BatchGenerator, "complete", lambda self, requests: generated.extend(requests) or complete(self, requests)
    )
    assert evaluated(capsys, *arguments, "--output", output) == expected
    whole, resumed = (
        set(Path(f"{path}.answers.jsonl").read_text().splitlines()) for path in (tmp_path / "whole", output)
    )
    assert resumed == whole
    assert (len(whole), len(generated)) == (27, 27 - 6)  # four batches, alternately of two and one, were complete


def test_model_without_infilling_runs_prefix_only(capsys, code, tmp_path):
    folder = save_checkpoint(tmp_path / "plain")
    message = error_of(capsys, "--holes", code, "--model", folder, "--layout", "spm")
    assert "plain was not trained to infill" in message
    report = evaluated(capsys, "--holes", code, "--model", folder, "--limit", 1, "--output", tmp_path / "o")
    assert {layout for group in report["groups"].values() for layout in group["layouts"]} == {"prefix"}


def test_adapter_changes_scores_and_journal_keys(capsys, code, model, tmp_path):
    adapter = tmp_path / "adapter"
    make_adapter(model, adapter)
    arguments = ("--holes", code, "--model", model, "--limit", 2, "--kinds", "line", "--output", tmp_path / "o")
    bare, adapted = evaluated(capsys, *arguments), evaluated(capsys, *arguments, "--adapter", adapter)
    assert adapted["adapter"] == "adapter"
    scores = [one["groups"]["line"]["layouts"]["spm"]["nats_per_byte"] for one in (bare, adapted)]
    assert scores[0] != scores[1]


def make_adapter(model: Path, folder: Path) -> None:
    """Write a peft adapter with random, non-zero weights."""
    import peft
    import torch
    from transformers import AutoModelForCausalLM

    base = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    config = peft.LoraConfig(r=4, target_modules=["q_proj", "down_proj"], init_lora_weights=False)
    torch.manual_seed(3)
    peft.get_peft_model(base, config).save_pretrained(str(folder))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"task_id": "a"}\n', "line 1: the field 'prompt' is missing or not a string."),
        (json.dumps(TASKS[0]).encode() + b"\n\n{\n", "line 3: not valid JSON"),
        (b"[1]\n", "line 1: not an object with the fields task_id, prompt"),
        (b"\n", "contains no tasks."),
    ],
)
def test_error_gives_the_number_of_an_invalid_line(capsys, tmp_path, content, message):
    for name, data in (("t.jsonl", content), ("t.jsonl.gz", gzip.compress(content))):
        (tmp_path / name).write_bytes(data)
        assert message in error_of(capsys, "--data", tmp_path / name, "--answers", "canonical")


def test_error_gives_the_line_of_a_truncated_gzip_file(capsys, tmp_path, tasks):
    noise = [json.dumps(TASKS[0] | {"test": os.urandom(4000).hex()}) for _ in range(20)]
    whole = gzip.compress("".join(f"{line}\n" for line in noise).encode())
    (tmp_path / "cut.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    assert "cut.jsonl.gz is not a complete gzip file: line " in error_of(
        capsys, "--data", tmp_path / "cut.jsonl.gz", "--answers", "canonical"
    )


def test_missing_inputs_are_reported(capsys, tmp_path, code, model, monkeypatch):
    assert error_of(capsys, "--holes", tmp_path / "no") == (
        f"There is no folder {tmp_path / 'no'}. Choose a folder of source files."
    )
    (tmp_path / "empty").mkdir()
    assert error_of(capsys, "--holes", tmp_path / "empty").endswith("contains no source files. Choose another folder.")
    assert "no.jsonl can't be read: No such file" in error_of(capsys, "--data", tmp_path / "no.jsonl")
    arguments = ("--holes", code, "--model", model, "--adapter")
    assert "adapter_config.json" in error_of(capsys, *arguments, tmp_path / "empty")
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "adapters"))
    message = error_of(capsys, *arguments, "mine")
    assert "adapter 'mine'" in message
    assert "`codellama-ls adapters`" in message


@pytest.mark.parametrize("arguments", [["--layout", "psm,pms"], ["--kinds", "word"], ["--limit", "0"]])
def test_unknown_choice_is_wrong_usage(capsys, code, arguments):
    assert cli.main(["eval", "--holes", str(code), *arguments]) == 2
    assert "codellama-ls eval: error: argument" in capsys.readouterr().err
