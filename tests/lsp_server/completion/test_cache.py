"""Cached completions: valid while the user types along them, invalid after any other change."""

from __future__ import annotations

from dataclasses import replace
from math import log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.text.prompts import Snippet
from lsp_server.completion.cache import Cache, CacheKey, Hit, Scope, may_still_match, typing_may_reach
from lsp_server.completion.confidence import TokenProbabilities
from lsp_server.settings import CompletionSettings

SETTINGS = CompletionSettings(prefix_chars=100, suffix_chars=100)
SCOPE = Scope("file:///a.py", "python", "starter", "", SETTINGS)


def at(text: str, **scope) -> CacheKey:
    """Return the key of the cursor at ``|``."""
    before, _, after = text.partition("|")
    return CacheKey(replace(SCOPE, **scope), before, after)


def hit_for(origin: str, answer: str, now: str) -> Hit | None:
    """Return what is left at ``now`` of a completion for ``origin``."""
    cache = Cache()
    cache.put(at(origin), answer)
    return cache.find(at(now))


@pytest.mark.parametrize(
    ("origin", "answer", "now", "left"),
    [
        ("x = |\ny\n", "foo(1)", "x = |\ny\n", "foo(1)"),
        ("x = |\ny\n", "foo(1)", "x = fo|\ny\n", "o(1)"),
        ("f(|)\n", "a, b", "f(a, |)\n", "b"),
        # a line of several accepted, and the editor's indentation with it
        ("def f():|\n", "\n    a = 1\n    b = 2", "def f():\n    a = 1\n    |\n", "b = 2"),
        # the same letters may have been there before
        ("aaa|", "aab", "aaaa|", "ab"),
        # the editor closed a bracket: the rest ends before it
        ("x = foo|\n", "(a, b)", "x = foo(|)\n", "a, b"),
        ("x = foo|\n", "(bar(a))", "x = foo(bar(|))\n", "a"),
        ("x = |\n", "['k']", "x = ['|']\n", "k"),
        ("if x |\n", "{\n  y\n}", "if x {\n  |\n}\n", "y"),
        # the text goes on after the closed bracket: only the part before it is left
        ("x = foo|\n", "(a, b).bar()", "x = foo(|)\n", "a, b"),
        ("x = |\n", "f(g(a), b) + 1", "x = f(|)\n", "g(a), b"),
    ],
)
def test_completion_is_valid_while_typed(origin, answer, now, left):
    hit = hit_for(origin, answer, now)
    assert hit is not None and hit.text == left
    assert hit.source == ("same" if now == origin else "typed")


@pytest.mark.parametrize(
    ("origin", "answer", "now"),
    [
        ("x = |\n", "foo", "x = b|\n"),
        ("x = |\n", "foo", "x = foo|\n"),
        ("x = |\n", "foo", "x =|\n"),
        # blanks count: stripped keys lose Python's indentation
        ("x = |\n", "foo", "x =  |\n"),
        ("if x:\n    |\n", "a", "if x:\n  |\n"),
        ("if x:\n\ta|\n", "b", "if x:\n    a|\n"),
        # the text below counts too: a key of the prefix alone would be stale after an edit there
        ("x = |\ny = 1\n", "foo", "x = |\ny = 2\n"),
        ("x = |\n", "foo", "x = |\ny\n"),
        ("f(|)\n", "a", "f(|\n"),
        # above, even where the line itself is the same
        ("import a\nx = |\n", "foo", "import b\nx = |\n"),
        ("x = |\n", "foo", "import a\nx = |\n"),
        # the editor closed brackets that the completion does not contain
        ("x = foo|\n", "(a, b", "x = foo(|)\n"),
        ("x = foo|\n", "(a", "x = foo(|])\n"),
        ("x = |\n", "(a\n  b)", "x = (|)z\n"),
    ],
)
def test_completion_is_invalid_after_other_edits(origin, answer, now):
    assert hit_for(origin, answer, now) is None


