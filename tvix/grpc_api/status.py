"""Errors on their way to a caller: which status they are, by whatever transport it goes.

The code, one of gRPC's, says what kind of error it is, the details are its one line and its hint, and identifier and fields let a
client of ours raise the same error again.
"""

from __future__ import annotations

import json
from errno import EDQUOT, ENOSPC
from typing import TYPE_CHECKING

from tvix.castore.blobs.interface import CorruptBlob
from tvix.castore.directories.interface import CorruptDirectory, IncompleteClosure, WrongDirectorySize
from tvix.castore.directory import InvalidDirectory
from tvix.castore.transfer.framing import Status
from tvix.errors import EX_DATAERR, EX_NOINPUT, EX_NOPERM, EX_TEMPFAIL, EX_UNAVAILABLE, TvixError
from tvix.events import Operation
from tvix.grpc_api.caller import NotAllowed
from tvix.grpc_api.fetch_queue import TooMuchAsked
from tvix.grpc_api.identity import CallerExpired, UnknownCaller
from tvix.grpc_api.load import BUSY, MessageTooLarge
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


class Stopping(TvixError):
    """The server is being stopped, and ends what doesn't end by itself."""

    identifier = "grpc.stopping"
    message = "the server is going down"
    exit_code = EX_UNAVAILABLE


_CODES: list[tuple[type[Exception], str]] = [
    (NotHere, "NOT_FOUND"),
    (CallerGone, "CANCELLED"),
    (TooMuchAsked, "RESOURCE_EXHAUSTED"),
    (MessageTooLarge, "RESOURCE_EXHAUSTED"),
    (ReadOnly, "PERMISSION_DENIED"),
    (NotAllowed, "PERMISSION_DENIED"),
    (UnknownCaller, "PERMISSION_DENIED"),
    (CallerExpired, "UNAUTHENTICATED"),
    (Unsupported, "UNIMPLEMENTED"),
    # The published server answers INTERNAL to directories that break a rule, and its clients know that.
    (InvalidDirectory, "INTERNAL"),
    (IncompleteClosure, "INTERNAL"),
    (WrongDirectorySize, "INTERNAL"),
    (CorruptBlob, "DATA_LOSS"),
    (CorruptDirectory, "DATA_LOSS"),
    (IncompleteRoot, "FAILED_PRECONDITION"),
]
# Everything else by what it would make of a program.
_CODES_BY_EXIT = {
    EX_DATAERR: "INVALID_ARGUMENT",
    EX_NOINPUT: "NOT_FOUND",
    EX_NOPERM: "FAILED_PRECONDITION",
    EX_UNAVAILABLE: "UNAVAILABLE",
    EX_TEMPFAIL: "UNAVAILABLE",
}
_WORTH_TELLING = frozenset(("INTERNAL", "DATA_LOSS", "RESOURCE_EXHAUSTED"))


def status_of(error: Exception) -> Status:
    """What says `error`."""
    code = _code_of(error)
    if isinstance(error, TvixError):
        fields = json.dumps({name: str(value) for name, value in error.fields.items()})
        details = f"{error}; {error.hint}" if error.hint and code == "RESOURCE_EXHAUSTED" else str(error)
        return Status(code, details[:_DETAILS_CHARACTERS_MAX], error.identifier, fields if len(fields) <= _FIELDS_BYTES_MAX else "")
    if isinstance(error, OSError):
        details = error.strerror or str(error)
    else:
        details = f"unexpected {type(error).__name__}; the server's log says more"
    return Status(code, details[:_DETAILS_CHARACTERS_MAX])


def _code_of(error: Exception) -> str:
    for kind, code in _CODES:
        if isinstance(error, kind):
            return code
    if isinstance(error, BUSY):
        return "RESOURCE_EXHAUSTED"
    if isinstance(error, OSError):
        return "RESOURCE_EXHAUSTED" if error.errno in (ENOSPC, EDQUOT) else "INTERNAL"
    if isinstance(error, TvixError):
        return _CODES_BY_EXIT.get(error.exit_code, "INTERNAL")
    return "INTERNAL"


class Failures:
    """Turns errors into statuses. Those that aren't the caller's doing are told to `emit`."""

    def __init__(self, emit: Emit) -> None:
        self._emit = emit

    def status(self, error: Exception, *, peer: str, request: str = "") -> Status:
        """To be called while `error` is handled; `request` is what the caller calls its call."""
        status = status_of(error)
        if status.code in _WORTH_TELLING and not isinstance(error, (*BUSY, TooMuchAsked, MessageTooLarge)):
            import traceback

            more: dict[str, object] = {} if isinstance(error, TvixError | OSError) else {"trace": traceback.format_exc()}
            Operation(self._emit, "request", request=request, peer=peer).log(status.details, request=request, **more)
        return status
