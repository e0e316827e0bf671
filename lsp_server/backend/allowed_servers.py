"""Which server elsewhere a window may use: only one that the person at the keyboard has named.

A repository that somebody opens can bring settings of its own, and an editor sends them on in the same messages as a
person's: in LSP nothing tells whose ``initializationOptions`` or ``workspace/didChangeConfiguration`` say what. If such
a setting chose the server, opening a folder could send all code that is typed to a stranger, and the token with it. So
the address and the token come only from places where a workspace can't write:

1. the server's command line, ``codellama-ls --engine-url URL`` (an address alone: others can read command lines);
2. the environment, ``CODELLAMA_LS_ENGINE_URL`` and ``CODELLAMA_LS_ENGINE_TOKEN``;
3. ``remote.toml`` in the user's configuration folder, which must be the user's own file that nobody else can read
   (mode 0600), and no link.

The first that names an address decides; ``local`` there means an engine of one's own. A token goes to the address that
it was given with and to no other: one in the file to the file's address, one in the environment to the environment's.
Where the environment names no address, its token is for the only one that is named: if the command line and the file
name two, nobody can tell for which it was meant, and neither gets it. The setting ``engine.url`` names nothing: it may
repeat what is allowed, and anything else is refused in one sentence. Where the person's own choice has something wrong,
that is told, and nothing is asked meanwhile: no engine of one's own is started in its place unnoticed.

Knows no HTTP and no LSP.
"""

from __future__ import annotations

import os
import stat
import tomllib
from pathlib import Path
from typing import Any

import platformdirs

from inference.remote.http_client import Address, AddressError, parse_url

URL_VARIABLE, TOKEN_VARIABLE = "CODELLAMA_LS_ENGINE_URL", "CODELLAMA_LS_ENGINE_TOKEN"

LOCAL = "local"
"""In place of an address on the command line or in the environment: the engine of one's own, whatever the file says."""

KEYS = ("url", "token")

NOBODY_NAMED = (
    "No server is named any more: name one in remote.toml, or restart the language server to use an engine of this "
    "machine's own."
)
"""For a window that began with a server elsewhere, whose file has been removed since."""


class NotAllowedError(ValueError):
    """What was to name a server is not fit to; the message says what to do."""


def config_path() -> Path:
    """Where the user's file would be."""
    return platformdirs.user_config_path("codellama-ls") / "remote.toml"


def is_named(given: str = "") -> bool:
    """Whether any of the places names a server, ``given`` being the command line's; not whether it is fit to."""
    chosen = given or os.environ.get(URL_VARIABLE)
    return chosen != LOCAL and (bool(chosen) or os.path.lexists(config_path()))


def find(given: str = "") -> Address:
    """The server to use, and the token for it. Raises ``NotAllowed``."""
    try:
        token, named = os.environ.get(TOKEN_VARIABLE, ""), os.environ.get(URL_VARIABLE, "")
        named = parse_url(named) if named not in ("", LOCAL) else ""
        chosen = parse_url(given) if given else named
        if token and chosen and chosen == named:
            return Address(chosen, token)
        filed, its_token = _file()
        if not (url := chosen or filed):
            raise NotAllowedError(NOBODY_NAMED)
        if token and {url} == {one for one in (chosen, named, filed) if one}:
            return Address(url, token)
        return Address(url, its_token if filed == url else "")
    except AddressError as error:
        raise NotAllowedError(str(error)) from error


def kept() -> tuple[str, str]:
    """Address and token in the user's file as they stand there, fit to be used or not, for a report to leave out."""
    try:
        fields = tomllib.loads(config_path().read_text("utf-8"))
    except (OSError, ValueError):
        return "", ""
    return str(fields.get("url", "")), str(fields.get("token", ""))


def objection(setting: str, given: str = "") -> str:
    """Why the setting ``engine.url`` is not taken; empty where it says nothing or what is allowed anyway."""
    if not setting:
        return ""
    try:
        if is_named(given) and parse_url(setting) == find(given).url:
            return ""
    except (AddressError, NotAllowedError):
        pass
    return (
        "Setting 'engine.url' is not taken from the editor, where an opened folder could have written it: put the "
        f'address into {config_path()} (mode 0600) as `url = "..."`, or into {URL_VARIABLE}.'
    )


def _file() -> tuple[str, str]:
    """Address and token in the user's file; empty where there is none. Raises ``NotAllowed``, ``AddressError``."""
    path = config_path()
    try:
        fields = tomllib.loads(_private_text(path))
    except FileNotFoundError:
        return "", ""
    except (OSError, UnicodeDecodeError) as error:
        raise NotAllowedError(f"{path} can't be read ({type(error).__name__}): make it a file of yours.") from error
    except tomllib.TOMLDecodeError as error:
        raise NotAllowedError(f'{path} is no TOML: it should have a line `url = "https://..."`.') from error
    return _checked(fields, path)


def _checked(fields: dict[str, Any], path: Path) -> tuple[str, str]:
    if unknown := sorted(fields.keys() - set(KEYS)):
        raise NotAllowedError(f"{path} has an unknown entry '{unknown[0]}': there are {' and '.join(KEYS)}.")
    url, token = fields.get("url", ""), fields.get("token", "")
    if not isinstance(url, str) or not isinstance(token, str) or not url:
        raise NotAllowedError(f'{path} should have a line `url = "https://..."` and may have one `token = "..."`.')
    return parse_url(url), token


def _private_text(path: Path) -> str:
    """The text of a file that is the user's alone. Looked at once it is open: a path could change in between."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    with open(descriptor, encoding="utf-8") as file:  # noqa: PTH123  a descriptor has no path
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
            raise NotAllowedError(f"{path} must be a file of yours that only you can read: `chmod 600 {path}`.")
        return file.read()
