"""Who may name the server that gets the code: the person, in three places, and no folder that they open."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from inference.remote.http_client import Address
from lsp_server.backend import allowed_servers
from lsp_server.backend.allowed_servers import TOKEN_VARIABLE, URL_VARIABLE, NotAllowedError, find, is_named, objection

HERE, OTHER = "https://models.example.org", "https://elsewhere.example.com"


@pytest.fixture(autouse=True)
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nothing is set; the path of the user's file, whose folder is there."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.delenv(URL_VARIABLE, raising=False)
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)
    (tmp_path / "codellama-ls").mkdir()
    return tmp_path / "codellama-ls" / "remote.toml"


def write(path: Path, text: str, mode: int = 0o600) -> None:
    path.write_text(text)
    path.chmod(mode)


def test_by_default_there_is_none():
    assert not is_named()
    assert objection("") == ""


def test_the_users_file_names_one(config):
    write(config, f'url = "{HERE}/v1/"\ntoken = "secret"\n')
    assert is_named()
    assert find() == Address(HERE, "secret")


def test_the_environment_goes_before_the_file_and_the_command_line_before_both(config, monkeypatch):
    write(config, 'url = "https://a.example.org"')
    monkeypatch.setenv(URL_VARIABLE, "https://b.example.org")
    assert find().url == "https://b.example.org"
    assert find("https://c.example.org").url == "https://c.example.org"


def test_local_means_an_engine_of_ones_own_whatever_the_file_says(config, monkeypatch):
    write(config, f'url = "{HERE}"')
    assert not is_named("local")
    monkeypatch.setenv(URL_VARIABLE, "local")
    assert not is_named()
    assert find(OTHER).url == OTHER


@pytest.mark.parametrize(
    ("given", "named", "token"),
    [
        ("", "", "of-the-environment"),  # the only address there is
        ("", HERE, "of-the-environment"),
        (HERE, "", "of-the-environment"),
        (HERE, OTHER, "of-the-file"),  # the environment's token is for the environment's address
        (OTHER, HERE, ""),  # and the file's for the file's
    ],
)
def test_a_token_goes_only_to_the_address_it_was_given_with(config, monkeypatch, given, named, token):
    write(config, f'url = "{HERE}"\ntoken = "of-the-file"')
    monkeypatch.setenv(TOKEN_VARIABLE, "of-the-environment")
    if named:
        monkeypatch.setenv(URL_VARIABLE, named)
    assert find(given).token == token


def test_a_token_that_may_have_been_meant_for_another_address_is_shown_to_none(config, monkeypatch):
    """The environment says nothing of the address, and two are named."""
    write(config, f'url = "{HERE}"')
    monkeypatch.setenv(TOKEN_VARIABLE, "of-the-environment")
    assert find(OTHER) == Address(OTHER, "")
    config.unlink()
    assert find(OTHER) == Address(OTHER, "of-the-environment")


def test_where_the_file_has_gone_the_window_says_so(config):
    """It found one when it began."""
    with pytest.raises(NotAllowedError) as error:
        find()
    assert str(error.value) == (
        "No server is named any more: name one in remote.toml, or restart the language server to use an engine of this "
        "machine's own."
    )


def test_the_files_token_is_not_shown_to_another_address(config):
    write(config, f'url = "{HERE}"\ntoken = "of-the-file"')
    assert find(OTHER) == Address(OTHER, "")
    assert find(HERE) == Address(HERE, "of-the-file")


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o602])
def test_a_file_that_others_can_read_or_write_is_refused(config, mode):
    write(config, f'url = "{HERE}"', mode)
    with pytest.raises(NotAllowedError) as error:
        find()
    assert str(error.value) == f"{config} must be a file of yours that only you can read: `chmod 600 {config}`."


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a file away")
def test_a_file_of_somebody_else_is_refused(config):
    write(config, f'url = "{HERE}"')
    os.chown(config, 12345, -1)
    with pytest.raises(NotAllowedError, match="must be a file of yours"):
        find()


def test_a_link_is_refused(config, tmp_path):
    """What it points to may be a file of the opened folder."""
    write(tmp_path / "theirs.toml", f'url = "{OTHER}"')
    config.symlink_to(tmp_path / "theirs.toml")
    assert is_named()
    with pytest.raises(NotAllowedError, match="can't be read"):
        find()


def test_what_is_no_file_is_refused_and_not_waited_for(config):
    os.mkfifo(config, 0o600)
    with pytest.raises(NotAllowedError, match="must be a file of yours"):
        find()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("url: x", 'is no TOML: it should have a line `url = "https://..."`.'),
        ("", 'should have a line `url = "https://..."` and may have one `token = "..."`.'),
        ("url = 3", 'should have a line `url = "https://..."` and may have one `token = "..."`.'),
        ('url = "x"\nproxy = "y"', "has an unknown entry 'proxy': there are url and token."),
    ],
)
def test_a_file_that_says_something_else_is_refused(config, text, message):
    write(config, text)
    with pytest.raises(NotAllowedError) as error:
        find()
    assert str(error.value) == f"{config} {message}"


def test_an_address_that_is_none_is_refused(monkeypatch):
    monkeypatch.setenv(URL_VARIABLE, "gpu:8080")
    assert is_named()
    with pytest.raises(NotAllowedError, match="'gpu:8080' is no address of a server"):
        find()


@pytest.mark.parametrize("setting", [HERE, f"{HERE}/v1/", "HTTPS://Models.Example.org:443"])
def test_a_setting_may_repeat_what_is_allowed(config, setting):
    write(config, f'url = "{HERE}"')
    assert objection(setting) == ""


@pytest.mark.parametrize("setting", [OTHER, "http://models.example.org", f"{HERE}:8443", f"{HERE}/other", "nonsense"])
@pytest.mark.parametrize("named", [True, False])
def test_a_setting_that_says_anything_else_is_refused_with_what_to_do(config, setting, named):
    """Be there a server allowed or not."""
    if named:
        write(config, f'url = "{HERE}"')
    assert objection(setting) == (
        "Setting 'engine.url' is not taken from the editor, where an opened folder could have written it: put the "
        f'address into {config} (mode 0600) as `url = "..."`, or into CODELLAMA_LS_ENGINE_URL.'
    )


def test_a_setting_does_not_make_a_refused_file_count(config):
    write(config, f'url = "{HERE}"', 0o644)
    assert objection(HERE) != ""


def test_the_file_lies_where_a_folder_that_is_opened_is_not(config):
    assert allowed_servers.config_path() == config
