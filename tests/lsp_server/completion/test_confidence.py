"""How sure the model was of what is shown: of its first line."""

from __future__ import annotations

from math import log

import pytest

from inference.api.events import TokenProbability
from lsp_server.completion.confidence import TokenProbabilities, confidence, token_probabilities


def said(*tokens: tuple[str, float]) -> list[TokenProbability]:
    return [TokenProbability(piece.encode(), log(chance)) for piece, chance in tokens]


@pytest.mark.parametrize(
    ("tokens", "text", "shown", "expected"),
    [
        pytest.param([("a", 0.5), ("b", 0.25)], "ab", "ab", 0.125, id="the product of its tokens' chances"),
        pytest.param([("x", 0.5), (" = 1", 0.5), ("\n", 0.01)], "x = 1\n", "x = 1", 0.25, id="not what was cut off"),
        pytest.param([("ab", 0.5), ("cd", 0.25)], "abcd", "abc", 0.125, id="a token that is shown in part"),
        pytest.param([("a", 0.5), ("\n", 0.5), ("b", 0.1)], "a\nb", "a\nb", 0.5, id="the first line alone"),
        pytest.param([("\n  ", 0.5), ("b", 0.5), ("\nc", 0.1)], "\n  b\nc", "\n  b\nc", 0.25, id="the first with text"),
        pytest.param(
            [("  ", 0.5), ("f(", 0.5), (")", 0.25)], "  f()", "f()", 0.125, id="all of it behind dropped blanks"
        ),
        pytest.param([("é", 0.5), ("b", 0.5)], "éb", "é", 0.5, id="bytes, not characters"),
    ],
)
def test_confidence_is_the_probability_of_the_first_line_shown(tokens, text, shown, expected):
    assert confidence(said(*tokens), text, shown) == pytest.approx(expected)


@pytest.mark.parametrize(
    "tokens", [[("pri", 0.9), ("nt", 0.5), ("(", 0.1)], [("print", 0.01), ("nt", 0.5), ("(", 0.1)]]
)
def test_what_was_typed_already_does_not_count(tokens):
    """A half-typed word is given back by healing: the model may have thought of any other word there."""
    assert confidence(said(*tokens), "nt(", "nt") == pytest.approx(0.5)


def test_a_token_that_goes_on_with_the_typed_word_does_not_count():
    """It may be unlikely as a whole, and the only one that fits."""
    assert confidence(said(("print", 0.01), ("(", 0.5)), "nt(", "nt(") == pytest.approx(0.5)


def test_an_answer_of_which_no_token_is_known_is_not_doubted():
    assert confidence([], "ab", "ab") == 1.0


def test_chances_are_of_the_characters_of_the_first_line_behind_a_half_typed_word():
    tokens = said(("print", 0.01), ("(", 0.5), ("'é'", 0.25), (")", 0.5), ("\n", 0.1), ("b", 0.1))
    found = token_probabilities(tokens, "nt('é')\nb", "nt('é')\nb")
    assert found == TokenProbabilities(7, ((2, log(0.5)), (3, log(0.25)), (6, log(0.5))))
    assert [found.confidence_after(typed) for typed in (0, 3, 4, 7)] == pytest.approx([0.0625, 0.125, 0.5, 1.0])
