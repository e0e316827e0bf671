"""Addresses, tokens, and a client that connects to one server only."""

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

from inference.api.engine_errors import BadRequest, EngineUnavailable
from inference.remote.http_client import Address, AddressError, open_http_client, parse_url, stream_events
from inference.remote.server_errors import UnusableServer
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
def test_url_is_normalised(text, url):
    assert parse_url(text) == url


@pytest.mark.parametrize(
    "text", ["", "gpu.example.org", "localhost:8080", "file:///etc/passwd", "http://", "http://a b"]
)
def test_invalid_url_is_refused(text):
    with pytest.raises(AddressError, match=r"is not the address of a server\. It should look like https://models"):
        parse_url(text)


def test_url_with_credentials_or_query_is_refused():
    with pytest.raises(AddressError, match="must not contain a name or password"):
        parse_url("https://me:secret@example.org")
    with pytest.raises(AddressError, match="Remove what follows"):
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
def test_secret_in_an_invalid_url_is_not_repeated(text):
    """The message goes into the editor's log and into reports."""
    with pytest.raises(AddressError) as error:
        parse_url(text)
    assert "hunter2" not in str(error.value)


def test_repr_of_an_address_hides_its_token():
    assert "secret" not in repr(Address("https://example.org", "secret"))


async def test_token_that_a_server_repeats_is_redacted():
    """A probe quotes the server, and the quote ends in the log."""
    fake = FakeOpenAi(token="hunter2", failures=[refusal(400, "What is 'Bearer hunter2'?")])
    async with listening(fake.app()) as url, open_http_client(Address(url, "hunter2")) as http:
        with pytest.raises(BadRequest) as error:
            await anext(stream_events(http, "server", "/v1/completions", {}, quote=True))
    assert str(error.value) == "server refused a request (HTTP 400) (it says: What is 'Bearer [token]'?)."


@pytest.mark.parametrize("token", ["a b", "a\nX-Other: b", "ä"])
def test_token_invalid_in_a_header_is_refused(token):
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
def test_unencrypted_connection_to_another_machine_is_detected(url, clear):
    assert Address(url).in_the_clear is clear


async def test_redirect_is_not_followed():
    """Neither code nor token goes to an address that a server chooses."""
    other, fake = FakeOpenAi(), FakeOpenAi(token="secret")
    async with listening(other.app()) as target, listening(fake.app()) as url:
        fake.failures = [RedirectResponse(f"{target}/health")]
        async with open_http_client(Address(url, "secret")) as http:
            with pytest.raises(UnusableServer) as error:
                await probe(http, "server", ProbeRequest("starter"))
    assert str(error.value) == "server redirects to another address. Set the address that it redirects to."
    assert other.paths == []


async def test_proxy_is_never_used_for_loopback(monkeypatch):
    async with proxy() as (seen, proxy_url):
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy_url)
        fake = FakeOpenAi()
        async with listening(fake.app()) as url, open_http_client(Address(url)) as http:
            assert (await http.get("/health")).status_code == 200
    assert seen == []


async def test_proxy_is_used_for_other_machines(monkeypatch):
    async with proxy() as (seen, proxy_url):
        monkeypatch.setenv("http_proxy", proxy_url)
        async with open_http_client(Address("http://models.example.org")) as http:
            assert (await http.get("/health")).status_code == 204
    assert seen == [b"GET http://models.example.org/health HTTP/1.1"]


async def test_certificate_must_be_trusted_by_the_system(tmp_path, monkeypatch):
    """``SSL_CERT_FILE`` adds certificates, as for other programs."""
    key, certificate = self_signed(tmp_path)
    async with tls_server(key, certificate) as url:
        async with open_http_client(Address(url)) as http:
            with pytest.raises(EngineUnavailable, match="server has no certificate that this machine trusts"):
                await probe(http, "server", ProbeRequest("starter"))
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        async with open_http_client(Address(url)) as http:
            assert (await http.get("/health")).status_code == 204


@asynccontextmanager
async def proxy():
    """An HTTP proxy that responds with 204 to any request and records its first line."""
    seen: list[bytes] = []
    server = await asyncio.start_server(_recording(seen), "127.0.0.1", 0)
    async with server:
        yield seen, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@asynccontextmanager
async def tls_server(key, certificate):
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    async with await asyncio.start_server(_recording([]), "127.0.0.1", 0, ssl=context) as server:
        yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def _recording(seen: list[bytes]):
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
