"""The command line: arguments, output and exit status."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from lsp_server import cli
from lsp_server.commands.demo_command import demo_positions, sample_file
from lsp_server.disk import privacy


def run(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "lsp_server", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=cwd, stdin=subprocess.DEVNULL)


def test_help_names_every_command(capsys):
    assert cli.main(["--help"]) == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in cli.COMMANDS)


def test_unknown_command_is_refused(capsys):
    assert cli.main(["complte"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("codellama-ls: there is no command 'complte'.")


def test_interrupted_command_shows_no_traceback(monkeypatch, capsys):
    def interrupted(arguments: list[str]) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("lsp_server.commands.complete_command.main", interrupted)
    assert cli.main(["complete", "a.py:1:1"]) == 130
    assert capsys.readouterr().err == "codellama-ls: interrupted\n"


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("a.py", "'a.py' is not of the form FILE:LINE:COL."),
        ("a.py:3:1", "a.py has 2 lines; there is no line 3."),
        ("a.py:0:1", "a.py has 2 lines; there is no line 0."),
        ("a.py:1:7", "Line 1 of a.py has columns 1 to 6; there is no column 7."),
        ("b.py:1:1", "b.py cannot be read: No such file or directory."),
        ("c.py:1:1", "c.py is not UTF-8 text."),
    ],
)
def test_invalid_position_is_refused(tmp_path, monkeypatch, capsys, place, message):
    (tmp_path / "a.py").write_text("x = 1\n")
    (tmp_path / "c.py").write_bytes(b"\xff\xfe\x00")
    monkeypatch.chdir(tmp_path)
    assert cli.main(["complete", place]) == 2
    error = capsys.readouterr().err.strip()
    assert error.endswith(message.replace("b.py", f"{tmp_path}/b.py").replace("c.py is", f"{tmp_path}/c.py is"))


def test_server_does_not_import_torch_or_transformers():
    """Run with the imports of ``--stdio``."""
    code = (
        "import sys; import lsp_server.server, lsp_server.cli; "
        "bad = {'torch', 'transformers', 'bitsandbytes', 'numpy'} & set(sys.modules); sys.exit(str(bad) if bad else 0)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_end_of_input_ends_the_server():
    """An editor that dies closes the pipe without ``exit``."""
    assert run("--stdio").returncode == 0


@pytest.mark.starter
@pytest.mark.slow
def test_complete_reports_why_there_is_no_completion(starter_folder, runtime, tmp_path):
    """The reason goes to stderr: stdout has the completion only."""
    file = tmp_path / ".env.py"
    file.write_text("KEY = \n")
    done = run("complete", f"{file}:1:7")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == "codellama-ls: no suggestion: the file's name says that it may hold keys or passwords\n"


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [("complete", "{}:2:12"), ("demo", "{}")])
def test_missing_model_is_reported_without_waiting(runtime, monkeypatch, tmp_path, arguments):
    monkeypatch.setenv("CODELLAMA_LS_MODELS", str(tmp_path))
    file = tmp_path / "a.py"
    file.write_text("def add(a, b):\n    return a + b\n")
    done = run(*(argument.format(file) for argument in arguments))
    assert done.returncode == 1
    assert done.stderr == "codellama-ls: The model 'starter' is not installed. Run `codellama-ls pull starter`.\n"


def test_demo_pauses_inside_lines_of_code():
    text = Path(json.__file__).read_text()
    spots = demo_positions(Path(json.__file__), text, 5)
    assert len(spots) == 5
    rows = text.split("\n")
    assert all(0 < spot.column <= len(rows[spot.line]) for spot in spots)


@pytest.mark.starter
@pytest.mark.slow
def test_complete_prints_only_the_completion(starter_folder, runtime, tmp_path):
    file = tmp_path / "a.py"
    file.write_text("def add(a, b):\n    return \n")
    done = run("complete", f"{file}:2:12")
    assert (done.returncode, done.stdout) == (0, "a + b\n"), done.stderr


@pytest.mark.starter
@pytest.mark.slow
def test_sample_file_of_the_demo_is_never_private(monkeypatch, tmp_path):
    """Even if it lies in a repository that ignores its environments."""
    (tmp_path / ".git").mkdir()
    (tmp_path / ".gitignore").write_text("python/")
    (tmp_path / "python").mkdir()
    (tmp_path / "python" / "textwrap.py").write_text("x = 1\n")
    monkeypatch.setattr("textwrap.__file__", str(tmp_path / "python" / "textwrap.py"))
    path, text = sample_file()
    assert (path.name, text) == ("textwrap.py", "x = 1\n")
    assert privacy(path, []) is None


def test_demo_shows_ghost_text_in_a_real_file(starter_folder, runtime, tmp_path):
    file = tmp_path / "a.py"
    file.write_text("def add(a, b):\n    return a + b\n\n\ndef multiply(a, b):\n    return a * b\n")
    done = run("demo", str(file), "-n", "2")
    assert done.returncode == 0, done.stderr
    assert "Where the time went" in done.stdout
    assert "a.py:" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "url"),
    [
        ([], ""),
        (["--stdio"], ""),
        (["--engine-url", "https://a.example"], "https://a.example"),
        (["--stdio", "--engine-url", "https://a.example"], "https://a.example"),
        (["--engine-url=https://a.example", "--stdio"], "https://a.example"),
    ],
)
def test_engine_url_is_passed_to_the_language_server(monkeypatch, arguments, url):
    given: list[str] = []
    monkeypatch.setattr(cli, "serve", lambda engine_url: given.append(engine_url) or 0)
    assert cli.main(arguments) == 0
    assert given == [url]


@pytest.mark.parametrize("arguments", [["--engine-url"], ["--stdio", "--engine-url", "a", "b"], ["--stdio", "demo"]])
def test_other_arguments_do_not_start_the_server(monkeypatch, capsys, arguments):
    monkeypatch.setattr(cli, "serve", lambda engine_url: pytest.fail("started"))
    assert cli.main(arguments) == 2