@pytest.mark.parametrize(
    "change",
    [
        {"uri": "file:///b.py"},
        {"language": "c"},
        {"model": "codellama-7b"},
        {"adapter": "mine"},
        {"settings": replace(SETTINGS, max_tokens=1)},
        # tuned again under the same name
        {"adapter_version": ((7, 10, 1),)},
        # other or edited snippets of other files
        {"snippets": (Snippet("b.py", "def f(b): ..."),)},
        {"snippets": (Snippet("b.py", "def f(a): ..."), Snippet("c.py", "x"))},
        {"snippets": ()},
    ],
)
def test_completion_is_valid_in_the_same_scope_only(change):
    cache, known = Cache(), {"adapter_version": ((7, 10, 0),), "snippets": (Snippet("b.py", "def f(a): ..."),)}
    cache.put(at("x = |", **known), "12")
    assert cache.find(at("x = 1|", **known)) == Hit("2", "typed")
    assert cache.find(at("x = |", **(known | change))) is None
    assert not may_still_match(at("x = |", **known), at("x = 1|", **(known | change)), "1")


def test_undone_typing_finds_the_earlier_completion():
    """Newer completions at later cursors do not hide it."""
    cache = Cache()
    cache.put(at("x = |"), "1")
    cache.put(at("x = 1; y = |"), "2")
    cache.put(at("x = z|"), "3")
    assert cache.find(at("x = |")) == Hit("1", "same")


def test_text_outside_the_windows_may_change():
    """Adding an import at the top of a long file shifts the text and changes nothing in the windows."""
    settings = CompletionSettings(prefix_chars=100, suffix_chars=300)
    above, below = "line\n" * 40, "more\n" * 100
    cache = Cache()
    cache.put(at(f"{above}x = |\n{below}", settings=settings), "foo")
    moved = at(f"import a\n{above}x = f|\n{below}end", settings=settings)
    assert cache.find(moved) == Hit("oo", "typed")
    assert cache.find(at(f"{above[:-2]}E\nx = f|\n{below}", settings=settings)) is None


def test_text_after_the_cursor_counts_without_suffix():
    settings = CompletionSettings(prefix_chars=100, suffix_chars=0)
    cache = Cache()
    cache.put(at("x = |)", settings=settings), "foo")
    assert cache.find(at("x = |", settings=settings)) is None


def test_newest_completion_is_preferred():
    """It is the one that was displayed last."""
    cache = Cache()
    cache.put(at("x = |"), "abc")
    cache.put(at("x = a|"), "xyz")
    assert cache.find(at("x = a|")) == Hit("xyz", "same")
    assert cache.find(at("x = |")) == Hit("abc", "same")
    assert cache.find(at("x = a|")) == Hit("bc", "typed")


def test_second_completion_for_a_key_replaces_the_first():
    cache = Cache()
    cache.put(at("x = |"), "abc")
    cache.put(at("x = |"), "abd")
    assert (len(cache), cache.find(at("x = ab|"))) == (1, Hit("d", "typed"))


def test_empty_completion_is_cached_with_its_reason():
    cache = Cache()
    cache.put(at("x = 1|"), "", "the model had nothing to add")
    assert cache.find(at("x = 1|")) == Hit("", "same", "the model had nothing to add")
    assert cache.find(at("x = 12|")) is None


def test_invoked_request_skips_empty_and_cut_completions():
    cache = Cache()
    cache.put(at("x = |"), "")
    cache.put(at("y = |"), "ab", cut=True)
    cache.put(at("z = |"), "ab")
    found = [cache.find(at(text), invoked=True) for text in ("x = |", "y = a|", "z = a|")]
    assert found == [None, None, Hit("b", "typed")]
    assert cache.find(at("y = a|")) == Hit("b", "typed")


def test_cut_empty_completion_is_not_cached():
    """Otherwise one slow generation would suppress completions at this cursor for good."""
    cache = Cache()
    cache.put(at("x = |"), "", cut=True)
    assert cache.find(at("x = |")) is None


