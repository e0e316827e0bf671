"""Confidence: the probability of the first displayed line."""

from __future__ import annotations

from math import log

import pytest

from inference.api.events import TokenProbability
from lsp_server.completion.confidence import TokenProbabilities, confidence, token_probabilities


def tokens_of(*tokens: tuple[str, float]) -> list[TokenProbability]:
    return [TokenProbability(piece.encode(), log(probability)) for piece, probability in tokens]


@pytest.mark.parametrize(
    ("tokens", "text", "displayed", "expected"),
    [
        pytest.param([("a", 0.5), ("b", 0.25)], "ab", "ab", 0.125, id="product of token probabilities"),
        pytest.param(
            [("x", 0.5), (" = 1", 0.5), ("\n", 0.01)],
            "x = 1\n",
            "x = 1",
            0.25,
            id="text that was cut off does not count",
        ),
        pytest.param([("ab", 0.5), ("cd", 0.25)], "abcd", "abc", 0.125, id="partly displayed token"),
        pytest.param([("a", 0.5), ("\n", 0.5), ("b", 0.1)], "a\nb", "a\nb", 0.5, id="only the first line"),
        pytest.param([("\n  ", 0.5), ("b", 0.5), ("\nc", 0.1)], "\n  b\nc", "\n  b\nc", 0.25, id="the first with text"),
        pytest.param([("  ", 0.5), ("f(", 0.5), (")", 0.25)], "  f()", "f()", 0.125, id="all after dropped blanks"),
        pytest.param([("é", 0.5), ("b", 0.5)], "éb", "é", 0.5, id="bytes, not characters"),
    ],
)
def test_confidence_is_the_probability_of_the_first_line_shown(tokens, text, displayed, expected):
    assert confidence(tokens_of(*tokens), text, displayed) == pytest.approx(expected)


@pytest.mark.parametrize(
    "tokens", [[("pri", 0.9), ("nt", 0.5), ("(", 0.1)], [("print", 0.01), ("nt", 0.5), ("(", 0.1)]]
)
def test_half_typed_word_does_not_count(tokens):
    """Token healing generates it again, and other words were possible there."""
    assert confidence(tokens_of(*tokens), "nt(", "nt") == pytest.approx(0.5)


def test_token_overlapping_the_typed_word_does_not_count():
    """It may be unlikely as a whole and still be the only one that fits."""
    assert confidence(tokens_of(("print", 0.01), ("(", 0.5)), "nt(", "nt(") == pytest.approx(0.5)


def test_confidence_is_one_without_known_tokens():
    assert confidence([], "ab", "ab") == 1.0


def test_probabilities_have_offsets_in_characters():
    tokens = tokens_of(("print", 0.01), ("(", 0.5), ("'é'", 0.25), (")", 0.5), ("\n", 0.1), ("b", 0.1))
    found = token_probabilities(tokens, "nt('é')\nb", "nt('é')\nb")
    assert found == TokenProbabilities(7, ((2, log(0.5)), (3, log(0.25)), (6, log(0.5))))
    assert [found.confidence_after(typed) for typed in (0, 3, 4, 7)] == pytest.approx([0.0625, 0.125, 0.5, 1.0])
