"""Errors on their way to a caller: which gRPC status they are, and how a handler answers with one.

The status says what kind of error it is, the details are its one line, and the trailing metadata hold its identifier and fields,
so that a client of ours can raise the same error again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from errno import EDQUOT, ENOSPC
from typing import TYPE_CHECKING, Any, NoReturn

import grpc

from tvix.castore.blobs.interface import CorruptBlob
from tvix.castore.directories.interface import CorruptDirectory, IncompleteClosure, WrongDirectorySize
from tvix.castore.directory import InvalidDirectory
from tvix.castore.grpc_channel import REQUEST_ID_KEY
from tvix.castore.grpc_errors import ERROR_FIELDS_KEY, ERROR_KEY
from tvix.castore.grpc_import import Foreign
from tvix.errors import EX_DATAERR, EX_NOINPUT, EX_NOPERM, EX_TEMPFAIL, EX_UNAVAILABLE, TvixError
from tvix.events import Operation
from tvix.grpc_api.fetch_queue import TooMuchAsked
from tvix.store.completeness import IncompleteRoot

if TYPE_CHECKING:
    from tvix.events import Emit

_DETAILS_CHARACTERS_MAX = 1000
_FIELDS_BYTES_MAX = 2000


class NotHere(TvixError):
    """Something asked for by name is not in the store."""

    identifier = "grpc.not-here"
    message = "{kind} {name} is not in the store"
    exit_code = EX_NOINPUT


class ReadOnly(TvixError):
    """A write came in at an address that serves reads."""

    identifier = "grpc.read-only"
    message = "this address of the store serves reads only"
    hint = "write through its Unix socket or loopback, or start the server with --insecure=write"
    exit_code = EX_NOPERM


class CallerGone(TvixError):
    """Whoever sent a stream went away before its end, or sent nothing for too long."""

    identifier = "grpc.caller-gone"
    message = "the call was ended before everything was sent"
    exit_code = EX_UNAVAILABLE


class Unsupported(TvixError):
    """A request asks for something that the protocol leaves open."""

    identifier = "grpc.unsupported"
    message = "{what}"


_CODES: list[tuple[type[Exception], grpc.StatusCode]] = [
    (NotHere, grpc.StatusCode.NOT_FOUND),
    (CallerGone, grpc.StatusCode.CANCELLED),
    (TooMuchAsked, grpc.StatusCode.RESOURCE_EXHAUSTED),
    (ReadOnly, grpc.StatusCode.PERMISSION_DENIED),
    (Unsupported, grpc.StatusCode.UNIMPLEMENTED),
    # The published server answers INTERNAL to directories that break a rule, and its clients know that.
    (InvalidDirectory, grpc.StatusCode.INTERNAL),
    (IncompleteClosure, grpc.StatusCode.INTERNAL),
    (WrongDirectorySize, grpc.StatusCode.INTERNAL),
    (CorruptBlob, grpc.StatusCode.DATA_LOSS),
    (CorruptDirectory, grpc.StatusCode.DATA_LOSS),
    (IncompleteRoot, grpc.StatusCode.FAILED_PRECONDITION),
]
# Everything else by what it would make of a program.
_CODES_BY_EXIT = {
    EX_DATAERR: grpc.StatusCode.INVALID_ARGUMENT,
    EX_NOINPUT: grpc.StatusCode.NOT_FOUND,
    EX_NOPERM: grpc.StatusCode.FAILED_PRECONDITION,
    EX_UNAVAILABLE: grpc.StatusCode.UNAVAILABLE,
    EX_TEMPFAIL: grpc.StatusCode.UNAVAILABLE,
}


def status_of(error: Exception) -> tuple[grpc.StatusCode, str]:
    """The code and the details that say `error`."""
    for kind, code in _CODES:
        if isinstance(error, kind):
            return code, str(error)
    if isinstance(error, OSError):
        full = error.errno in (ENOSPC, EDQUOT)
        return grpc.StatusCode.RESOURCE_EXHAUSTED if full else grpc.StatusCode.INTERNAL, error.strerror or str(error)
    if isinstance(error, TvixError):
        return _CODES_BY_EXIT.get(error.exit_code, grpc.StatusCode.INTERNAL), str(error)
    return grpc.StatusCode.INTERNAL, f"unexpected {type(error).__name__}; the server's log says more"


class Answers:
    """Turns functions that raise into handlers that answer. Errors that aren't the caller's doing are told to `emit`."""

    def __init__(self, emit: Emit) -> None:
        self._emit = emit

    def unary(self, function: Callable[[Any], bytes]) -> Callable[[Any, Any], bytes]:
        """For methods with one answer; `function` takes a request, or an iterator of requests."""

        def answer(request: Foreign, context: Foreign) -> bytes:
            try:
                return function(request)
            except Exception as error:
                self._refuse(context, error)

        return answer

    def stream(self, function: Callable[[bytes], Iterator[bytes]]) -> Callable[[bytes, Any], Iterator[bytes]]:
        """For methods with any number of answers."""

        def answer(request: bytes, context: Foreign) -> Iterator[bytes]:
            try:
                yield from function(request)
            except Exception as error:
                self._refuse(context, error)

        return answer

    def _refuse(self, context: Foreign, error: Exception) -> NoReturn:
        if isinstance(error, grpc.RpcError):
            raise error  # the caller has gone: nobody is left to answer
        code, details = status_of(error)
        if code in (grpc.StatusCode.INTERNAL, grpc.StatusCode.DATA_LOSS, grpc.StatusCode.RESOURCE_EXHAUSTED):
            self._tell(context, error, details)
        if isinstance(error, TvixError):
            trailers = [(ERROR_KEY, error.identifier)]
            fields = json.dumps({name: str(value) for name, value in error.fields.items()})
            if len(fields) <= _FIELDS_BYTES_MAX:
                trailers.append((ERROR_FIELDS_KEY, fields))
            context.set_trailing_metadata(trailers)
        context.abort(code, details[:_DETAILS_CHARACTERS_MAX])
        raise AssertionError("abort returned")

    def _tell(self, context: Foreign, error: Exception, details: str) -> None:
        import traceback

        request = dict(context.invocation_metadata()).get(REQUEST_ID_KEY, "")
        more: dict[str, object] = {} if isinstance(error, TvixError | OSError) else {"trace": traceback.format_exc()}
        Operation(self._emit, "request", request=str(request), peer=context.peer()).log(details, request=str(request), **more)
