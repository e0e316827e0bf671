"""The remote server that a session may use: only one that the user has named outside of any workspace.

Settings cannot name it. A repository may bring settings of its own, and LSP does not tell them apart from the user's in
``initializationOptions`` and ``workspace/didChangeConfiguration``. Otherwise, opening a folder could send all typed
code, and the token, to a stranger. So address and token come from sources that a workspace cannot write:

1. the server's command line, ``codellama-ls --engine-url URL`` (no token: other users can read command lines);
2. the environment, ``CODELLAMA_LS_ENGINE_URL`` and ``CODELLAMA_LS_ENGINE_TOKEN``;
3. ``remote.toml`` in the user's configuration folder: a regular file of the user's with mode 0600, no link.

The first source that names an address decides; ``local`` stands for the local engine. A token is sent only to the
address it was given with: the file's token to the file's address, the environment's to the environment's. If the
environment names no address, its token belongs to the only address named. If the command line and the file name two, it
is unclear which one the token is for, and neither gets it. The setting ``engine.url`` may repeat the chosen address;
any other value is refused. An invalid choice is an error, and the local engine is not used in its place.
"""

from __future__ import annotations

import os
import stat
import tomllib
from pathlib import Path
from typing import Any

import platformdirs

from inference.errors import CodeLlamaError
from inference.remote.http_client import Address, AddressError, parse_url

URL_VARIABLE, TOKEN_VARIABLE = "CODELLAMA_LS_ENGINE_URL", "CODELLAMA_LS_ENGINE_TOKEN"

LOCAL = "local"
"""Given instead of an address: use the local engine, whatever the file says."""

KEYS = ("url", "token")

NO_SERVER = (
    "No remote server is configured any more. Name one in remote.toml, or restart the language server to use the local "
    "engine."
)
"""Message for a session that began with a remote server and whose file was removed since."""


class NotAllowedError(CodeLlamaError, ValueError):
    """The source that names the server is invalid."""


def config_path() -> Path:
    """Return the path of the user's file, existing or not."""
    return platformdirs.user_config_path("codellama-ls") / "remote.toml"


def is_named(given: str = "") -> bool:
    """Return whether any source names a server, valid or not. ``given`` is the command line's address."""
    chosen = given or os.environ.get(URL_VARIABLE)
    return chosen != LOCAL and (bool(chosen) or os.path.lexists(config_path()))


def find_server(given: str = "") -> Address:
    """Return the server to use, with its token. Raises ``NotAllowedError``."""
    try:
        token, named = os.environ.get(TOKEN_VARIABLE, ""), os.environ.get(URL_VARIABLE, "")
        named = parse_url(named) if named not in ("", LOCAL) else ""
        chosen = parse_url(given) if given else named
        if token and chosen and chosen == named:
            return Address(chosen, token)
        file_url, file_token = _file()
        if not (url := chosen or file_url):
            raise NotAllowedError(NO_SERVER)
        if token and {url} == {one for one in (chosen, named, file_url) if one}:
            return Address(url, token)
        return Address(url, file_token if file_url == url else "")
    except AddressError as error:
        raise NotAllowedError(str(error)) from error


def file_contents() -> tuple[str, str]:
    """Return address and token of the user's file, valid or not, for a report to redact."""
    try:
        fields = tomllib.loads(config_path().read_text("utf-8"))
    except (OSError, ValueError):
        return "", ""
    return str(fields.get("url", "")), str(fields.get("token", ""))


def setting_problem(setting: str, given: str = "") -> str:
    """Return why the setting ``engine.url`` is refused; "" if it is empty or repeats the chosen address."""
    if not setting:
        return ""
    try:
        if is_named(given) and parse_url(setting) == find_server(given).url:
            return ""
    except (AddressError, NotAllowedError):
        pass
    return (
        "Setting 'engine.url' is not taken from the editor, because an opened folder could have set it. Put the "
        f'address into {config_path()} (mode 0600) as `url = "..."`, or into {URL_VARIABLE}.'
    )


def _file() -> tuple[str, str]:
    """Return address and token of the user's file, empty without a file.

    Raises ``NotAllowedError``, ``AddressError``.
    """
    path = config_path()
    try:
        fields = tomllib.loads(_private_text(path))
    except FileNotFoundError:
        return "", ""
    except (OSError, UnicodeDecodeError) as error:
        raise NotAllowedError(f"{path} cannot be read ({type(error).__name__}). Make it a file of yours.") from error
    except tomllib.TOMLDecodeError as error:
        raise NotAllowedError(f'{path} is not valid TOML. It should have a line `url = "https://..."`.') from error
    return _checked(fields, path)


def _checked(fields: dict[str, Any], path: Path) -> tuple[str, str]:
    if unknown := sorted(fields.keys() - set(KEYS)):
        raise NotAllowedError(f"{path} has an unknown entry '{unknown[0]}'. Valid are {' and '.join(KEYS)}.")
    url, token = fields.get("url", ""), fields.get("token", "")
    if not isinstance(url, str) or not isinstance(token, str) or not url:
        raise NotAllowedError(f'{path} must have a line `url = "https://..."` and may have one `token = "..."`.')
    return parse_url(url), token


def _private_text(path: Path) -> str:
    """Return the text of a private file. It is checked after opening: the path could change in between."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    with open(descriptor, encoding="utf-8") as file:  # noqa: PTH123  a descriptor has no path
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
            raise NotAllowedError(f"{path} must be a file of yours that only you can read. Run `chmod 600 {path}`.")
        return file.read()
