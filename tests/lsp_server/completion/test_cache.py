"""Answers that still hold, and above all those that do not: a stale one would write what nobody meant."""

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
    """The cursor stands at ``|``."""
    before, _, after = text.partition("|")
    return CacheKey(replace(SCOPE, **scope), before, after)


def held(origin: str, answer: str, now: str) -> Hit | None:
    """What is left at ``now`` of an answer given at ``origin``."""
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
        # an editor closes what is opened: what it puts there need not be suggested again
        ("x = foo|\n", "(a, b)", "x = foo(|)\n", "a, b"),
        ("x = foo|\n", "(bar(a))", "x = foo(bar(|))\n", "a"),
        ("x = |\n", "['k']", "x = ['|']\n", "k"),
        ("if x |\n", "{\n  y\n}", "if x {\n  |\n}\n", "y"),
        # closed where the answer goes on: up to there it holds
        ("x = foo|\n", "(a, b).bar()", "x = foo(|)\n", "a, b"),
        ("x = |\n", "f(g(a), b) + 1", "x = f(|)\n", "g(a), b"),
    ],
)
def test_answer_holds_while_its_beginning_is_typed(origin, answer, now, left):
    hit = held(origin, answer, now)
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
        # so does what stands below: keys of the prefix alone are stale after an edit there
        ("x = |\ny = 1\n", "foo", "x = |\ny = 2\n"),
        ("x = |\n", "foo", "x = |\ny\n"),
        ("f(|)\n", "a", "f(|\n"),
        # above, even where the line itself is the same
        ("import a\nx = |\n", "foo", "import b\nx = |\n"),
        ("x = |\n", "foo", "import a\nx = |\n"),
        # what an editor has closed, but not for this answer
        ("x = foo|\n", "(a, b", "x = foo(|)\n"),
        ("x = foo|\n", "(a", "x = foo(|])\n"),
        ("x = |\n", "(a\n  b)", "x = (|)z\n"),
    ],
)
def test_answer_does_not_hold_elsewhere_or_after_an_edit(origin, answer, now):
    assert held(origin, answer, now) is None


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
        # what the model is shown of other files, from another place of them or edited
        {"snippets": (Snippet("b.py", "def f(b): ..."),)},
        {"snippets": (Snippet("b.py", "def f(a): ..."), Snippet("c.py", "x"))},
        {"snippets": ()},
    ],
)
def test_answer_holds_for_the_same_question_only(change):
    cache, known = Cache(), {"adapter_version": ((7, 10, 0),), "snippets": (Snippet("b.py", "def f(a): ..."),)}
    cache.put(at("x = |", **known), "12")
    assert cache.find(at("x = 1|", **known)) == Hit("2", "typed")
    assert cache.find(at("x = |", **(known | change))) is None
    assert not may_still_match(at("x = |", **known), at("x = 1|", **(known | change)), "1")


def test_undone_typing_finds_the_earlier_answer_again():
    """Newer answers for later places do not hide it."""
    cache = Cache()
    cache.put(at("x = |"), "1")
    cache.put(at("x = 1; y = |"), "2")
    cache.put(at("x = z|"), "3")
    assert cache.find(at("x = |")) == Hit("1", "same")


def test_what_lies_outside_the_windows_may_change():
    """An import added at the top of a long file moves everything, and means nothing here."""
    settings = CompletionSettings(prefix_chars=100, suffix_chars=300)
    above, below = "line\n" * 40, "more\n" * 100
    cache = Cache()
    cache.put(at(f"{above}x = |\n{below}", settings=settings), "foo")
    moved = at(f"import a\n{above}x = f|\n{below}end", settings=settings)
    assert cache.find(moved) == Hit("oo", "typed")
    assert cache.find(at(f"{above[:-2]}E\nx = f|\n{below}", settings=settings)) is None


def test_edit_just_behind_the_cursor_counts_even_where_the_model_sees_no_suffix():
    settings = CompletionSettings(prefix_chars=100, suffix_chars=0)
    cache = Cache()
    cache.put(at("x = |)", settings=settings), "foo")
    assert cache.find(at("x = |", settings=settings)) is None


def test_newest_answer_goes_before_older_ones():
    """It is what the person saw last."""
    cache = Cache()
    cache.put(at("x = |"), "abc")
    cache.put(at("x = a|"), "xyz")
    assert cache.find(at("x = a|")) == Hit("xyz", "same")
    assert cache.find(at("x = |")) == Hit("abc", "same")
    assert cache.find(at("x = a|")) == Hit("bc", "typed")


