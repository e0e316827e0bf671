"""Accepting licences."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from inference.download.checkpoint_source import PullError
from inference.download.licence import Licence, ask_terminal, require_acceptance

LLAMA = Licence("Llama 2 Community License", "https://example/licence", "https://example/policy")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def console() -> Console:
    return Console(file=io.StringIO(), soft_wrap=True)


def output(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize(("typed", "answer"), [("y\n", True), ("YES\n", True), ("\n", False), ("maybe\n", False)])
def test_user_at_a_terminal_is_asked(
    console: Console, monkeypatch: pytest.MonkeyPatch, typed: str, answer: bool
) -> None:
    monkeypatch.setattr("sys.stdin", Terminal(typed))
    assert ask_terminal(console) is answer
    assert output(console) == "Do you accept it? [y/N] "


def test_pipe_is_not_asked(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    """Input from a script must not accept a licence by accident."""
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    assert ask_terminal(console) is False
    assert output(console) == ""


def test_acceptance_holds_for_all_models_of_the_licence(console: Console, tmp_path: Path) -> None:
    require_acceptance(LLAMA, tmp_path, console, accepted=False, ask=lambda: True)
    assert output(console) == (
        "This model is under the licence: Llama 2 Community License, https://example/licence (acceptable use "
        "policy: https://example/policy)\n"
    )
    require_acceptance(LLAMA, tmp_path, console, accepted=False, ask=lambda: pytest.fail("asked again"))
    with pytest.raises(PullError):
        require_acceptance(Licence("another", "https://example"), tmp_path, console, accepted=False, ask=lambda: False)


def test_refused_licence_is_not_recorded(console: Console, tmp_path: Path) -> None:
    for _ in range(2):
        with pytest.raises(PullError, match=r"so nothing was pulled\. Add --accept-licence"):
            require_acceptance(LLAMA, tmp_path, console, accepted=False, ask=lambda: False)


@pytest.mark.parametrize("licence", [Licence("Apache-2.0", "https://example"), Licence("unknown", "")])
def test_open_and_unknown_licences_need_no_acceptance(console: Console, tmp_path: Path, licence: Licence) -> None:
    require_acceptance(licence, tmp_path, console, accepted=False, ask=lambda: pytest.fail("asked"))
    assert output(console) == ""
