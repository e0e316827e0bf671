"""Programming languages by file extension, and their line comments.

Language identifiers are those of LSP 3.17, "TextDocumentItem".
"""

from __future__ import annotations

from pathlib import PurePath

_EXTENSIONS = {
    "bash": "sh bash",
    "c": "c h",
    "cpp": "cc cpp cxx hh hpp hxx",
    "csharp": "cs",
    "css": "css",
    "dart": "dart",
    "elixir": "ex exs",
    "go": "go",
    "haskell": "hs",
    "java": "java",
    "javascript": "js mjs cjs",
    "javascriptreact": "jsx",
    "julia": "jl",
    "kotlin": "kt kts",
    "less": "less",
    "lua": "lua",
    "objective-c": "m mm",
    "perl": "pl pm",
    "php": "php",
    "python": "py pyi",
    "r": "r",
    "ruby": "rb",
    "rust": "rs",
    "scala": "scala",
    "scss": "scss",
    "sql": "sql",
    "swift": "swift",
    "typescript": "ts mts cts",
    "typescriptreact": "tsx",
    "vue": "vue",
    "zig": "zig",
}
_LANGUAGES = {f".{extension}": language for language, all_of in _EXTENSIONS.items() for extension in all_of.split()}

_LINE_COMMENTS = {
    "#": "bash elixir julia perl python r ruby",
    "--": "haskell lua sql",
    "//": "c cpp csharp dart go java javascript javascriptreact kotlin less objective-c php rust scala scss swift "
    "typescript typescriptreact vue zig",
}
_COMMENT_MARKS = {language: mark for mark, all_of in _LINE_COMMENTS.items() for language in all_of.split()}


def language_of(path: PurePath) -> str | None:
    """Return the language of a source file by its extension, or None for any other file."""
    return _LANGUAGES.get(path.suffix.lower())


def comment_mark(language: str) -> str | None:
    """Return the token that starts a line comment, or None if none is known."""
    return _COMMENT_MARKS.get(language)
