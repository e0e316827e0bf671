"""Mentions and slash commands in a message."""

from __future__ import annotations

import pytest

from lsp_server.chat.attachments import Mention, mentions, split_command


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("why?", []),
        ("look at #file:src/a.py, please", [Mention("file", "src/a.py")]),
        ('#file:"my notes.md" and #file:b.c.', [Mention("file", "my notes.md"), Mention("file", "b.c")]),
        ("#selection #diagnostics #diff #open", [Mention(k) for k in ("selection", "diagnostics", "diff", "open")]),
        ("(#symbol:Shop.total)", [Mention("symbol", "Shop.total")]),
        ("#open twice #open", [Mention("open")]),
        # not mentions
        ("#file: a", []),
        ("#openly #diff-tool #Selection ##diff a#open &#open issue #12 https://x/#diff #symbol", []),
    ],
)
def test_mentions_are_recognised(text: str, found: list[Mention]) -> None:
    assert mentions(text) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("/explain", ("explain", "")),
        (" /fix  the loop\nplease", ("fix", "the loop\nplease")),
        ("/commit #open", ("commit", "#open")),
        ("/fixed it", ("", "/fixed it")),
        ("/etc/hosts is gone", ("", "/etc/hosts is gone")),
        ("what does /explain do?", ("", "what does /explain do?")),
    ],
)
def test_slash_command_stands_at_the_start(text: str, found: tuple[str, str]) -> None:
    assert split_command(text) == found


def test_mention_prints_as_written() -> None:
    assert [str(one) for one in mentions("#file:a.py #diff")] == ["#file:a.py", "#diff"]
