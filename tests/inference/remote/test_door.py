"""Addresses, tokens, and a client that goes nowhere but there."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import subprocess
from contextlib import asynccontextmanager

import pytest
from fakes.llama_server import listening
from fakes.openai_server import FakeOpenAi, refusal
from starlette.responses import RedirectResponse

from inference.api.errors import BadRequest, EngineUnavailable
from inference.remote.errors import NotUnderstood
from inference.remote.http_client import Address, AddressError, open_http_client, parse_url, parts
from inference.remote.server_profile import ProbeRequest, probe


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        (" HTTPS://GPU.Example.org/ ", "https://gpu.example.org"),
        ("https://gpu.example.org:443/v1", "https://gpu.example.org"),
        ("https://example.org/models/v1/", "https://example.org/models"),
        ("http://[::1]:8080/", "http://[::1]:8080"),
    ],
)
def test_an_address_has_one_form(text, url):
    assert parse_url(text) == url


@pytest.mark.parametrize(
    "text", ["", "gpu.example.org", "localhost:8080", "file:///etc/passwd", "http://", "http://a b"]
)
def test_what_is_no_address_is_refused(text):
    with pytest.raises(AddressError, match="is no address of a server: it should look like https://models"):
        parse_url(text)


def test_secrets_do_not_belong_into_an_address():
    with pytest.raises(AddressError, match="must not hold a name or password"):
        parse_url("https://me:secret@example.org")
    with pytest.raises(AddressError, match="leave out what follows"):
        parse_url("https://example.org?key=secret")


@pytest.mark.parametrize(
    "text",
    [
        "me:hunter2@example.org",
        "https://example.org?key=hunter2",
        "https://example.org#hunter2",
        "hunter2",
        "Bearer hunter2.hunter2",
        "eyJ0." + "hunter2" * 20,
    ],
)
def test_a_secret_put_into_the_address_is_not_repeated(text):
    """The sentence goes into the editor's log, and into reports."""
    with pytest.raises(AddressError) as error:
        parse_url(text)
    assert "hunter2" not in str(error.value)


def test_a_token_is_shown_to_nobody_else():
    assert "secret" not in repr(Address("https://example.org", "secret"))


async def test_a_token_that_a_server_repeats_is_not_told():
    """Its words are, while it is found out about, and end in the log."""
    fake = FakeOpenAi(token="hunter2", failures=[refusal(400, "What is 'Bearer hunter2'?")])
    async with listening(fake.app()) as url, open_http_client(Address(url, "hunter2")) as http:
        with pytest.raises(BadRequest) as error:
            await anext(parts(http, "there", "/v1/completions", {}, telling=True))
    assert str(error.value) == "there refused a request (HTTP 400) (it says: What is 'Bearer [token]'?)."


@pytest.mark.parametrize("token", ["a b", "a\nX-Other: b", "ä"])
def test_a_token_that_could_be_more_than_a_token_is_refused(token):
    with pytest.raises(AddressError, match="one word of ASCII"):
        Address("https://example.org", token)


@pytest.mark.parametrize(
    ("url", "clear"),
    [
        ("http://example.org", True),
        ("http://192.168.0.7:8000", True),
        ("https://example.org", False),
        ("http://127.0.0.2:8000", False),
        ("http://localhost:8000", False),
        ("http://[::1]:8000", False),
    ],
)
def test_what_others_could_read_on_the_way_is_known(url, clear):
    assert Address(url).in_the_clear is clear


async def test_a_redirect_is_not_followed():
    """Neither code nor token goes where a server points."""
    other, fake = FakeOpenAi(), FakeOpenAi(token="secret")
    async with listening(other.app()) as elsewhere, listening(fake.app()) as url:
        fake.failures = [RedirectResponse(f"{elsewhere}/health")]
        async with open_http_client(Address(url, "secret")) as http:
            with pytest.raises(NotUnderstood) as error:
                await probe(http, "there", ProbeRequest("starter"))
    assert str(error.value) == "there redirects elsewhere, which is not followed: set the address it redirects to."
    assert other.paths == []


async def test_a_proxy_is_never_used_for_this_machine(monkeypatch):
    async with proxy() as (seen, proxy_url):
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy_url)
        fake = FakeOpenAi()
        async with listening(fake.app()) as url, open_http_client(Address(url)) as http:
            assert (await http.get("/health")).status_code == 200
    assert seen == []


async def test_a_proxy_is_used_for_other_machines(monkeypatch):
    async with proxy() as (seen, proxy_url):
        monkeypatch.setenv("http_proxy", proxy_url)
        async with open_http_client(Address("http://models.example.org")) as http:
            assert (await http.get("/health")).status_code == 204
    assert seen == [b"GET http://models.example.org/health HTTP/1.1"]


async def test_a_certificate_must_be_one_that_the_system_trusts(tmp_path, monkeypatch):
    """``SSL_CERT_FILE`` names more, as it does for other programs."""
    key, certificate = self_signed(tmp_path)
    async with tls_server(key, certificate) as url:
        async with open_http_client(Address(url)) as http:
            with pytest.raises(EngineUnavailable, match="there has no certificate that this machine trusts"):
                await probe(http, "there", ProbeRequest("starter"))
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        async with open_http_client(Address(url)) as http:
            assert (await http.get("/health")).status_code == 204


@asynccontextmanager
async def proxy():
    """Something that answers any request with 204, and keeps its first line."""
    seen: list[bytes] = []
    server = await asyncio.start_server(_noting(seen), "127.0.0.1", 0)
    async with server:
        yield seen, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@asynccontextmanager
async def tls_server(key, certificate):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    async with await asyncio.start_server(_noting([]), "127.0.0.1", 0, ssl=context) as server:
        yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def _noting(seen: list[bytes]):
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append((await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")[0])
        writer.write(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    return answer


def self_signed(folder):
    if not shutil.which("openssl"):
        pytest.skip("needs the program openssl to make a certificate")
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=test"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate]
    subprocess.run(command, check=True, capture_output=True)
    return key, certificate
