"""The editing trace: the exact requests of a simulated typist for a file of a few lines."""

from __future__ import annotations

from itertools import pairwise

import pytest

from inference.text.source_files import SourceFile
from lsp_server.benchmark.editing_trace import KINDS, make_trace
from lsp_server.benchmark.source_choice import interleave_languages

SMALL = SourceFile("a.py", "python", "# a\r\nadd(1)\r\n")
TEXT = "import os\n\n\ndef add(a, b):\n    return a + b\n\n\nclass Cart:\n    total = add(1, 2)\n    items = [3, 4]\n"


def files(count: int) -> list[SourceFile]:
    return [SourceFile(f"{n}.py", "python", TEXT.replace("Cart", f"Cart{n}")) for n in range(count)]


def test_line_is_typed_a_few_characters_at_a_time():
    """One file with one line to write. At each request, all of its text, with LF, is around the cursor."""
    trace = make_trace([SMALL], 6)
    assert [(r.kind, r.prefix, r.suffix) for r in trace] == [
        ("cold", "# a\n", "\n"),
        ("warm", "# a\nadd(", ")\n"),
        ("warm", "# a\nadd(1)", "\n"),
        ("jump", "# a\n", "\n"),
        ("warm", "# a\nad", "\n"),
        ("warm", "# a\nadd(1", ")\n"),
    ]
    assert {(r.document, r.language) for r in trace} == {("a.py", "python")}


def test_same_seed_same_trace():
    assert make_trace(files(4), 200, seed=7) == make_trace(files(4), 200, seed=7)
    assert make_trace(files(4), 200, seed=7) != make_trace(files(4), 200, seed=8)


def test_longer_trace_begins_with_the_shorter():
    """So ``--quick`` measures a subset of the full benchmark."""
    assert make_trace(files(4), 200)[:20] == make_trace(files(4), 20)


def test_trace_has_every_kind_of_request():
    trace = make_trace(files(4), 300)
    assert len(trace) == 300
    assert {r.kind for r in trace} == set(KINDS)


def test_file_opens_once_and_returns_by_switching():
    trace = make_trace(files(4), 300)
    opened = [r.document for r in trace if r.kind == "cold"]
    assert opened == ["0.py", "1.py", "2.py", "3.py"]
    for earlier, later in pairwise(trace):
        assert (later.kind in ("cold", "switch")) == (later.document != earlier.document)


def test_cursor_text_is_the_file_without_the_untyped_rest():
    whole = {file.name: file.text for file in files(4)}
    for request in make_trace(files(4), 300):
        assert len(request.prefix + request.suffix) <= len(whole[request.document]) + 12
        if request.kind in ("cold", "jump", "switch"):
            assert whole[request.document].startswith(request.prefix)
            assert whole[request.document].endswith(request.suffix)


def test_files_without_code_raise_a_message():
    with pytest.raises(ValueError, match=r"^No source file has a line of code to rewrite\. Choose another folder\.$"):
        make_trace([SourceFile("a.py", "python", "x = 1\n")], 3)


def test_languages_alternate():
    given = [SourceFile("a.py", "python", ""), SourceFile("b.py", "python", ""), SourceFile("a.js", "javascript", "")]
    assert [file.name for file in interleave_languages(given)] == ["2/a.js", "0/a.py", "1/b.py"]
