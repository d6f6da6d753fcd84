"""What may be wrong between the two ends of a TLS connection, told apart.

All of them are `StoreUnavailable` to whoever only wants to know that a store can't be used. None of them goes away by waiting, so
a call that ends with one isn't repeated.
"""

from __future__ import annotations

from tvix.castore.blobs.interface import StoreUnavailable
from tvix.errors import EX_DATAERR, EX_NOINPUT, EX_NOPERM, TvixError


class CredentialsMissing(TvixError):
    """A file that credentials should be in isn't there, or can't be read."""

    identifier = "tls.credentials-missing"
    message = "can't read {file}: {reason}"
    hint = "`tvix tls issue ROLE/NAME` makes a directory with ca.pem, cert.pem and key.pem"
    exit_code = EX_NOINPUT


class CredentialsMalformed(TvixError):
    """A file that credentials should be in holds something else."""

    identifier = "tls.credentials-malformed"
    message = "{file}: {reason}"
    hint = "`tvix tls issue ROLE/NAME` makes a directory with ca.pem, cert.pem and key.pem"
    exit_code = EX_DATAERR


class KeyExposed(TvixError):
    """A private key that every user of the machine may read."""

    identifier = "tls.key-exposed"
    message = "{file} is a private key, and its mode {mode} lets everyone read it"
    hint = "chmod 600 it, and issue another certificate if others were on this machine"
    exit_code = EX_NOPERM


class OwnCertificateExpired(TvixError):
    """Our own certificate is over, by our clock."""

    identifier = "tls.own-certificate-expired"
    message = "{file}: the certificate of {identity} expired at {date}; this machine's clock says {now}"
    hint = "`tvix tls issue ROLE/NAME --force` makes a new one; if the clock is wrong, set it"
    exit_code = EX_NOPERM


class OwnCertificateNotYetValid(TvixError):
    """Our own certificate begins later, by our clock, which is most likely what is wrong."""

    identifier = "tls.own-certificate-not-yet-valid"
    message = "{file}: the certificate of {identity} is valid from {date}; this machine's clock says {now}"
    hint = "set the clock of this machine"
    exit_code = EX_NOPERM


class TlsError(StoreUnavailable):
    """The two ends of a connection don't accept each other."""

    identifier = "tls"
    message = "store {origin}: {reason}"
    exit_code = EX_NOPERM


class ServerExpired(TlsError):
    """A server's certificate is over, by our clock."""

    identifier = "tls.expired"
    message = "store {origin}: the server's certificate has expired; this machine's clock says {now}"
    hint = "`tvix tls issue server/NAME --force` on the server's side; if the clock is wrong, set it"


class ServerNotYetValid(TlsError):
    """A server's certificate begins later, by our clock."""

    identifier = "tls.not-yet-valid"
    message = "store {origin}: the server's certificate isn't valid yet; this machine's clock says {now}"
    hint = "set the clock of this machine"


class WrongAuthority(TlsError):
    """A server's certificate comes from a CA that we don't know."""

    identifier = "tls.wrong-ca"
    message = "store {origin}: the server's certificate isn't from the CA of our credentials"
    hint = "credentials=DIR or $TVIX_CREDENTIALS names what its site issued for us; if that is meant, somebody else answers there"


class WrongHost(TlsError):
    """A server's certificate is for other host names and addresses."""

    identifier = "tls.wrong-host"
    message = "store {origin}: the server's certificate is for other addresses than {host}"
    hint = "`tvix tls issue server/NAME --address HOST`, with every name and address that clients use"


class CertificateRefused(TlsError):
    """The server doesn't take our certificate."""

    identifier = "tls.certificate-refused"
    message = "store {origin} doesn't accept the certificate of {identity}: {reason}"
    hint = "it must come from the server's site: `tvix tls issue ROLE/NAME` there"


class CertificateRequired(TlsError):
    """The server wants to know who calls, and we have nothing to show."""

    identifier = "tls.certificate-required"
    message = "store {origin} wants a certificate, and there are no credentials"
    hint = (
        "`tvix tls issue reader/NAME` makes them; name the directory with credentials=DIR in the address, or in $TVIX_CREDENTIALS"
    )


class NotTls(TlsError):
    """A server that doesn't speak TLS, or another protocol inside of it."""

    identifier = "tls.other-protocol"
    message = "store {origin}: {reason}"
    hint = "grpc+https: and tvix+tls: want a server that listens with the same words; without TLS they are grpc+http: and tvix+tcp:"


class HandshakeFailed(TlsError):
    """A handshake that failed for another reason."""

    identifier = "tls.handshake-failed"
    hint = "`tvix tls show` says what certificates hold; the server's log may say more"


class TlsMissing(TlsError):
    """A build that was made without OpenSSL."""

    identifier = "tls.not-in-this-build"
    message = "store {origin}: this build has no OpenSSL, which tvix+tls: needs"
    hint = "grpc+https: works where gRPC is in the build; the initrd profiles say what each has: docs/manual/images.md"
