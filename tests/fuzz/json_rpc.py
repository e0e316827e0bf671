"""Generate random messages for a language server, reproducible from a seed, with the ids that need a response."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from fuzz.mutations import BAD_HEADERS, damaged, mutated, odd
from fuzz.sessions import Editor
from support.raw_client import call, encoded


@dataclass(frozen=True)
class Sent:
    """Bytes for the server's stdin with ``count`` messages.

    Each of ``ids`` must get one response, each of ``maybe`` at most one.
    """

    raw: bytes
    ids: tuple[Any, ...] = ()
    maybe: tuple[Any, ...] = ()
    count: int = 1


class Messages:
    """An endless generator of ``Sent``."""

    def __init__(self, seed: int, folder: Path) -> None:
        self.rng = Random(seed)
        self._replies = Random(seed)  # separate: the time of the server's requests varies
        self.editor = Editor(self.rng, folder)
        self._next = 0
        self._recent: list[Any] = [0]

    def one(self) -> Sent:
        """Return mostly requests, some notifications, and some invalid messages."""
        kinds = (self._request, self._notification, self._damaged, self._odd_request, self._not_a_call, self._cancel)
        return self.rng.choices(kinds, (60, 20, 8, 4, 4, 4))[0]()

    def opening(self) -> Sent:
        """Return a message for a server that is not initialized: often a mutated ``initialize``."""
        if self.rng.random() < 0.4:
            return self.one()
        id_ = self._id()
        params = mutated(self.rng, self.editor.initialize(), self.rng.randint(1, 3))
        return Sent(encoded(call("initialize", params, id_)), (id_,))

    def reply(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return a response to a request of the server, valid or not."""
        rng = self._replies
        results = (
            None,
            {"applied": True},
            {"applied": False, "failureReason": "no"},
            [{}],
            {"success": True},
            odd(rng),
        )
        errors = ({"code": -32603, "message": "no"}, {"code": "x"}, odd(rng))
        response = {"jsonrpc": "2.0", "id": request["id"]}
        kind = rng.randrange(6)
        if kind == 0:
            return {**response, "error": rng.choice(errors)}
        return response if kind == 1 else {**response, "result": rng.choice(results)}

    def _id(self) -> Any:
        self._next += 1
        id_ = self._next if self.rng.random() < 0.5 else f"r{self._next}"
        self._recent = [*self._recent[-20:], id_]
        return id_

    def _params(self, make: Any) -> Any:
        times = self.rng.choices((0, 1, 2, 4), (30, 40, 20, 10))[0]
        return mutated(self.rng, make(), times)

    def _call(self) -> tuple[str, Any]:
        return self.rng.choice(list(self.editor.requests.items()))

    def _request(self) -> Sent:
        (method, make), id_ = self._call(), self._id()
        return Sent(encoded(call(method, self._params(make), id_)), (id_,))

    def _notification(self) -> Sent:
        known = self.editor.notifications
        method = self.rng.choice([*known, *["textDocument/didOpen", "textDocument/didChange"] * 3])
        make = known[method]
        raw = encoded(call(method, self._params(make)))
        if method != "workspace/didChangeConfiguration":
            return Sent(raw)
        return Sent(raw + encoded(call(method, self.editor.settings())), count=2)  # mutated ones may slow the server

    def _damaged(self) -> Sent:
        if self.rng.random() < 0.4:
            return Sent(self.rng.choice(BAD_HEADERS))
        (method, make), id_ = self._call(), self._id()
        message = {"jsonrpc": "2.0", "id": id_, "method": method, "params": make()}
        return Sent(damaged(self.rng, message), maybe=(id_,), count=2)

    def _odd_request(self) -> Sent:
        """Return a request with a valid id that is invalid otherwise."""
        (method, make), id_ = self._call(), self._id()
        message = {**call(method, make(), id_), "jsonrpc": odd(self.rng)}
        kind = self.rng.randrange(4)
        if kind == 1:
            message = {
                **call(method, make(), id_),
                "method": self.rng.choice((None, 5, [], "\ud800", "", "textDocument/didOpen")),
            }
        elif kind == 2:
            del message["jsonrpc"]
        elif kind == 3:
            return Sent(encoded([5, call(method, make(), id_), call("$/x")]), (id_,), count=3)
        return Sent(encoded(message), (id_,))

    def _not_a_call(self) -> Sent:
        bad_ids = [None, 1.5, True, [], {}, [1], {"a": 1}]
        id_ = self.rng.choice(bad_ids)
        responses: list[Any] = [
            {"jsonrpc": "2.0", "id": id_, "result": 1},
            {"jsonrpc": "2.0", "id": "unknown", "error": odd(self.rng)},
        ]
        others: list[Any] = [
            {**call("codellama/trace"), "id": id_},
            odd(self.rng),
            {},
            [],
            call("no/such", odd(self.rng)),
        ]
        return Sent(encoded(self.rng.choice([*responses, *others])))

    def _cancel(self) -> Sent:
        id_ = self.rng.choice([*self._recent, odd(self.rng)])
        return Sent(encoded(call("$/cancelRequest", {"id": id_} if self.rng.random() < 0.9 else odd(self.rng))))
