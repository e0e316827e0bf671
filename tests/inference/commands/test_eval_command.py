"""The command ``eval``, from the command line to its table, on a tiny model with random weights and on none."""

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
from inference.evaluation.batch_generation import Generator
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
    """Random weights and a vocabulary with infilling's sentinels."""
    return save_checkpoint(tmp_path_factory.mktemp("model"), sentinels=True, max_position_embeddings=1024)


@pytest.fixture
def tasks(tmp_path: Path) -> Path:
    path = tmp_path / "T.jsonl.gz"
    path.write_bytes(gzip.compress("".join(json.dumps(task) + "\n" for task in TASKS).encode()))
    return path


@pytest.fixture
def code(tmp_path: Path) -> Path:
    """Two files of functions, unlike each other."""
    folder = tmp_path / "code"
    folder.mkdir()
    (folder / "one.py").write_text(CODE)
    (folder / "two.py").write_text(CODE.replace("name", "other").replace("a", "first_value").replace("b", "second"))
    return folder


def evaluated(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, Any]:
    """The JSON line that a successful run ends with."""
    assert cli.main(["eval", *map(str, arguments)]) == 0
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The one sentence of a run that fails."""
    assert cli.main(["eval", *map(str, arguments)]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err.splitlines()[-1].removeprefix("codellama-ls: ")


def test_canonical_solutions_score_a_hundred_percent(capsys, tasks, tmp_path):
    found = evaluated(capsys, "--data", tasks, "--answers", "canonical", "--execute", "--output", tmp_path / "o")
    for family in ("SingleLineInfilling", "MultiLineInfilling"):
        scores = found["groups"][family]["layouts"]["canonical"]
        assert (scores["exact"], scores["passed"], scores["similarity"], scores["first_line"]) == (1, 1, 1, 1)
        assert (scores["exact_shown"], scores["passed_shown"]) == (1, 1)


def test_shuffled_solutions_score_nothing(capsys, tasks, tmp_path):
    """Each task gets another one's answer of its family."""
    found = evaluated(capsys, "--data", tasks, "--answers", "shuffled", "--execute", "--output", tmp_path / "o")
    scores = [group["layouts"]["shuffled"] for group in found["groups"].values()]
    assert [(one["exact"], one["passed"]) for one in scores] == [(0, 0), (0, 0)]


def test_without_leave_nothing_is_run_and_the_way_is_told(capsys, tasks, tmp_path):
    assert cli.main(["eval", "--data", str(tasks), "--answers", "canonical", "--output", str(tmp_path / "o")]) == 0
    out = capsys.readouterr().out
    assert "add --execute" in out
    assert '"passed"' not in out


def test_holes_have_no_tests_to_run(capsys, code):
    assert cli.main(["eval", "--holes", str(code), "--execute"]) == 2
    assert "holes in source files have none" in capsys.readouterr().err


def test_every_layout_answers_every_hole(capsys, code, model, tmp_path):
    found = evaluated(capsys, "--holes", code, "--model", model, "--limit", 3, "--output", tmp_path / "o")
    assert list(found["groups"]) == ["end", "line", "block"]
    for group in found["groups"].values():
        assert (list(group["layouts"]), group["holes"]) == (["prefix", "psm", "spm"], 3)
        pairs = [(pair["first"], pair["second"]) for pair in group["compared"]]
        assert pairs == [("psm", "prefix"), ("spm", "prefix"), ("spm", "psm")]
        gained = [pair["gained"] for pair in group["compared"]]
        assert all(one["low"] <= one["value"] <= one["high"] for one in gained)
    assert json.loads((tmp_path / "o").read_text()) == found


def test_table_comes_before_the_line_of_json(capsys, code, model, tmp_path):
    arguments = ["--holes", str(code), "--model", str(model), "--limit", "2", "--output", str(tmp_path / "o")]
    assert cli.main(["eval", *arguments, "--kinds", "line", "--layout", "spm"]) == 0
    heading, row, line = capsys.readouterr().out.splitlines()
    assert heading.split()[:2] == ["holes", "layout"]
    assert row.split()[:3] == ["line", "spm", "2"]
    assert evaluated(capsys, *arguments, "--kinds", "line", "--layout", "spm", "--json") == json.loads(line)


def test_second_run_asks_nothing_again(capsys, code, model, tmp_path, monkeypatch):
    arguments = ("--holes", code, "--model", model, "--limit", 3, "--output", tmp_path / "o")
    first = evaluated(capsys, *arguments)
    monkeypatch.setattr(Generator, "answer", lambda *_: pytest.fail("asked again"))
    assert evaluated(capsys, *arguments) == first


def test_another_model_is_asked_anew(capsys, code, model, tmp_path):
    """Answers are kept under the weights that gave them, not under a name."""
    arguments = ("--holes", code, "--limit", 2, "--kinds", "line", "--output", tmp_path / "o")
    first = evaluated(capsys, *arguments, "--model", model)
    other = save_checkpoint(tmp_path / "other", sentinels=True, max_position_embeddings=1024, rope_theta=5e5)
    second = evaluated(capsys, *arguments, "--model", other)
    assert first["identity"] != second["identity"]
    assert first["groups"] != second["groups"]


