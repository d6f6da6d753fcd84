"""Errors of gRPC's as the clients know them, and where a server of ours puts its own."""

from __future__ import annotations

from tvix.castore.grpc_import import Foreign
from tvix.castore.remote_errors import CallFailed

ERROR_KEY = "tvix-error"
"""Trailing metadata of a server of ours: the identifier of the error, and its fields as a JSON object of strings."""
ERROR_FIELDS_KEY = "tvix-error-fields"

_TLS_WORDS = ("SSL", "Verification", "ALPN")
"""Details that `tvix.castore.tls` looks at as a whole."""
_CANCELLED_HERE = ("Locally cancelled", "Channel closed")


def call_failed(error: Foreign) -> CallFailed:
    """A `grpc.RpcError`. A call that was cancelled by neither end was lost: its server is going down."""
    code: str = error.code().name
    details: str = error.details() or ""
    trailers = {item[0]: item[1] for item in error.trailing_metadata() or ()}
    lost = code == "UNAVAILABLE" or (code == "CANCELLED" and not details.startswith(_CANCELLED_HERE))
    if lost and ERROR_KEY not in trailers and not any(word in details for word in _TLS_WORDS):
        details = details.rpartition(": ")[2].rstrip("]")
    return CallFailed(
        code,
        details,
        lost=lost,
        closed=code == "CANCELLED" and details.startswith("Channel closed"),
        identifier=str(trailers.get(ERROR_KEY, "")),
        fields=str(trailers.get(ERROR_FIELDS_KEY, "")),
    )
