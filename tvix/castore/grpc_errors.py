"""What a call to a store server may end with."""

from __future__ import annotations

from tvix.castore.blobs.interface import StoreUnavailable
from tvix.castore.grpc_import import Foreign
from tvix.errors import EX_DATAERR, EX_IOERR, EX_NOPERM, TvixError

ERROR_KEY = "tvix-error"
"""Trailing metadata of a server of ours: the identifier of the error, and its fields as a JSON object of strings."""
ERROR_FIELDS_KEY = "tvix-error-fields"


class Absent(Exception):
    """NOT_FOUND, which is an answer and not a failure; never leaves the clients."""


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
_CANCELLED_HERE = ("Locally cancelled", "Channel closed")


def is_lost(error: Foreign) -> bool:
    """Whether the server went away: it is down, or ended the call because it is going down."""
    code = error.code().name
    return code == "UNAVAILABLE" or (code == "CANCELLED" and not (error.details() or "").startswith(_CANCELLED_HERE))


def failure(origin: str, method: str, error: Foreign, seconds: float) -> Exception:
    """What a `grpc.RpcError` means; `seconds` is how long was waited."""
    code = error.code().name
    details: str = error.details() or code
    if code == "NOT_FOUND":
        return Absent()
    if code == "CANCELLED" and details.startswith("Channel closed"):
        return StoreUnavailable(origin=origin, reason="its connection was closed here")
    trailers = {item[0]: item[1] for item in error.trailing_metadata() or ()}
    if is_lost(error):
        reason = details if ERROR_KEY in trailers else details.rpartition(": ")[2].rstrip("]")
        return StoreUnavailable(origin=origin, reason=reason)
    if code in ("DEADLINE_EXCEEDED", "CANCELLED"):
        return StoreUnavailable(origin=origin, reason=f"no answer to {method} within {seconds:g} s")
    kind: type[_Answered] = StoreFailed
    if code in _REFUSED:
        kind = StoreRefused
    elif code == "RESOURCE_EXHAUSTED" and "larger than max" not in details:
        kind = StoreFull
    return kind(
        origin=origin,
        method=method,
        reason=details,
        status=code,
        remote_identifier=str(trailers.get(ERROR_KEY, "")),
        remote_fields=_fields(trailers.get(ERROR_FIELDS_KEY, "{}")),
    )


def _fields(text: object) -> dict[str, str]:
    import json

    try:
        fields = json.loads(str(text))
    except ValueError:
        return {}
    return {str(name): str(value) for name, value in fields.items()} if isinstance(fields, dict) else {}
