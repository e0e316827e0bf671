"""Conversations: the messages sent to the model, and the history of an editor session."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

from inference.text.prompts import Message
from lsp_server.chat import conversation as module
from lsp_server.chat.attachments import Attachment
from lsp_server.chat.conversation import ChatTurn, Conversation, Conversations
from lsp_server.chat.markdown import to_markdown


def talk(*turns: tuple[str, str], system: str = "") -> Conversation:
    conversation = Conversation(system)
    for question, answer in turns:
        conversation.keep(ChatTurn(question, f"sent {question}", answer, end="stop"))
    return conversation


def test_turns_are_only_appended() -> None:
    """The engine reuses its KV cache as long as the beginning stays the same."""
    conversation, seen = talk(system="S"), []
    for n in range(5):
        turn = ChatTurn(str(n), str(n))
        seen.append(conversation.messages(turn))
        conversation.keep(replace(turn, answer=f"a{n}"))
    assert seen[0] == (Message("system", "S"), Message("user", "0"))
    assert all(later[: len(earlier)] == earlier for earlier, later in pairwise(seen))
    assert seen[2][1:] == tuple(
        Message(role, text)
        for role, text in [("user", "0"), ("assistant", "a0"), ("user", "1"), ("assistant", "a1"), ("user", "2")]
    )


def test_regenerating_resends_the_question() -> None:
    conversation = talk(("one", "1"), ("two", "2"))
    turn = conversation.again()
    assert turn is not None and (turn.attempt, turn.sent, turn.answer) == (1, "sent two", "")
    assert [m.content for m in conversation.messages(turn)] == ["sent one", "1", "sent two"]
    conversation.keep(replace(turn, answer="other"))
    assert [(t.question, t.answer) for t in conversation.turns] == [("one", "1"), ("two", "other")]
    assert conversation.again() == replace(turn, attempt=2)
    assert talk().again() is None


def test_too_long_conversation_loses_its_older_half(monkeypatch) -> None:
    """Its beginning then stays the same for many turns, as with the engine's own rule."""
    monkeypatch.setattr(module, "MOST_CHARACTERS", 100)
    conversation, firsts = talk(), []
    for n in range(40):
        turn = ChatTurn(str(n), f"{n:05d}")
        messages = conversation.messages(turn)
        assert sum(len(m.content) for m in messages[:-1]) <= 100
        firsts.append(messages[0].content)
        conversation.keep(replace(turn, answer="12345"))
    assert firsts[:12] == ["00000"] * 11 + ["00005"]
    assert len(set(firsts)) == 7


def test_least_recently_used_conversation_is_dropped(monkeypatch) -> None:
    monkeypatch.setattr(module, "MOST_CONVERSATIONS", 2)
    known = Conversations()
    first, second = known.begin(), known.begin()
    assert known.find(first.id) is first
    third = known.begin()
    assert list(known.known.values()) == [first, third]
    assert known.find(second.id) is None
    known.drop(first.id)
    known.drop("unknown")
    assert list(known.known) == [third.id]


def test_title_is_the_beginning_of_the_first_question() -> None:
    assert talk(("  why\n is this ", "")).title == "why is this"
    assert talk(("x" * 100, "")).title == "x" * 59 + "…"
    assert talk().title == ""


def test_export_has_questions_and_answers_without_files() -> None:
    """An unclosed code block is closed, so that it does not swallow the next turn."""
    conversation = talk(("Why?", "So."))
    attachment = Attachment("a.py, line 1", "secret = 1")
    conversation.keep(ChatTurn("And?", "sent", "```py\nx", (attachment,), "length"))
    assert to_markdown(conversation, "codellama-7b-instruct") == (
        "# Why?\n\n## You\n\nWhy?\n\n## codellama-7b-instruct\n\nSo.\n\n## You\n\nAnd?\n\n- with a.py, line 1\n\n"
        "## codellama-7b-instruct\n\n```py\nx\n```\n\n"
        "*The answer was cut off at the maximum length.*\n"
    )