def test_a_second_answer_for_a_place_replaces_the_first():
    cache = Cache()
    cache.put(at("x = |"), "abc")
    cache.put(at("x = |"), "abd")
    assert (len(cache), cache.find(at("x = ab|"))) == (1, Hit("d", "typed"))


def test_nothing_to_show_is_remembered_for_the_very_place_with_its_reason():
    cache = Cache()
    cache.put(at("x = 1|"), "", "the model had nothing to add")
    assert cache.find(at("x = 1|")) == Hit("", "same", "the model had nothing to add")
    assert cache.find(at("x = 12|")) is None


def test_who_asks_by_hand_wants_more_than_nothing_or_a_cut_answer():
    cache = Cache()
    cache.put(at("x = |"), "")
    cache.put(at("y = |"), "ab", cut=True)
    cache.put(at("z = |"), "ab")
    found = [cache.find(at(text), invoked=True) for text in ("x = |", "y = a|", "z = a|")]
    assert found == [None, None, Hit("b", "typed")]
    assert cache.find(at("y = a|")) == Hit("b", "typed")


def test_answer_that_was_cut_before_it_said_anything_is_not_remembered():
    """Or slowness once would be silence for ever."""
    cache = Cache()
    cache.put(at("x = |"), "", cut=True)
    assert cache.find(at("x = |")) is None


def test_least_recently_used_answers_go_first():
    cache = Cache(max_entries=2)
    for name in "ab":
        cache.put(at(f"{name} = |"), name)
    cache.find(at("a = |"))
    cache.put(at("c = |"), "c")
    assert [bool(cache.find(at(f"{name} = |"))) for name in "abc"] == [True, False, True]


def test_text_that_is_kept_is_bounded():
    cache = Cache(max_characters=25)
    for name in "abc":
        cache.put(at(f"{name * 5} = |"), name)
    assert len(cache) == 2


def test_context_of_other_files_counts_as_text_that_is_kept():
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
def test_running_answer_may_still_come_to_hold(so_far, now, may):
    assert may_still_match(at("x = |\n"), at(now), so_far) is may


@pytest.mark.parametrize(
    ("now", "leads"),
    [("x = |\n", True), ("x = fo|\n", True), ("x = foo|\n", True), ("x = b|\n", False), ("x = |\ny", False)],
)
def test_goal_that_typing_on_still_leads_to(now, leads):
    assert typing_may_reach(at(now), at("x = foo|\n")) is leads


@given(
    st.text("ab(\n ", max_size=8),
    st.text("ab()\n ", min_size=1, max_size=8),
    st.text("ab)\n ", max_size=8),
    st.integers(0, 8),
    st.integers(0, 3),
)
def test_accepting_what_is_left_gives_the_document_that_was_proposed_or_its_beginning(before, answer, after, typed, n):
    """Whatever was typed and closed: never other text than the model's in this place."""
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
        ("x = |", Hit("", "same", "in doubt")),
        ("x = f|", Hit("", "typed", "in doubt")),
        ("x = fo|", Hit("o.bar(1)\n    y", "typed")),  # "foo" is typed in part, and the rest is likely
        ("x = foo.bar(1|", Hit(")\n    y", "typed")),
        ("x = foo.bar(1)|", None),  # how likely the next line was is not known
        ("x = fa|", None),
    ],
)
def test_what_was_doubted_is_shown_once_so_much_is_typed_that_the_rest_of_the_line_is_sure(now, found):
    """And until then the model is not asked for the same again."""
    cache, doubted = Cache(), TokenProbabilities(10, ((0, log(0.5)), (1, log(0.3)), (3, log(0.6))))
    sure = replace(SETTINGS, min_confidence=0.5)
    cache.put(at("x = |", settings=sure), "foo.bar(1)\n    y", "in doubt", low_confidence=doubted)
    assert cache.find(at(now, settings=sure)) == found


def test_who_asks_by_hand_gets_what_was_doubted():
    cache, sure = Cache(), replace(SETTINGS, min_confidence=0.5)
    cache.put(at("x = |", settings=sure), "foo", "in doubt", low_confidence=TokenProbabilities(3, ((0, log(0.1)),)))
    assert cache.find(at("x = |", settings=sure), invoked=True) == Hit("foo", "same")
