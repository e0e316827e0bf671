"""HTTP requests to the hub: bounded responses, limited redirects, and no token over plain http.

``huggingface_hub``, imported only here and in ``hub``, supplies the token (``HF_TOKEN``), proxies and endpoint. Its
client removes the token when a redirect leads to another origin.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import inference
from inference.download.checkpoint_source import PullError
from inference.remote.http_client import Address

MAX_RESPONSE = 16 << 20
"""Size in bytes of the largest response that is not a file: a listing or the body of an error."""
MAX_REDIRECTS = 5


def endpoint() -> str:
    """Return the hub's address. ``HF_ENDPOINT`` is read each time; the library reads it only when it is imported."""
    from huggingface_hub import constants

    return (os.environ.get("HF_ENDPOINT") or constants.ENDPOINT).rstrip("/")


def sends_in_clear() -> bool:
    """Return True if a token could be read on the network: plain http to another machine."""
    return Address(endpoint().lower()).in_the_clear


def unsent_token_notice() -> str:
    """Return a notice if the user has a token that is not sent, else an empty string."""
    from huggingface_hub import get_token

    if not sends_in_clear() or not get_token():
        return ""
    return (
        f"Your Hugging Face token is not sent to {endpoint()}: plain http is not encrypted. If the model needs the "
        "token, set HF_ENDPOINT to an https address."
    )


@contextmanager
def get(url: str, **headers: str) -> Iterator[Any]:
    """Open the response to a GET request; its body is not read yet. Raises the library's errors, and PullError."""
    from huggingface_hub import constants
    from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

    client, version = get_session(), inference.__version__
    token = False if sends_in_clear() else None
    defaults = build_hf_headers(token=token, library_name="codellama-ls", library_version=version)
    # A small compressed response could expand to a huge one.
    all_headers = {**defaults, "Accept-Encoding": "identity", **headers}
    request = client.build_request("GET", url, headers=all_headers, timeout=constants.HF_HUB_DOWNLOAD_TIMEOUT)
    for _ in range(1 + MAX_REDIRECTS):
        response = client.send(request, stream=True, follow_redirects=False)
        try:
            if response.next_request is None:
                if not response.is_success:
                    hf_raise_for_status(_with_body(response))
                yield response
                return
            request = response.next_request  # the redirect's body is not read
        finally:
            response.close()
    raise PullError(f"{endpoint()} redirects more than {MAX_REDIRECTS} times. Check HF_ENDPOINT.")


def read(url: str) -> bytes:
    """Return the body of a response of bounded size. Raises the errors of ``get``."""
    with get(url) as response:
        return _body(response)


def _with_body(response: Any) -> Any:
    """Return the response with its body read, as the library's errors need it."""
    headers: Mapping[str, str] = {
        name: value for name, value in response.headers.items() if name.lower() != "content-encoding"
    }
    return type(response)(response.status_code, headers=headers, content=_body(response), request=response.request)


def _body(response: Any) -> bytes:
    body = bytearray()
    for block in response.iter_raw():
        body += block
        if len(body) > MAX_RESPONSE:
            raise PullError(f"{endpoint()} sent a response of more than {MAX_RESPONSE:,} bytes. Check HF_ENDPOINT.")
    return bytes(body)
