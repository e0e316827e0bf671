"""Load the tokenizer of a checkpoint folder. Torch-free."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from inference.text.llama_tokenizer import ByteFallbackTokenizer, CodeLlamaTokenizer
from inference.text.tokenizer import ByteLevelTokenizer, Tokenizer, TokenizerError
from inference.text.vocabulary import read_json


def load_tokenizer(folder: Path) -> Tokenizer:
    """Load the tokenizer of the checkpoint in ``folder``.

    ``tokenizer.model`` is preferred: Code Llama was trained with it, and some ``tokenizer.json`` converted from it
    encode indentation wrongly. Raises ``TokenizerError`` if the files are missing, damaged or of another checkpoint.
    """
    if (folder / "tokenizer.model").exists():
        return _load(CodeLlamaTokenizer, folder, "tokenizer.model")
    if (folder / "tokenizer.json").exists():
        return _load(_from_json, folder, "tokenizer.json")
    raise TokenizerError(f"{folder} holds neither tokenizer.model nor tokenizer.json. Download the checkpoint again.")


def _load(read: Callable[[Path], Tokenizer], folder: Path, name: str) -> Tokenizer:
    try:
        return read(folder)
    except TokenizerError:
        raise
    except Exception as problem:  # the tokenizers library raises bare Exception
        raise TokenizerError(
            f"{folder / name} or a file beside it is damaged. Download the checkpoint again."
        ) from problem


def _from_json(folder: Path) -> Tokenizer:
    byte_fallback = read_json(folder / "tokenizer.json")["model"].get("byte_fallback")
    return ByteFallbackTokenizer(folder) if byte_fallback else ByteLevelTokenizer(folder)
