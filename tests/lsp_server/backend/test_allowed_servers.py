"""The remote server comes from three sources of the user, never from a workspace."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from inference.remote.http_client import Address
from lsp_server.backend import allowed_servers
from lsp_server.backend.allowed_servers import (
    TOKEN_VARIABLE,
    URL_VARIABLE,
    NotAllowedError,
    find_server,
    is_named,
    setting_problem,
)

HERE, OTHER = "https://models.example.org", "https://elsewhere.example.com"


@pytest.fixture(autouse=True)
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the path of the user's file, which does not exist; its folder does. No variable is set."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.delenv(URL_VARIABLE, raising=False)
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)
    (tmp_path / "codellama-ls").mkdir()
    return tmp_path / "codellama-ls" / "remote.toml"


def write(path: Path, text: str, mode: int = 0o600) -> None:
    path.write_text(text)
    path.chmod(mode)


def test_no_server_by_default():
    assert not is_named()
    assert setting_problem("") == ""


def test_file_names_a_server(config):
    write(config, f'url = "{HERE}/v1/"\ntoken = "secret"\n')
    assert is_named()
    assert find_server() == Address(HERE, "secret")


def test_command_line_precedes_environment_precedes_file(config, monkeypatch):
    write(config, 'url = "https://a.example.org"')
    monkeypatch.setenv(URL_VARIABLE, "https://b.example.org")
    assert find_server().url == "https://b.example.org"
    assert find_server("https://c.example.org").url == "https://c.example.org"


def test_local_overrides_the_file(config, monkeypatch):
    write(config, f'url = "{HERE}"')
    assert not is_named("local")
    monkeypatch.setenv(URL_VARIABLE, "local")
    assert not is_named()
    assert find_server(OTHER).url == OTHER


@pytest.mark.parametrize(
    ("given", "named", "token"),
    [
        ("", "", "environment-token"),  # the only address named
        ("", HERE, "environment-token"),
        (HERE, "", "environment-token"),
        (HERE, OTHER, "file-token"),  # the environment's token is for the environment's address
        (OTHER, HERE, ""),  # and the file's token for the file's address
    ],
)
def test_token_goes_only_to_the_address_it_was_given_with(config, monkeypatch, given, named, token):
    write(config, f'url = "{HERE}"\ntoken = "file-token"')
    monkeypatch.setenv(TOKEN_VARIABLE, "environment-token")
    if named:
        monkeypatch.setenv(URL_VARIABLE, named)
    assert find_server(given).token == token


def test_ambiguous_token_goes_to_no_address(config, monkeypatch):
    """The environment names no address, and the other sources name two."""
    write(config, f'url = "{HERE}"')
    monkeypatch.setenv(TOKEN_VARIABLE, "environment-token")
    assert find_server(OTHER) == Address(OTHER, "")
    config.unlink()
    assert find_server(OTHER) == Address(OTHER, "environment-token")


def test_missing_file_is_an_error(config):
    """The session began with a file."""
    with pytest.raises(NotAllowedError) as error:
        find_server()
    assert str(error.value) == (
        "No remote server is configured any more. Name one in remote.toml, or restart the language server to use the "
        "local engine."
    )


def test_file_token_is_not_sent_to_another_address(config):
    write(config, f'url = "{HERE}"\ntoken = "file-token"')
    assert find_server(OTHER) == Address(OTHER, "")
    assert find_server(HERE) == Address(HERE, "file-token")


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o602])
def test_file_that_others_can_access_is_refused(config, mode):
    write(config, f'url = "{HERE}"', mode)
    with pytest.raises(NotAllowedError) as error:
        find_server()
    assert str(error.value) == f"{config} must be a file of yours that only you can read. Run `chmod 600 {config}`."


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a file away")
def test_file_of_another_user_is_refused(config):
    write(config, f'url = "{HERE}"')
    os.chown(config, 12345, -1)
    with pytest.raises(NotAllowedError, match="must be a file of yours"):
        find_server()


def test_symbolic_link_is_refused(config, tmp_path):
    """It may point into the opened folder."""
    write(tmp_path / "theirs.toml", f'url = "{OTHER}"')
    config.symlink_to(tmp_path / "theirs.toml")
    assert is_named()
    with pytest.raises(NotAllowedError, match="cannot be read"):
        find_server()


def test_fifo_is_refused_without_blocking(config):
    os.mkfifo(config, 0o600)
    with pytest.raises(NotAllowedError, match="must be a file of yours"):
        find_server()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("url: x", 'is not valid TOML. It should have a line `url = "https://..."`.'),
        ("", 'must have a line `url = "https://..."` and may have one `token = "..."`.'),
        ("url = 3", 'must have a line `url = "https://..."` and may have one `token = "..."`.'),
        ('url = "x"\nproxy = "y"', "has an unknown entry 'proxy'. Valid are url and token."),
    ],
)
def test_invalid_file_is_refused(config, text, message):
    write(config, text)
    with pytest.raises(NotAllowedError) as error:
        find_server()
    assert str(error.value) == f"{config} {message}"


def test_invalid_address_is_refused(monkeypatch):
    monkeypatch.setenv(URL_VARIABLE, "gpu:8080")
    assert is_named()
    with pytest.raises(NotAllowedError, match="'gpu:8080' is not the address of a server"):
        find_server()


@pytest.mark.parametrize("setting", [HERE, f"{HERE}/v1/", "HTTPS://Models.Example.org:443"])
def test_setting_may_repeat_the_chosen_address(config, setting):
    write(config, f'url = "{HERE}"')
    assert setting_problem(setting) == ""


@pytest.mark.parametrize("setting", [OTHER, "http://models.example.org", f"{HERE}:8443", f"{HERE}/other", "nonsense"])
@pytest.mark.parametrize("named", [True, False])
def test_setting_with_another_address_is_refused(config, setting, named):
    """With and without a server chosen."""
    if named:
        write(config, f'url = "{HERE}"')
    assert setting_problem(setting) == (
        "Setting 'engine.url' is not taken from the editor, because an opened folder could have set it. Put the "
        f'address into {config} (mode 0600) as `url = "..."`, or into CODELLAMA_LS_ENGINE_URL.'
    )


def test_setting_does_not_make_an_invalid_file_valid(config):
    write(config, f'url = "{HERE}"', 0o644)
    assert setting_problem(HERE) != ""


def test_file_lies_in_the_users_configuration_folder(config):
    assert allowed_servers.config_path() == config
