"""The gate: refusals and their reasons, for automatic and for invoked requests."""

from __future__ import annotations

import pytest

from lsp_server.completion.gate import GateInput, refusal_reason
from lsp_server.settings import CompletionSettings
from lsp_server.snapshot import Position, take

SETTINGS = CompletionSettings(disabled_languages=("markdown",), max_file_chars=1000)


def refused(text: str, given: GateInput, uri: str = "file:///a.py", language: str = "python") -> str:
    """Return the refusal reason with the cursor at ``|``."""
    before, _, after = text.partition("|")
    position = Position(before.count("\n"), len(before) - before.rfind("\n") - 1)
    return refusal_reason(take(before + after, position, "utf-32", uri=uri, language=language), SETTINGS, given)


@pytest.mark.parametrize("invoked", [True, False])
@pytest.mark.parametrize(
    ("text", "options", "why"),
    [
        ("x = |", {"uri": "git:/a.py?ref=HEAD"}, "'git:' documents are not written by hand"),
        ("x = |", {"uri": "output:tasks"}, "'output:' documents are not written by hand"),
        ("x = |", {"language": "markdown"}, "the setting completion.disabledLanguages names 'markdown'"),
        ("x" * 1001, {}, "the document has 1,001 characters, more than completion.maxFileChars allows"),
        ("  \n|\n", {}, "the document is empty"),
    ],
)
def test_document_is_refused_even_if_invoked(text, options, why, invoked):
    assert refused(text, GateInput(invoked), **options) == why


@pytest.mark.parametrize("invoked", [True, False])
@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"private": "secret"}, "the file's name says that it may hold keys or passwords"),
        ({"private": "ignored"}, "a .gitignore or .codellamaignore names the file or a folder it lies in"),
        ({"private": "excluded"}, "the setting completion.excludedFiles names the file"),
        ({"misplaced": True}, "the entry selected in the editor's completion list is not at the cursor"),
    ],
)
def test_private_file_is_refused_even_if_invoked(given, why, invoked):
    assert refused("x = |", GateInput(invoked, **given)) == why


@pytest.mark.parametrize("uri", ["file:///a.py", "untitled:Untitled-1", "vscode-notebook-cell:/n.ipynb#W1"])
def test_edited_documents_are_allowed(uri):
    assert refused("x = |", GateInput(), uri=uri) == ""


@pytest.mark.parametrize("text", ["x = |", "|", "f(|)", "f(a|), b]", "x = |y", "x|.y", "f(|x)", "def f():|\n    x"])
def test_typical_cursor_positions_are_allowed(text):
    assert refused(f"a = 1\n{text}", GateInput()) == ""


def test_read_only_file_needs_an_invoked_request():
    """Users may try it in a library's file, but do not type there."""
    assert refused("x = |", GateInput(read_only=True)) == "the file is read-only"
    assert refused("x = |", GateInput(invoked=True, read_only=True)) == ""


def test_cursor_inside_a_word_needs_an_invoked_request():
    """A keystroke there is a correction, and grey text would jump."""
    assert refused("na|me", GateInput()) == "the cursor is inside a word"
    assert refused("na|me", GateInput(invoked=True)) == ""


@pytest.mark.parametrize(("text", "ok"), [("f(|)", True), ("f(|);", True), ("f(|  ", True), ("f(| + 1)", False)])
def test_non_infilling_model_before_text_must_be_invoked(text, ok):
    why = "text follows the cursor on its line, and the model was not trained to infill"
    assert refused(text, GateInput(infills=False)) == ("" if ok else why)
    assert refused(text, GateInput(invoked=True, infills=False)) == ""
