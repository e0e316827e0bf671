"""``codellama-ls infer``: a model card's request on stdin, its answer on stdout; all else goes to stderr.

Torch-free. The engine that answers is the one editors use, started like theirs where none runs.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from typing import Any

from inference.api.errors import BadRequest, EngineError, EngineUnavailable
from inference.api.requests import WireError, parse_score
from inference.api.status import ANSWERING
from inference.client.engine_client import EngineClient
from inference.client.engine_process import EngineNotStarted, EngineOptions, allow_one_more, ensure_engine
from inference.system.runtime_folder import NotPrivateError

OK, FAILED, BAD_INPUT = 0, 1, 2

EXAMPLE = '{"input_data": {"input_string": ["def fibonacci("], "parameters": {"max_new_tokens": 100}}}'


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status 0 with an answer, 1 without an engine that can give one, 2 for a request that is wrong."""
    parser = argparse.ArgumentParser(
        prog="codellama-ls infer",
        description="Answer a request in the form of the model card's sample input.",
        epilog=f"for example: echo '{EXAMPLE}' | codellama-ls infer",
    )
    parser.add_argument("--model", help="which installed model (default: the one that runs, else the starter)")
    options = parser.parse_args(argv)
    try:
        body = read_request(sys.stdin.buffer.read(), options.model)
        answer = asyncio.run(infer(body, options.model))
    except (WireError, BadRequest) as error:
        return _say(str(error), BAD_INPUT)
    except (EngineError, EngineNotStarted, NotPrivateError) as error:
        return _say(str(error), FAILED)
    sys.stdout.write(json.dumps(answer, indent=2, ensure_ascii=False) + "\n")
    return OK


def read_request(content: bytes, model: str | None) -> Mapping[str, Any]:
    """The body to send, checked before an engine is started for it. Raises ``WireError``."""
    try:
        body = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise WireError(f"The request is not JSON: {error}.") from error
    parse_score(body)
    return {**body, "model": model} if model else body


async def infer(body: Mapping[str, Any], model: str | None) -> list[dict[str, str]]:
    """Find or start an engine, wait until it is ready and ask it, holding a lease all the time."""
    allow_one_more()
    client = EngineClient(await ensure_engine(EngineOptions(model or "starter")))
    try:
        async with aclosing(client.lease()) as statuses:
            async for status in statuses:
                if status.phase == "failed":
                    raise EngineError(status.message)
                if status.phase in ANSWERING:
                    return await client.score(body)
                if sys.stderr.isatty():
                    sys.stderr.write(f"\r\x1b[K{status.message} {status.progress} %")
        raise EngineUnavailable("The engine has just gone.")
    finally:
        if sys.stderr.isatty():
            sys.stderr.write("\r\x1b[K")
        await client.aclose()


def _say(text: str, status: int) -> int:
    sys.stderr.write(f"codellama-ls: {text}\n")
    return status
