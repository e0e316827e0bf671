"""Token healing: the first tokens agree with bytes that are already in the document."""

from __future__ import annotations

from inference.engine.sampling import Healing
from inference.text.vocabulary import Vocabulary


class Words:
    """A vocabulary of a few words, one of which is a control token."""

    pieces = (b"", b" ", b"  ", b" re", b" return", b"re", b"return", b"x", "é".encode())
    vocab_size = len(pieces)
    bos_id = None
    eos_ids = frozenset({0})

    def encode(self, text: str) -> list[int]:
        return [self.pieces.index(text.encode())]

    encode_continuation = encode

    def piece_bytes(self, token: int) -> bytes:
        return self.pieces[token]

    def control_id(self, piece: str) -> int | None:
        return None


def allowed(text: str) -> set[bytes]:
    words = Words()
    return {words.pieces[i] for i in Vocabulary(words).agreeing(text.encode())}


def test_longer_and_shorter_tokens_agree():
    assert allowed(" re") == {b" ", b" re", b" return"}
    assert allowed("  ") == {b" ", b"  "}
    assert allowed("é") == {"é".encode()}
    assert allowed("q") == set()


def test_accepted_tokens_consume_the_pending_bytes():
    words = Words()
    healing = Healing(Vocabulary(words), words, "  re")
    healing.accept(1)
    assert {words.pieces[i] for i in healing.allowed() or []} == {b" ", b" re", b" return"}
    healing.accept(4)
    assert healing.allowed() is None
