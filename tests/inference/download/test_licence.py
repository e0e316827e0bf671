"""A licence is accepted by a person at a terminal, or by nobody."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from inference.download.licence import Licence, LicenceError, ask_terminal, require

LLAMA = Licence("Llama 2 Community License", "https://example/licence", "https://example/policy")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def console() -> Console:
    return Console(file=io.StringIO(), soft_wrap=True)


def said(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize(("typed", "answer"), [("y\n", True), ("YES\n", True), ("\n", False), ("maybe\n", False)])
def test_a_person_is_asked(console: Console, monkeypatch: pytest.MonkeyPatch, typed: str, answer: bool) -> None:
    monkeypatch.setattr("sys.stdin", Terminal(typed))
    assert ask_terminal(console) is answer
    assert said(console) == "Do you accept it? [y/N] "


def test_a_pipe_is_not_asked(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a script happens to send must not accept anything."""
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    assert ask_terminal(console) is False
    assert said(console) == ""


def test_one_acceptance_holds_for_every_model_under_that_licence(console: Console, tmp_path: Path) -> None:
    """Twelve models have the same one; another one is asked about for itself."""
    require(LLAMA, tmp_path, console, accepted=False, ask=lambda: True)
    assert said(console) == (
        "This model is under the licence: Llama 2 Community License, https://example/licence Acceptable use: "
        "https://example/policy\n"
    )
    require(LLAMA, tmp_path, console, accepted=False, ask=lambda: pytest.fail("asked again"))
    with pytest.raises(LicenceError):
        require(Licence("another", "https://example"), tmp_path, console, accepted=False, ask=lambda: False)


def test_a_refused_licence_is_not_remembered(console: Console, tmp_path: Path) -> None:
    for _ in range(2):
        with pytest.raises(LicenceError, match="so nothing was pulled: --accept-licence accepts it"):
            require(LLAMA, tmp_path, console, accepted=False, ask=lambda: False)


@pytest.mark.parametrize("licence", [Licence("Apache-2.0", "https://example"), Licence("unknown", "")])
def test_open_and_unknown_licences_are_not_asked_about(console: Console, tmp_path: Path, licence: Licence) -> None:
    require(licence, tmp_path, console, accepted=False, ask=lambda: pytest.fail("asked"))
    assert said(console) == ""