def test_killed_run_goes_on_and_finds_the_same(capsys, code, model, tmp_path, monkeypatch):
    """Killed for good in the middle of writing a batch; what was whole is not asked again."""
    monkeypatch.setattr(runner, "AT_ONCE", 2)
    arguments = ["--holes", str(code), "--model", str(model), "--limit", "3", "--json"]
    expected = evaluated(capsys, *arguments, "--output", tmp_path / "whole")
    child = (
        "import os, signal, sys\n"
        "from inference.evaluation import answering, journal\n"
        "from lsp_server import cli\n"
        "answering.AT_ONCE = 2\n"
        "keep, kept = journal.Journal.keep, []\n"
        "def killed(self, *a):\n"
        "    keep(self, *a)\n"
        "    kept.append(a)\n"
        "    if len(kept) == 5:\n"
        "        os.truncate(self.path, self.path.stat().st_size - 7)\n"
        "        os.kill(os.getpid(), signal.SIGKILL)\n"
        "journal.Journal.keep = killed\n"
        "cli.main(sys.argv[1:])\n"
    )
    output = tmp_path / "killed"
    root = Path(runner.__file__).parents[2]
    command = [sys.executable, "-c", child, "eval", *arguments, "--output", str(output)]
    assert subprocess.run(command, cwd=root, capture_output=True).returncode == -signal.SIGKILL
    asked = []
    answer = Generator.answer
    monkeypatch.setattr(Generator, "answer", lambda self, requests: asked.extend(requests) or answer(self, requests))
    assert evaluated(capsys, *arguments, "--output", output) == expected
    whole, gone_on = (
        set(Path(f"{path}.answers.jsonl").read_text().splitlines()) for path in (tmp_path / "whole", output)
    )
    assert gone_on == whole
    assert (len(whole), len(asked)) == (27, 27 - 6)  # four batches, of two and one in turn, were whole


def test_model_that_cannot_infill_says_so(capsys, code, tmp_path):
    folder = save_checkpoint(tmp_path / "plain")
    message = refused(capsys, "--holes", code, "--model", folder, "--layout", "spm")
    assert message == "plain was not trained to infill. It completes from the text before the cursor only."
    found = evaluated(capsys, "--holes", code, "--model", folder, "--limit", 1, "--output", tmp_path / "o")
    assert {layout for group in found["groups"].values() for layout in group["layouts"]} == {"prefix"}


def test_adapter_changes_the_answers_and_is_part_of_what_was_asked(capsys, code, model, tmp_path):
    adapter = tmp_path / "adapter"
    make_adapter(model, adapter)
    arguments = ("--holes", code, "--model", model, "--limit", 2, "--kinds", "line", "--output", tmp_path / "o")
    bare, adapted = evaluated(capsys, *arguments), evaluated(capsys, *arguments, "--adapter", adapter)
    assert adapted["adapter"] == "adapter"
    scores = [one["groups"]["line"]["layouts"]["spm"]["nats_per_byte"] for one in (bare, adapted)]
    assert scores[0] != scores[1]


def make_adapter(model: Path, folder: Path) -> None:
    """A peft folder whose weights are random, none of them 0."""
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
        (b'{"task_id": "a"}\n', "line 1: the field 'prompt' is missing or no string."),
        (json.dumps(TASKS[0]).encode() + b"\n\n{\n", "line 3: this is not JSON"),
        (b"[1]\n", "line 1: this is not an object with the fields task_id, prompt"),
        (b"\n", "holds no tasks."),
    ],
)
def test_bad_line_is_named(capsys, tmp_path, content, message):
    for name, data in (("t.jsonl", content), ("t.jsonl.gz", gzip.compress(content))):
        (tmp_path / name).write_bytes(data)
        assert message in refused(capsys, "--data", tmp_path / name, "--answers", "canonical")


def test_gzip_file_cut_short_is_named_with_its_line(capsys, tmp_path, tasks):
    noise = [json.dumps(TASKS[0] | {"test": os.urandom(4000).hex()}) for _ in range(20)]
    whole = gzip.compress("".join(f"{line}\n" for line in noise).encode())
    (tmp_path / "cut.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    assert "cut.jsonl.gz is no whole gzip file: it can't be read beyond line" in refused(
        capsys, "--data", tmp_path / "cut.jsonl.gz", "--answers", "canonical"
    )


def test_what_is_not_there_is_named(capsys, tmp_path, code, model, monkeypatch):
    assert refused(capsys, "--holes", tmp_path / "no") == f"There is no folder {tmp_path / 'no'}."
    (tmp_path / "empty").mkdir()
    assert refused(capsys, "--holes", tmp_path / "empty").endswith("holds no source files to make holes in.")
    assert "no.jsonl can't be read: No such file" in refused(capsys, "--data", tmp_path / "no.jsonl")
    asked = ("--holes", code, "--model", model, "--adapter")
    assert refused(capsys, *asked, tmp_path / "empty").endswith("holds no adapter: adapter_config.json is missing.")
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "adapters"))
    message = refused(capsys, *asked, "mine")
    assert message == "There is no adapter 'mine'. `codellama-ls adapters` lists the installed ones."


@pytest.mark.parametrize("arguments", [["--layout", "psm,pms"], ["--kinds", "word"], ["--limit", "0"]])
def test_mistyped_choice_is_wrong_use(capsys, code, arguments):
    assert cli.main(["eval", "--holes", str(code), *arguments]) == 2
    assert "codellama-ls eval: error: argument" in capsys.readouterr().err
