"""Prompt lookup copies drafts from the longest match, and along a text that is being rewritten."""

from __future__ import annotations

from inference.engine.speculation import LONGEST_MATCH, Draft, PromptLookup


def drafted(text: str, room: int = 4, **settings) -> tuple[str, int]:
    """Return the draft after ``text``, whose tokens are its characters."""
    return shown(PromptLookup(ids(text), **settings).draft(room))


def shown(draft: Draft) -> tuple[str, int]:
    return "".join(map(chr, draft.ids)), draft.matched


def ids(text: str) -> list[int]:
    return list(map(ord, text))


def test_draft_follows_an_earlier_occurrence_of_the_last_pair():
    assert drafted("abcdef-ab") == ("cdef", 2)


def test_no_draft_without_an_earlier_occurrence():
    assert drafted("abcdef-bd") == ("", 0)
    assert drafted("") == ("", 0)
    assert drafted("a") == ("", 0)


def test_the_longest_match_wins_over_a_later_one():
    assert drafted("xab1 yab2 xab") == ("1 ya", 3)


def test_of_equal_matches_the_most_recent_wins():
    assert drafted("ab1 ab2 -ab") == ("2 -a", 2)


def test_repetition_at_the_end_is_continued():
    """The position copied from is nearer to the end than the draft is long."""
    assert drafted("0ababab", room=5) == ("ababa", 4)


def test_draft_fits_the_room():
    assert drafted("abcdef-ab", room=1) == ("c", 2)
    assert drafted("abcdef-ab", room=0) == ("", 2)


def test_draft_ends_before_an_excluded_token():
    assert drafted("abc#ef-ab", never=ids("#")) == ("c", 2)
    assert drafted("ab#def-ab", never=ids("#")) == ("", 2)


def test_drafts_do_not_cross_from_one_text_to_another():
    assert drafted("-ab", others=[ids("abc"), ids("xyz")]) == ("c", 2)


def test_match_length_is_bounded():
    """This bounds the cost of a lookup."""
    assert drafted("abcdefghijklmnopqrstuvwxyz" * 2, room=1) == ("a", LONGEST_MATCH)


def answering(prediction: str, answer: str, room: int = 4) -> tuple[str, int]:
    lookup = PromptLookup(ids("rewrite!"), ids(prediction))
    lookup.extend(ids(answer))
    return shown(lookup.draft(room))


def test_prediction_is_followed_from_its_first_token():
    assert answering("one two", "o") == ("ne t", 1)


def test_prediction_is_rejoined_after_one_matching_token():
    """A line was replaced by another one."""
    assert answering("a = 1\nb = 2\nc = 3\n", "a = 1\nX") == ("", 0)
    assert answering("a = 1\nb = 2\nc = 3\n", "a = 1\nX\n") == ("b = ", 1)


def test_rewrite_prefers_positions_after_the_last_copy():
    """These lines begin alike; the one after the last copied line is meant."""
    prediction = "f(a);\nf(b);\nf(c);\nf(d);\n"
    lookup, answer = PromptLookup(ids("!"), ids(prediction)), ""
    for accepted in (4, 6, 6):
        lookup.extend(ids(prediction[len(answer) : len(answer) + accepted]))
        answer = prediction[: len(answer) + accepted]
        assert shown(lookup.draft(6))[0] == prediction[len(answer) : len(answer) + 6]


def test_incremental_index_equals_one_built_at_once():
    text = ids("def f(x):\n    return x\n\ndef g(x):\n    return x")
    slowly = PromptLookup(text[:5])
    for token in text[5:]:
        slowly.extend([token])
    assert slowly.draft(9) == PromptLookup(text).draft(9)
    assert len(slowly) == len(text)
