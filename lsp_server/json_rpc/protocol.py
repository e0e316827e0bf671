"""The JSON-RPC protocol on top of pygls: every request gets exactly one response, valid or not.

pygls (2.1.1) does not respond to messages that it cannot convert to lsprotocol's types. Here a message is first parsed
as plain JSON, so its id is known before it is validated.
"""

from __future__ import annotations

import asyncio
import contextvars
import json
import logging
from contextlib import suppress
from functools import partial
from typing import Any
from urllib.parse import unquote

from lsprotocol import types
from pygls.exceptions import (
    JsonRpcException,
    JsonRpcInternalError,
    JsonRpcInvalidParams,
    JsonRpcInvalidRequest,
    JsonRpcMethodNotFound,
    JsonRpcParseError,
    JsonRpcRequestCancelled,
    JsonRpcServerNotInitialized,
)
from pygls.protocol import LanguageServerProtocol

from lsp_server.concurrency import cancel_once
from lsp_server.json_rpc.messages import Bodies, NotJsonError, Read, as_object, is_id, parse, structured

log = logging.getLogger(__name__)

LONGEST_MESSAGE = 500
"""Characters of an unhandled exception's text in an error response."""


class Protocol(LanguageServerProtocol):
    """LSP over a byte stream.

    An invalid request gets the error code that JSON-RPC or LSP defines. An invalid notification is logged. So is a
    message without a readable id: clients do not handle a response without an id.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in [one for one in self.fm.builtin_features if one.startswith("notebookDocument/")]:
            del self.fm.builtin_features[name]  # not announced; handling them would only use memory

    async def listen(self, read: Read) -> None:
        """Handle messages until the stream ends."""
        async for body in Bodies(read):
            self.receive(body)
            await asyncio.sleep(0)  # start the handler before the next message changes the document

    def receive(self, body: bytes) -> None:
        """Handle one message, or each message of a batch."""
        try:
            message = parse(body)
        except NotJsonError as error:
            self._refuse(error.id, JsonRpcParseError(f"The message is not valid JSON: {error}"))
            return
        for one in message if isinstance(message, list) else [message]:
            self._receive_one(one)

    def _receive_one(self, message: Any) -> None:
        if not isinstance(message, dict):
            log.warning("Ignored a message that is not an object.")
        elif "method" not in message and ("result" in message or "error" in message or self._is_response(message)):
            self._settle(message)
        elif "id" in message and not is_id(message["id"]):
            log.warning("Ignored a request with an id that is neither an integer nor a string.")
        else:
            self._call(message)

    def _call(self, message: dict[str, Any]) -> None:
        """Run a request or a notification."""
        msg_id, method = message.get("id"), message.get("method")
        try:
            if message.get("jsonrpc") != self.VERSION or not isinstance(method, str):
                raise JsonRpcInvalidRequest('A message must have "jsonrpc": "2.0" and a string \'method\'.')
            self._check_call(msg_id, method)
            params = structured(self._converter, method, message.get("params"))
            self._check_document(method, params)
        except JsonRpcException as error:
            if msg_id is not None or not self._may_drop(method):
                self._refuse(msg_id, error)
            return
        handle = self._handle_notification if msg_id is None else partial(self._handle_request, msg_id)
        contextvars.copy_context().run(handle, method, params)

    def _check_call(self, msg_id: Any, method: str) -> None:
        """Raise JsonRpcException if the session's state or the method does not allow this call."""
        if msg_id is not None and msg_id in self._request_futures:
            raise JsonRpcInvalidRequest(f"The id {msg_id!r} is already used by a running request.")
        if self._shutdown and method != types.EXIT:
            raise JsonRpcInvalidRequest("The server is shutting down.")
        if not self._initialized and method not in (types.INITIALIZE, types.EXIT):
            raise JsonRpcServerNotInitialized(f"'{method}' was sent before 'initialize'.")
        if self._initialized and method == types.INITIALIZE:
            raise JsonRpcInvalidRequest("The server is already initialized.")
        if method != types.CANCEL_REQUEST:
            self._get_handler(method)
        if method in types.METHOD_TO_TYPES and (types.METHOD_TO_TYPES[method][1] is None) != (msg_id is None):
            raise JsonRpcMethodNotFound(f"'{method}' is a {'request' if msg_id is None else 'notification'}.")

    def _check_document(self, method: str, params: Any) -> None:
        """Raise JsonRpcInvalidParams for a change to a document that is not open. pygls would raise KeyError."""
        changed = params.text_document.uri if method == types.TEXT_DOCUMENT_DID_CHANGE else None
        if changed is not None and unquote(changed) not in self.workspace.text_documents:
            raise JsonRpcInvalidParams(f"'{method}' names a document that is not open.")

    @property
    def _initialized(self) -> bool:
        return hasattr(self, "server_capabilities")

    def _may_drop(self, method: Any) -> bool:
        """Return whether LSP allows to ignore this notification: outside the session, or optional (``$/``)."""
        return self._shutdown or not self._initialized or (isinstance(method, str) and method.startswith("$/"))

    def _refuse(self, msg_id: int | str | None, error: JsonRpcException) -> None:
        """Respond to a request with an error; only log it if there is no id."""
        if msg_id is None:
            log.warning("Ignored a message: %s", error)
        else:
            log.warning("Rejected a request: %s", error)
            self._send_response(msg_id, error=error.to_response_error())

    def _is_response(self, message: dict[str, Any]) -> bool:
        """Return whether the message has the id of a request that the server sent."""
        return is_id(message.get("id")) and message["id"] in self._result_types

    def _settle(self, message: dict[str, Any]) -> None:
        """Set the result of the server's request to the client's response."""
        if not self._is_response(message):
            log.warning("Ignored a response without a matching request.")
            return
        kind, future = self._result_types.pop(message["id"]), self._request_futures.pop(message["id"], None)
        if future is None or future.done():
            return
        try:
            future.set_result(self._result(kind, message))
        except JsonRpcException as error:
            future.set_exception(error)
        except Exception as error:
            log.warning("A response of the client is invalid: %s", type(error).__name__)
            future.set_exception(JsonRpcInternalError("The client's response is invalid."))

    def _result(self, kind: Any, message: dict[str, Any]) -> Any:
        """Return the result of a response. Raises JsonRpcException for an error response."""
        if message.get("error") is not None:
            raise JsonRpcException.from_error(self._converter.structure(message["error"], types.ResponseError))
        if kind is None:
            return as_object(message.get("result"))
        response = {"id": message["id"], "jsonrpc": self.VERSION, "result": message.get("result")}
        return self._converter.structure(response, kind).result

    def _execute_handler(self, msg_id: Any, *args: Any, **kwargs: Any) -> None:
        """Forget a notification handler's future when it is done, as pygls does for requests."""
        super()._execute_handler(msg_id, *args, **kwargs)
        future = self._request_futures.get(msg_id)
        if future is not None:
            future.add_done_callback(lambda _: self._request_futures.pop(msg_id, None))

    def _handle_cancel_notification(self, msg_id: Any) -> None:
        """Cancel a request of the client. A cancellation after the response is normal and ignored."""
        if is_id(msg_id) and msg_id in self._request_futures and msg_id not in self._result_types:
            cancel_once(self._request_futures[msg_id])

    def _send_handler_result(self, future: Any, *, msg_id: Any) -> None:
        """Respond with a handler's result or error. pygls would log and send a traceback for each error."""
        self._request_futures.pop(msg_id, None)
        if future.cancelled():
            error: Exception | None = JsonRpcRequestCancelled(f'Request with id "{msg_id}" is canceled')
        else:
            error = future.exception()
        if error is None:
            self._send_response(msg_id, result=future.result())
        elif isinstance(error, JsonRpcException):
            self._send_response(msg_id, error=error.to_response_error())
        else:
            log.error("Unhandled exception in a request", exc_info=error)
            self._send_response(msg_id, error=_internal(error).to_response_error())

    def _check_handler_result(self, future: Any) -> None:
        """Log the error of a notification handler."""
        if future.cancelled() or (error := future.exception()) is None:
            return
        if isinstance(error, JsonRpcException):
            log.warning("A notification failed: %s", error)
        else:
            log.error("Unhandled exception in a notification", exc_info=error)

    def _send_data(self, data: Any) -> None:
        """Write a message. Replace a result that is not JSON by an error response; pygls would not respond."""
        try:
            body = json.dumps(data, default=self._serialize_message, allow_nan=False).encode()
        except Exception as error:
            log.error("A message cannot be written as JSON", exc_info=error)
            if isinstance(data, types.ResponseErrorMessage) or not is_id(getattr(data, "id", None)):
                return
            failed = types.ResponseErrorMessage(id=data.id, error=_internal(error).to_response_error())
            body = json.dumps(failed, default=self._serialize_message).encode()
        if self.writer is None:
            log.error("A message cannot be sent before the server listens.")
            return
        header = f"Content-Length: {len(body)}\r\nContent-Type: {self.CONTENT_TYPE}; charset={self.CHARSET}\r\n\r\n"
        with suppress(ValueError):  # stdout is closed after ``exit``
            self.writer.write(header.encode() + body)


def _internal(error: Exception) -> JsonRpcInternalError:
    """Return an error response with the exception's text. The traceback is in the log."""
    return JsonRpcInternalError(f"{type(error).__name__}: {error}"[:LONGEST_MESSAGE])
