"""What a call to a store server may end with, whichever way it was made."""

from __future__ import annotations

from tvix.castore.blobs.interface import StoreUnavailable
from tvix.errors import EX_DATAERR, EX_IOERR, EX_NOPERM, TvixError


class Absent(Exception):
    """NOT_FOUND, which is an answer and not a failure; never leaves the clients."""


class CallFailed(Exception):
    """One attempt at a call failed; never leaves the clients.

    `code` and `details` are gRPC's. `lost` says that the server went away or never was there; `closed` that the call was ended
    from here. `identifier` and `fields` (a JSON object of strings) are those of a server of ours.
    """

    def __init__(
        self, code: str, details: str = "", *, lost: bool = False, closed: bool = False, identifier: str = "", fields: str = ""
    ) -> None:
        super().__init__(code, details)
        self.code = code
        self.details = details or code
        self.lost = lost or code == "UNAVAILABLE"
        self.closed = closed
        self.identifier = identifier
        self.fields = fields

    @property
    def busy(self) -> bool:
        """Whether the server has as much to do as it takes on: a moment later it may have less."""
        return self.code == "RESOURCE_EXHAUSTED" and (self.identifier in _BUSY or _BUSY_TEXT in self.details)


_BUSY = frozenset(("grpc.too-many-calls", "grpc.too-many-streams", "grpc.too-many-connections", "grpc.too-much-at-once"))
"""Errors of `tvix.grpc_api.load`."""
_BUSY_TEXT = "oncurrent RPC"  # what gRPC's own limit says


class _Answered(TvixError):
    """What a server answered instead. `remote_identifier` and `remote_fields` say what happened there, where it is one of ours."""

    def __init__(
        self,
        *,
        remote_identifier: str = "",
        remote_fields: dict[str, str] | None = None,
        **fields: object,
    ) -> None:
        super().__init__(remote_identifier=remote_identifier, remote_fields=remote_fields or {}, **fields)
        self.remote_identifier = remote_identifier
        self.remote_fields = remote_fields or {}


class StoreRefused(_Answered):
    """A server isn't willing: it is read-only, or what it was sent contradicts what it holds."""

    identifier = "castore.store-refused"
    message = "store {origin} refused {method}: {reason}"
    exit_code = EX_NOPERM


class StoreFull(_Answered):
    """A server has no room."""

    identifier = "castore.store-full"
    message = "store {origin} has no room left for {method}: {reason}"
    hint = "free space where the server keeps its store, then repeat"
    exit_code = EX_IOERR


class StoreFailed(_Answered):
    """A server answered with an error, or with something that isn't an answer."""

    identifier = "castore.remote-failed"
    message = "store {origin} failed at {method}: {reason}"
    hint = "its log says more; a server of another kind may not offer all of the protocol"
    exit_code = EX_DATAERR


_REFUSED = frozenset(("PERMISSION_DENIED", "UNAUTHENTICATED", "FAILED_PRECONDITION"))
_TOO_LARGE = "grpc.message-too-large"
_TOO_LARGE_TEXT = "larger than max"  # what gRPC's own limit says


def failure(origin: str, method: str, failed: CallFailed, seconds: float) -> Exception:
    """What a failed call means to whoever asked; `seconds` is how long was waited."""
    code = failed.code
    if code == "NOT_FOUND":
        return Absent()
    if failed.closed:
        return StoreUnavailable(origin=origin, reason="its connection was closed here")
    if failed.lost or failed.busy:
        return StoreUnavailable(origin=origin, reason=failed.details)
    if code in ("DEADLINE_EXCEEDED", "CANCELLED"):
        return StoreUnavailable(origin=origin, reason=f"no answer to {method} within {seconds:g} s")
    kind: type[_Answered] = StoreFailed
    if code in _REFUSED:
        kind = StoreRefused
    elif code == "RESOURCE_EXHAUSTED" and failed.identifier != _TOO_LARGE and _TOO_LARGE_TEXT not in failed.details:
        kind = StoreFull
    return kind(
        origin=origin,
        method=method,
        reason=failed.details,
        status=code,
        remote_identifier=failed.identifier,
        remote_fields=_fields(failed.fields),
    )


def _fields(text: str) -> dict[str, str]:
    if not text:
        return {}
    import json

    try:
        fields = json.loads(text)
    except ValueError:
        return {}
    return {str(name): str(value) for name, value in fields.items()} if isinstance(fields, dict) else {}
