"""``codellama-ls infer``: read a model card's sample request on stdin and print the response on stdout.

The request goes to the engine that editors use; one is started if none runs. Messages go to stderr.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from typing import Any

from inference.api.engine_errors import BadRequest, EngineError, EngineUnavailable
from inference.api.requests import WireError, parse_score
from inference.api.status import ANSWERING
from inference.client.engine_client import EngineClient
from inference.client.engine_process import EngineOptions, allow_one_more, ensure_engine
from inference.commands.command_line import OK, print_error, run_command

BAD_INPUT = 2

EXAMPLE = '{"input_data": {"input_string": ["def fibonacci("], "parameters": {"max_new_tokens": 100}}}'


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command. Exit status 1: no engine can serve the request; 2: the request is invalid."""
    parser = argparse.ArgumentParser(
        prog="codellama-ls infer",
        description="Answer a request in the format of the model card's sample input.",
        epilog=f"Example: echo '{EXAMPLE}' | codellama-ls infer",
    )
    parser.add_argument("--model", help="installed model to use (default: the running one, else the starter)")
    options = parser.parse_args(argv)
    return run_command(lambda: _run(options.model))


def _run(model: str | None) -> int:
    try:
        body = read_request(sys.stdin.buffer.read(), model)
        response = asyncio.run(infer(body, model))
    except (WireError, BadRequest) as error:
        return print_error(error, BAD_INPUT)
    sys.stdout.write(json.dumps(response, indent=2, ensure_ascii=False) + "\n")
    return OK


def read_request(content: bytes, model: str | None) -> Mapping[str, Any]:
    """Parse and check the request before an engine is started; return the body to send. Raises WireError."""
    try:
        body = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise WireError(f"The request is not JSON: {error}.") from error
    parse_score(body)
    return {**body, "model": model} if model else body


async def infer(body: Mapping[str, Any], model: str | None) -> list[dict[str, str]]:
    """Find or start an engine, hold a lease, wait until it is ready, and send the request."""
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
        raise EngineUnavailable("The engine has shut down. Run the command again to start another one.")
    finally:
        if sys.stderr.isatty():
            sys.stderr.write("\r\x1b[K")
        await client.aclose()
