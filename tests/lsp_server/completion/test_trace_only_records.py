"""The trace records what happened; it never decides anything."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import lsp_server

ROOT = Path(lsp_server.__file__).parent


def read_fields(source: str) -> set[str]:
    """Return the attributes of a ``record`` that code reads."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
            owner = ast.unparse(node.value)
            if owner == "record" or owner.endswith(".record"):
                found.add(node.attr)
    return found - {"timed", "cancel", "stages"}


@pytest.mark.parametrize("module", ["completion/pipeline.py", "lsp/completion_request.py"])
def test_completion_reads_no_field_of_the_record(module: str):
    assert read_fields((ROOT / module).read_text("utf-8")) == set()
