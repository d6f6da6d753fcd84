"""The one place where a call is refused for who makes it."""

from __future__ import annotations

from tvix.grpc_api.caller import Caller, NotAllowed
from tvix.grpc_api.methods import Method
from tvix.grpc_api.status import ReadOnly

_TLS_IDENTITY = "tvix://"


def authorise(method: Method, caller: Caller, *, read_only: bool = False) -> None:
    """Raises `ReadOnly`, `NotAllowed`.

    `read_only` says that the server takes writes from nobody. Callers without a certificate have the rights of the address.
    """
    if not caller.may_read:
        raise NotAllowed(identity=caller.identity, method=method.name, needed="reader")
    if method.needs_write and not caller.may_write:
        if read_only or not caller.identity.startswith(_TLS_IDENTITY):
            raise ReadOnly
        raise NotAllowed(identity=caller.identity, method=method.name, needed="writer")