def test_least_recently_used_completions_are_evicted():
    cache = Cache(max_entries=2)
    for name in "ab":
        cache.put(at(f"{name} = |"), name)
    cache.find(at("a = |"))
    cache.put(at("c = |"), "c")
    assert [bool(cache.find(at(f"{name} = |"))) for name in "abc"] == [True, False, True]


def test_total_text_is_bounded():
    cache = Cache(max_characters=25)
    for name in "abc":
        cache.put(at(f"{name * 5} = |"), name)
    assert len(cache) == 2


def test_snippets_count_towards_the_total_text():
    cache = Cache(max_characters=50)
    for name in "ab":
        cache.put(at(f"{name} = |", snippets=(Snippet("c.py", "x" * 40),)), name)
    assert len(cache) == 1


@pytest.mark.parametrize(
    ("so_far", "now", "may"),
    [
        ("", "x = fo|\n", True),
        ("f", "x = fo|\n", True),
        ("foo", "x = fo|\n", True),
        ("foo", "x = |\n", True),
        ("b", "x = fo|\n", False),
        ("fob", "x = foo|\n", False),
        ("foo", "x = foo(|)\n", True),
        ("foo", "x = fo|\ny", False),
        ("foo", "y = fo|\n", False),
    ],
)
def test_generation_may_still_match_a_cursor(so_far, now, may):
    assert may_still_match(at("x = |\n"), at(now), so_far) is may


@pytest.mark.parametrize(
    ("now", "leads"),
    [("x = |\n", True), ("x = fo|\n", True), ("x = foo|\n", True), ("x = b|\n", False), ("x = |\ny", False)],
)
def test_typing_may_reach_a_prefetched_cursor(now, leads):
    assert typing_may_reach(at(now), at("x = foo|\n")) is leads


@given(
    st.text("ab(\n ", max_size=8),
    st.text("ab()\n ", min_size=1, max_size=8),
    st.text("ab)\n ", max_size=8),
    st.integers(0, 8),
    st.integers(0, 3),
)
def test_hit_continues_the_predicted_document(before, answer, after, typed, n):
    """Whatever was typed or closed, the result is the model's text at this cursor."""
    typed = min(typed, len(answer))
    closed = answer[len(answer) - min(n, len(answer) - typed) :] if n else ""
    now = CacheKey(SCOPE, before + answer[:typed], closed + after)
    cache = Cache()
    cache.put(CacheKey(SCOPE, before, after), answer)
    hit = cache.find(now)
    if hit is not None:
        assert (before + answer + after).startswith(now.before + hit.text)


@pytest.mark.parametrize(
    ("now", "found"),
    [
        ("x = |", Hit("", "same", "low confidence")),
        ("x = f|", Hit("", "typed", "low confidence")),
        ("x = fo|", Hit("o.bar(1)\n    y", "typed")),  # "foo" is typed in part, and the rest is likely
        ("x = foo.bar(1|", Hit(")\n    y", "typed")),
        ("x = foo.bar(1)|", None),  # how likely the next line was is not known
        ("x = fa|", None),
    ],
)
def test_low_confidence_text_is_shown_once_partly_typed(now, found):
    """The text typed so far no longer counts. Until then no new generation is needed."""
    cache, probabilities = Cache(), TokenProbabilities(10, ((0, log(0.5)), (1, log(0.3)), (3, log(0.6))))
    strict = replace(SETTINGS, min_confidence=0.5)
    cache.put(at("x = |", settings=strict), "foo.bar(1)\n    y", "low confidence", low_confidence=probabilities)
    assert cache.find(at(now, settings=strict)) == found


def test_invoked_request_gets_low_confidence_text():
    cache, strict = Cache(), replace(SETTINGS, min_confidence=0.5)
    cache.put(
        at("x = |", settings=strict), "foo", "low confidence", low_confidence=TokenProbabilities(3, ((0, log(0.1)),))
    )
    assert cache.find(at("x = |", settings=strict), invoked=True) == Hit("foo", "same")
