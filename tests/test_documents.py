"""Files referenced by the documentation exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SECURITY = (ROOT / "docs" / "security.md").read_text("utf-8")


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`(tests/[\w/.]+)`", SECURITY))))
def test_files_of_the_threat_table_exist(path: str):
    assert (ROOT / path).exists()


def test_links_of_the_security_page_resolve():
    targets = re.findall(r"\]\(([^)#:]+)\)", SECURITY)
    assert targets and [one for one in targets if not (ROOT / "docs" / one).exists()] == []


def test_architecture_page_lists_10_to_15_existing_files():
    page = (ROOT / "docs/architecture.md").read_text("utf-8")
    files = re.findall(r"^\| \d+ \| `([^`]+)` \|", page, re.MULTILINE)
    assert 10 <= len(files) <= 15
    assert [file for file in files if not (ROOT / file).is_file()] == []
    assert len(page.splitlines()) <= 200
