"""From a URL to who answers there. Knows what tells ``llama-server`` from others, and which process listens."""

from __future__ import annotations

import ipaddress
from typing import Any

import httpx
import psutil

from lsp_server.measure.sides.llama_server import LlamaServerSide
from lsp_server.measure.sides.openai_side import OpenAiSide
from lsp_server.measure.sides.side import BenchError, Side

CONNECT_SECONDS = 5.0


async def find_side(url: str, *, own: bool = False) -> Side:
    """Who answers at ``url``: ``llama-server`` if it has ``/props``, else who speaks OpenAI's API.

    ``own``: it is an engine of ours. Raises ``BenchError``.
    """
    base = url.rstrip("/").removesuffix("/v1")
    if not base.startswith(("http://", "https://")):
        raise BenchError(f"'{url}' is no address of a server; it should look like http://127.0.0.1:8080.")
    # trust_env: a proxy for the web is no part of what is measured
    timeout = httpx.Timeout(None, connect=CONNECT_SECONDS)
    http = httpx.AsyncClient(base_url=base, timeout=timeout, trust_env=False)
    try:
        return await _recognised(http, url, own)
    except BaseException:
        await http.aclose()
        raise


async def _recognised(http: httpx.AsyncClient, url: str, own: bool) -> Side:
    pid = _listening(http.base_url)
    if not own and "default_generation_settings" in await _json(http, "/props", url):
        return LlamaServerSide(http, f"llama-server at {url}", pid)
    models = (await _json(http, "/v1/models", url)).get("data")
    if not isinstance(models, list) or not models:
        raise BenchError(f"What answers at {url} speaks neither llama-server's nor OpenAI's language.")
    name = "codellama-ls" if own else f"{models[0].get('id', 'a model')} at {url}"
    return OpenAiSide(http, name, models[0].get("id", ""), pid, own=own)


async def _json(http: httpx.AsyncClient, path: str, url: str) -> dict[str, Any]:
    """The object at ``path``; an empty one where there is none. Raises ``BenchError`` where nobody answers at all."""
    try:
        response = await http.get(path)
        body = response.json() if response.status_code == 200 else {}
    except httpx.HTTPError as error:
        raise BenchError(f"Nothing answers at {url}: start the server, or check the address.") from error
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _listening(url: httpx.URL) -> int | None:
    """The process that listens there, if it is on this machine and may be known."""
    if not _is_local(url.host):
        return None
    try:
        sockets = psutil.net_connections(kind="tcp")
    except psutil.Error:
        return None
    mine = (s.pid for s in sockets if s.status == psutil.CONN_LISTEN and s.laddr and s.laddr.port == url.port)
    return next((pid for pid in mine if pid), None)


def _is_local(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
