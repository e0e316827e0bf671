"""The vocabulary of Code Llama and other Llama-family checkpoints, token for token as Meta's reference encodes it.

What the two file formats have in common, and the tokenizer that reads SentencePiece's ``tokenizer.model``. Knows no
prompts and no weights; torch-free.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from sentencepiece import SentencePieceProcessor

from inference.text.pieces import BEGIN, CONTINUED, END, NAMED, added_tokens, is_marker, read_json, text_bytes
from inference.text.sentencepiece_model import hide_pieces, trained_size
from inference.text.tokenizer import TokenizerError


class LlamaTokenizer:
    """A vocabulary with an implicit leading space and bytes to fall back on.

    Args:
        pieces: every piece of the vocabulary file, by id.
        control: ids of that file that stand for no text.
        folder: the checkpoint's, read for added tokens and the number of embedding rows.
        encode: text to ids with the implicit space; safe to call from several threads, and never yielding ``control``.
    Raises ``TokenizerError`` for a vocabulary that is not of this family or not of this checkpoint.
    """

    def __init__(
        self, pieces: Sequence[str], control: set[int], folder: Path, encode: Callable[[str], list[int]]
    ) -> None:
        named = {pieces[i]: i for i in control}
        if BEGIN not in named or END not in named or "<0x0A>" not in pieces:
            raise TokenizerError(
                f"The vocabulary in {folder} is not one of the Llama family; choose another checkpoint."
            )
        rows = read_json(folder / "config.json").get("vocab_size", 2**31)
        if len(pieces) > rows:
            raise TokenizerError(
                f"The vocabulary in {folder} has {len(pieces)} pieces but its model only {rows}: "
                "they belong to different checkpoints, so fetch this one again."
            )
        added = {name: i for name, i in added_tokens(folder).items() if _is_added(name, i, named, len(pieces), rows)}
        self._control = named | added
        silent = set(self._control.values())
        size = max(len(pieces), *(i + 1 for i in silent))
        self._bytes = [b"" if i in silent or i >= len(pieces) else text_bytes(pieces[i]) for i in range(size)]
        self._encode = encode
        self._mark = encode(CONTINUED)

    @property
    def vocab_size(self) -> int:
        return len(self._bytes)

    @property
    def bos_id(self) -> int:
        return self._control[BEGIN]

    @property
    def eos_ids(self) -> frozenset[int]:
        return frozenset([self._control[END]])

    def encode(self, text: str) -> list[int]:
        return self._encode(text)

    def encode_continuation(self, text: str) -> list[int]:
        """Meta's ``encode_infilling``: encoded behind a character that joins with nothing, which then goes."""
        return self._encode(CONTINUED + text)[len(self._mark) :]

    def piece_bytes(self, token: int) -> bytes:
        """As in the protocol; embedding rows beyond the vocabulary, which some checkpoints pad to, are silent too."""
        return self._bytes[token] if token < len(self._bytes) else b""

    def control_id(self, piece: str) -> int | None:
        return self._control.get(piece)


class CodeLlamaTokenizer(LlamaTokenizer):
    """SentencePiece's ``tokenizer.model``, which every Code Llama checkpoint ships.

    Text is encoded with the trained 32,000 pieces only. The published file appends the sentinels as ordinary pieces, so
    that `` <EOT>`` in a user's file would become the sentinel; here no text can. The appended parts of sentinels
    (``▁<E``) are left out of encoding with them, but keep their text in case a model says them.

    Raises ``TokenizerError`` for a file that is damaged or does not belong to the checkpoint.
    """

    def __init__(self, folder: Path) -> None:
        proto = (folder / "tokenizer.model").read_bytes()
        try:
            pieces, control = _pieces(proto)
            appended = _appended(pieces, trained_size(proto))
            text_only = SentencePieceProcessor(model_proto=hide_pieces(proto, appended))
        except (RuntimeError, ValueError) as problem:
            raise TokenizerError(f"{folder / 'tokenizer.model'} is damaged; fetch the checkpoint again.") from problem
        control |= {i for i in appended if is_marker(pieces[i])}
        super().__init__(pieces, control, folder, text_only.encode)


def _pieces(proto: bytes) -> tuple[list[str], set[int]]:
    """All pieces, and which stand for no text. The processor that tells them is gone before another is made: 6 MB."""
    whole = SentencePieceProcessor(model_proto=proto)
    ids = range(whole.vocab_size())
    return [whole.id_to_piece(i) for i in ids], {i for i in ids if whole.is_control(i) or whole.is_unknown(i)}


def _appended(pieces: list[str], trained: int) -> set[int]:
    """Sentinels and parts of sentinels that were put behind the trained vocabulary.

    Other appended pieces, such as the words of a language that somebody added, are text like any other.
    """
    return {i for i, piece in enumerate(pieces) if piece in NAMED or (i >= trained and piece.lstrip("▁")[:1] == "<")}


def _is_added(name: str, i: int, named: dict[str, int], pieces: int, rows: int) -> bool:
    """Whether an added token is a control token the model has a row for.

    Either its id is new, or it renames a control piece: the 70B Instruct model's ``<step>`` is 32015, a piece of
    unused sentinels in the vocabulary file. Some tools add tokens past the last row (huggingface/transformers#26156);
    the model would fail on those.
    """
    return 0 <= i < rows and (i >= pieces or i in named.values()) and name != ""
