"""Who a verified certificate says that a caller is, and what its role allows.

A certificate names its owner with one URI, `tvix://SITE/ROLE/NAME`. The TLS library has verified by then that it comes from our
CA; the site is compared all the same, since one CA may serve several. Dates are looked at on every call: a connection may outlive
the certificate that opened it.
"""

from __future__ import annotations

from functools import lru_cache
from time import time
from typing import TYPE_CHECKING

from tvix.castore.certificate import Certificate, MalformedCertificate, parse_certificate, pem_blocks
from tvix.castore.credentials import date
from tvix.errors import EX_NOPERM, TvixError
from tvix.grpc_api.caller import Caller

if TYPE_CHECKING:
    from tvix.castore.grpc_import import Foreign

WRITERS = frozenset(("writer", "admin"))
ROLES = ("server", "reader", "writer", "builder", "admin")
"""All of them read, servers too: one may be the far side of another."""


class UnknownCaller(TvixError):
    """A caller whose certificate is genuine and gives it no rights here."""

    identifier = "tls.wrong-role"
    message = "{identity} has no rights here: {reason}"
    hint = "`tvix tls issue ROLE/NAME` of the server's site makes one; callers are reader, writer, builder or admin"
    exit_code = EX_NOPERM


class CallerExpired(TvixError):
    """A caller whose certificate ended while its connection went on."""

    identifier = "tls.caller-expired"
    message = "the certificate of {identity} expired at {date}"
    hint = "`tvix tls issue ROLE/NAME --force` makes a new one; connect again with it"
    exit_code = EX_NOPERM


def caller_of(der: bytes, site: str) -> Caller:
    """The caller with this verified certificate, at a server of `site`. Raises `UnknownCaller`, `CallerExpired`."""
    try:
        certificate = _parse(der)
    except MalformedCertificate as error:
        raise UnknownCaller(identity="a caller", reason=str(error)) from None
    identity, role = identity_and_role(certificate, site)
    if time() > certificate.not_after:
        raise CallerExpired(identity=identity, date=date(certificate.not_after))
    return Caller(identity, may_write=role in WRITERS)


def caller_of_context(context: Foreign, site: str) -> Caller:
    """The same for a call over gRPC, whose context holds the certificate that was verified."""
    pem = context.auth_context().get("x509_pem_cert")
    if not pem:
        raise UnknownCaller(identity="a caller", reason="it showed no certificate")
    return caller_of(_first_block(pem[0]), site)


def identity_and_role(certificate: Certificate, site: str) -> tuple[str, str]:
    """Raises `UnknownCaller` for one without a role, of another site, or with several names."""
    names = [uri for uri in certificate.uris if uri.startswith("tvix://")]
    if len(names) != 1:
        reason = "its certificate has several names" if names else "its certificate names no role"
        raise UnknownCaller(identity=names[0] if names else "a caller", reason=reason)
    parts = names[0].removeprefix("tvix://").split("/")
    if len(parts) != 3 or not all(parts) or parts[1] not in ROLES:
        raise UnknownCaller(identity=names[0], reason=f"the roles are {', '.join(ROLES)}")
    if parts[0] != site:
        raise UnknownCaller(identity=names[0], reason=f"this is a server of the site {site}")
    return names[0], parts[1]


_parse = lru_cache(4096)(parse_certificate)


@lru_cache(4096)
def _first_block(pem: bytes) -> bytes:
    return pem_blocks(pem, b"CERTIFICATE")[0]
