"""The text of every ``--help``, with nested subcommands."""

from __future__ import annotations

import re
import sys

import pytest
from recordings.recording import compare

from lsp_server import cli

pytestmark = pytest.mark.skipif(
    sys.version_info[:2] not in ((3, 11), (3, 12)),
    reason="recorded with Python 3.11; argparse writes options otherwise",
)
WIDTH = "100"
OF_THEIR_OWN = {"engine": ["status", "stop", "logs"]}
"""Subcommands that the usage of their command does not list."""


@pytest.fixture(autouse=True)
def _terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A plain terminal of a fixed width."""
    monkeypatch.setenv("COLUMNS", WIDTH)
    monkeypatch.setenv("NO_COLOR", "1")


def help_of(capsys: pytest.CaptureFixture[str], *command: str) -> str:
    """Return stdout; stderr must be empty and the exit status 0."""
    try:
        status = cli.main([*command, "--help"])
    except SystemExit as end:
        status = end.code
    printed = capsys.readouterr()
    assert (status or 0, printed.err) == (0, ""), command
    return printed.out


def subcommands(text: str) -> list[str]:
    """Return names between braces in the usage: ``{status,stop,logs} ...``."""
    usage = text.split("\n\n", maxsplit=1)[0]
    found = re.search(r"\{([\w,-]+)\} \.\.\.", re.sub(r"\s+", " ", usage))
    return found[1].split(",") if found else []


def test_program_and_its_options_are_recorded(capsys):
    assert cli.main(["--version"]) == 0
    assert re.fullmatch(r"codellama-ls \d+\.\d+\.\d+\S*\n", capsys.readouterr().out)
    compare("help/codellama-ls.txt", help_of(capsys))


@pytest.mark.parametrize("name", list(cli.COMMANDS))
def test_help_of_a_command_is_recorded(capsys, name):
    texts, left = {}, [(name,)]
    while left:
        command = left.pop(0)
        texts[command] = help_of(capsys, *command)
        left += [(*command, one) for one in subcommands(texts[command])]
        left += [(name, one) for one in OF_THEIR_OWN.get(name, ()) if command == (name,)]
    parts = [f"$ codellama-ls {' '.join(command)} --help\n{text}" for command, text in texts.items()]
    compare(f"help/{name}.txt", "\n".join(parts))


def test_every_command_is_recorded():
    assert set(cli.COMMANDS) == {
        *("demo", "complete", "pull", "models", "adapters", "infer", "eval", "memory", "tune"),
        *("bench", "typist", "gains", "doctor", "stats", "engine"),
    }
