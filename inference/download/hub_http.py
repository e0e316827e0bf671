"""HTTP to the hub: bounded answers, redirects one by one, and no token in clear text.

With ``hub`` the only file that names ``huggingface_hub``, which brings the token (``HF_TOKEN``), proxies and endpoint.
The library's client removes the token where a redirect leads to another origin.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import inference
from inference.download.wheel import PullError
from inference.remote.http_client import Address

LARGEST_ANSWER = 16 << 20
"""Bytes in an answer that is no file: a listing, or what is said about an error."""
MOST_REDIRECTS = 5


def endpoint() -> str:
    """The hub's address. Read when it is needed: the library reads ``HF_ENDPOINT`` only once, when it is imported."""
    from huggingface_hub import constants

    return (os.environ.get("HF_ENDPOINT") or constants.ENDPOINT).rstrip("/")


def in_the_clear() -> bool:
    """Return whether others on the way to the hub could read a token: plain http to another machine."""
    return Address(endpoint().lower()).in_the_clear


def withheld() -> str:
    """A sentence where the user has a token that is not sent, else nothing."""
    from huggingface_hub import get_token

    if not in_the_clear() or not get_token():
        return ""
    return (
        f"Your Hugging Face token is not sent to {endpoint()}: plain http is not encrypted. If the model needs the "
        "token, set HF_ENDPOINT to an https address."
    )


@contextmanager
def get(url: str, **headers: str) -> Iterator[Any]:
    """Open the answer to a GET request, its body not read yet. Raises what the library raises, and PullError."""
    from huggingface_hub import constants
    from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

    client, version = get_session(), inference.__version__
    token = False if in_the_clear() else None
    known = build_hf_headers(token=token, library_name="codellama-ls", library_version=version)
    # Compressed, a small answer could become a huge one.
    sent = {**known, "Accept-Encoding": "identity", **headers}
    request = client.build_request("GET", url, headers=sent, timeout=constants.HF_HUB_DOWNLOAD_TIMEOUT)
    for _ in range(1 + MOST_REDIRECTS):
        answer = client.send(request, stream=True, follow_redirects=False)
        try:
            if answer.next_request is None:
                if not answer.is_success:
                    hf_raise_for_status(_whole(answer))
                yield answer
                return
            request = answer.next_request  # without reading the redirect's body
        finally:
            answer.close()
    raise PullError(f"{endpoint()} redirects without end: check HF_ENDPOINT.")


def read(url: str) -> bytes:
    """Get an answer of bounded length. Raises as ``get`` does."""
    with get(url) as answer:
        return _body(answer)


def _whole(answer: Any) -> Any:
    """The same answer with its body read, as the library's errors need it."""
    headers: Mapping[str, str] = {
        name: value for name, value in answer.headers.items() if name.lower() != "content-encoding"
    }
    return type(answer)(answer.status_code, headers=headers, content=_body(answer), request=answer.request)


def _body(answer: Any) -> bytes:
    body = bytearray()
    for block in answer.iter_raw():
        body += block
        if len(body) > LARGEST_ANSWER:
            raise PullError(f"{endpoint()} sends an answer without end: check HF_ENDPOINT.")
    return bytes(body)
