"""A text without who, where and what is secret: names, addresses, tokens, paths. The last net under a report.

Pure. What a report is made of should hold none of these to begin with; sentences that were composed with a path or a
name pass through here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping

SECRET, ADDRESS, PATH = "[secret]", "[address]", "[path]"

SHORTEST_NAME = 2
SHORTEST_SECRET = 6

_PATTERNS = (
    (re.compile(r"\bbearer\s+\S+", re.IGNORECASE), SECRET),
    (
        re.compile(r"\b([\w-]*(?:passw(?:or)?d|secret|token|api[_-]?key))(\s*[=:]\s*)\S+", re.IGNORECASE),
        rf"\1\2{SECRET}",
    ),
    (re.compile(r"\b(?:sk|hf|gh[opsu]|github_pat|glpat|xox[abp]|AKIA)[-_]?\w{12,}"), SECRET),
    (re.compile(r"\b[a-z][a-z0-9+.-]*://\S+", re.IGNORECASE), ADDRESS),
    (re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+"), ADDRESS),
    (re.compile(r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?![\w.])"), ADDRESS),
    (re.compile(r"(?<![\w.>\]])(?:~|(?=/))/[^\s\"'`,;:()<>|\[\]]*[^\s\"'`,;:()<>|\[\].]"), PATH),
    (re.compile(r"(?=[A-Za-z+_=-]*\d)[A-Za-z0-9+_=-]{32,}"), SECRET),
)

Redact = Callable[[str], str]


def redactor(secrets: Iterable[str], places: Mapping[str, str], names: Mapping[str, str]) -> Redact:
    """A function that replaces ``secrets``, ``places`` (paths, by what they are called instead) and ``names``.

    The longest comes first, so that of two paths of which one lies in the other both are whole. Names are replaced in
    any case, where they are whole words.
    """
    exact = {**{secret: SECRET for secret in secrets if len(secret) >= SHORTEST_SECRET}, **places}
    texts = [(text, by) for text, by in sorted(exact.items(), key=lambda one: -len(one[0])) if len(text) > 1]
    words = [
        (re.compile(rf"(?<![^\W_]){re.escape(name)}(?![^\W_])", re.IGNORECASE), by)
        for name, by in sorted(names.items(), key=lambda one: -len(one[0]))
        if len(name) >= SHORTEST_NAME
    ]

    def redact(text: str) -> str:
        for old, new in texts:
            text = text.replace(old, new)
        for pattern, new in (*_PATTERNS, *words):
            text = pattern.sub(new, text)
        return text

    return redact
