"""Who calls, as far as a server can tell, and what he may do."""

from __future__ import annotations

from typing import NamedTuple

from tvix.errors import EX_NOPERM, TvixError


class Caller(NamedTuple):
    """`identity` is a certificate's `tvix://SITE/ROLE/NAME`, or says how the caller came: `unix`, `loopback`, `anonymous`."""

    identity: str
    may_write: bool
    may_read: bool = True


class NotAllowed(TvixError):
    """A caller asks for more than its role allows."""

    identifier = "grpc.not-allowed"
    message = "{identity} may not call {method}: that needs the role {needed}"
    hint = "`tvix tls issue ROLE/NAME` makes a certificate with another role"
    exit_code = EX_NOPERM
