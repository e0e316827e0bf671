"""``codellama-ls memory``: the plan and the measurement, with the real loader and engine in a child process."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from fakes.random_nf4 import save_random_nf4

from inference.commands.memory_command import main
from inference.models.catalog import find
from inference.models.shape import Shape
from inference.native.library import why_unavailable

SMALL = Shape(vocab=4096, hidden=1024, layers=4, heads=16, kv_heads=16, intermediate=2816, head_dim=64, positions=2048)


def command(folder: Path, *options: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "inference.commands.memory_command", str(folder), *options],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def difference(printed: str) -> float:
    """Return the difference between planned and measured memory in percent."""
    line = re.search(r"memory between requests.* ([+-][\d.]+) %$", printed, flags=re.MULTILINE)
    assert line, printed
    return float(line[1])


@pytest.mark.slow
def test_plan_is_printed_before_the_measurement(tmp_path: Path) -> None:
    """With a small model, most memory is Python's and torch's, which differs a little between builds."""
    printed = command(save_random_nf4(tmp_path / "small", SMALL), "--device", "cpu", "--tokens", "600")
    assert printed.index("Planned, on CPU memory") < printed.index("weights of small (nf4)")
    assert printed.index("between requests") < printed.index(
        "Measured, with a prompt of 600 tokens and 4 generated tokens"
    )
    assert abs(difference(printed)) < 25


@pytest.mark.slow
@pytest.mark.heavy
def test_7b_needs_the_planned_memory() -> None:
    """A checkpoint shaped like 7B (3.9 GB on disk) with a prompt of 1,000 tokens: within a tenth of the plan."""
    with TemporaryDirectory() as scratch:  # tmp_path would keep 3.9 GB for a while
        folder = save_random_nf4(Path(scratch) / "codellama-7b", find("codellama-7b").shape)
        printed = command(folder, "--device", "cpu", "--answer", "2")
    sys.stdout.write(printed)
    assert abs(difference(printed)) < 10


@pytest.mark.slow
@pytest.mark.starter
@pytest.mark.skipif(bool(why_unavailable()), reason=why_unavailable())
def test_packed_weights_of_the_starter_are_mapped(starter_folder: Path) -> None:
    """int8 weights are packed once and then mapped. Only the process and the request use anonymous memory."""
    printed = command(starter_folder, "--device", "cpu", "--format", "int8", "--tokens", "200")
    row = re.search(r"^weights mapped from files +(\d+) MiB +\d+ MiB +(\d+) MiB", printed, flags=re.MULTILINE)
    assert row, printed
    planned, measured = map(int, row.groups())
    assert planned / 2 < measured <= planned  # only the embedding rows of the prompt's tokens are read
    assert -50 < difference(printed) < 0  # the plan counts transformers, which was not imported


def test_too_long_prompt_prints_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = save_random_nf4(tmp_path / "small", SMALL)
    assert main([str(folder), "--device", "cpu", "--tokens", "1000000000"]) == 1
    assert (
        capsys.readouterr().err
        == "codellama-ls: There is no room for 1,000,000,512 tokens. Choose fewer with --tokens.\n"
    )


def test_missing_model_names_the_pull_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CODELLAMA_LS_MODELS", str(tmp_path))
    assert main(["codellama-7b"]) == 1
    assert "codellama-ls pull codellama-7b" in capsys.readouterr().err


def test_unknown_model_prints_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gpt5", "--device", "cpu"]) == 1
    assert (
        capsys.readouterr().err
        == "codellama-ls: There is no model 'gpt5'. `codellama-ls models` lists the known models.\n"
    )
