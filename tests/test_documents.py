"""Files named in the documents exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SECURITY = (ROOT / "docs" / "security.md").read_text("utf-8")


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`(tests/[\w/.]+)`", SECURITY))))
def test_test_named_in_the_threat_table_exists(path: str):
    assert (ROOT / path).exists()


def test_links_of_the_security_page_resolve():
    targets = re.findall(r"\]\(([^)#:]+)\)", SECURITY)
    assert targets and [one for one in targets if not (ROOT / "docs" / one).exists()] == []
