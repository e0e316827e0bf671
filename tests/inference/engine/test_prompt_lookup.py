"""Where drafts are copied from: the place that agrees the furthest back, and along the text that is rewritten."""

from __future__ import annotations

from inference.engine.speculation import LONGEST_MATCH, Draft, PromptLookup


def drafted(text: str, room: int = 4, **settings) -> tuple[str, int]:
    """What is drafted after ``text``, whose tokens are its characters."""
    return shown(PromptLookup(ids(text), **settings).draft(room))


def shown(draft: Draft) -> tuple[str, int]:
    return "".join(map(chr, draft.ids)), draft.matched


def ids(text: str) -> list[int]:
    return list(map(ord, text))


def test_what_followed_the_last_two_tokens_is_drafted():
    assert drafted("abcdef-ab") == ("cdef", 2)


def test_nothing_is_drafted_where_they_are_new():
    assert drafted("abcdef-bd") == ("", 0)
    assert drafted("") == ("", 0)
    assert drafted("a") == ("", 0)


def test_the_longest_match_wins_over_a_later_one():
    assert drafted("xab1 yab2 xab") == ("1 ya", 3)


def test_of_equal_matches_the_most_recent_wins():
    assert drafted("ab1 ab2 -ab") == ("2 -a", 2)


def test_what_repeats_itself_goes_on_repeating_itself():
    """The place copied from is nearer to the end than the draft is long."""
    assert drafted("0ababab", room=5) == ("ababa", 4)


def test_never_more_than_there_is_room_for():
    assert drafted("abcdef-ab", room=1) == ("c", 2)
    assert drafted("abcdef-ab", room=0) == ("", 2)


def test_a_draft_ends_before_a_token_that_is_never_drafted():
    assert drafted("abc#ef-ab", never=ids("#")) == ("c", 2)
    assert drafted("ab#def-ab", never=ids("#")) == ("", 2)


def test_other_texts_are_looked_up_but_never_run_together():
    assert drafted("-ab", others=[ids("abc"), ids("xyz")]) == ("c", 2)


def test_places_further_back_agree_no_better():
    """So that one lookup is bounded."""
    assert drafted("abcdefghijklmnopqrstuvwxyz" * 2, room=1) == ("a", LONGEST_MATCH)


def answering(prediction: str, answer: str, room: int = 4) -> tuple[str, int]:
    lookup = PromptLookup(ids("rewrite!"), ids(prediction))
    lookup.extend(ids(answer))
    return shown(lookup.draft(room))


def test_a_prediction_is_followed_from_its_first_token_on():
    assert answering("one two", "o") == ("ne t", 1)


def test_a_prediction_is_found_again_after_one_token():
    """A line was replaced by another one."""
    assert answering("a = 1\nb = 2\nc = 3\n", "a = 1\nX") == ("", 0)
    assert answering("a = 1\nb = 2\nc = 3\n", "a = 1\nX\n") == ("b = ", 1)


def test_a_rewrite_goes_on_where_it_is_rather_than_where_it_was():
    """Each of these lines begins alike: the one after the last that was copied is meant."""
    prediction = "f(a);\nf(b);\nf(c);\nf(d);\n"
    lookup, answer = PromptLookup(ids("!"), ids(prediction)), ""
    for accepted in (4, 6, 6):
        lookup.extend(ids(prediction[len(answer) : len(answer) + accepted]))
        answer = prediction[: len(answer) + accepted]
        assert shown(lookup.draft(6))[0] == prediction[len(answer) : len(answer) + 6]


def test_a_token_at_a_time_is_the_same_as_all_at_once():
    text = ids("def f(x):\n    return x\n\ndef g(x):\n    return x")
    slowly = PromptLookup(text[:5])
    for token in text[5:]:
        slowly.extend([token])
    assert slowly.draft(9) == PromptLookup(text).draft(9)
    assert len(slowly) == len(text)
