"""Making the certificates of a site: a CA, and certificates that say `tvix://SITE/ROLE/NAME`.

Keys are ECDSA on P-256, which both TLS libraries take: gRPC's (BoringSSL, as it is configured there) doesn't take Ed25519. Nothing
here writes files. For hosts only: it is the one module that needs the library cryptography.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tvix.castore.credentials import Secret
from tvix.errors import EX_DATAERR, EX_NOPERM, EX_USAGE, TvixError
from tvix.grpc_api.identity import ROLES

CA_DAYS = 3650
DAYS = 365
_NAME_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-.")
_NAME_CHARACTERS_MAX = 63
_SLACK = timedelta(minutes=5)
"""How much earlier than now a certificate begins, for clocks that are behind."""


class InvalidIdentity(TvixError):
    """A site, role, name or address that can't be put into a certificate."""

    identifier = "tls.invalid-identity"
    message = "{what} {text!r}: {reason}"
    hint = "sites and names are lower-case letters, digits, - and . (63 at most); write ROLE/NAME, as in reader/kitchen"
    exit_code = EX_USAGE


class NoAuthority(TvixError):
    """What should be a CA's certificate and key isn't."""

    identifier = "tls.no-authority"
    message = "{directory} doesn't hold the CA of a site: {reason}"
    hint = "`tvix tls init SITE` makes one; --directory names another"
    exit_code = EX_DATAERR


class AuthorityExpired(TvixError):
    """A CA that is over, or would be before a certificate that it should make."""

    identifier = "tls.authority-expired"
    message = "the CA of {site} ends at {date:%Y-%m-%d}: a certificate can't last {days} days"
    hint = "ask for fewer with --days, or make a new CA with `tvix tls init SITE --directory DIR` and issue all certificates anew"
    exit_code = EX_NOPERM


class Issued(NamedTuple):
    """A certificate and its key, in PEM."""

    certificate: bytes
    key: Secret


class Authority(NamedTuple):
    """A CA, loaded."""

    site: str
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


def make_authority(site: str, now: datetime | None = None) -> Issued:
    """A new CA. Raises `InvalidIdentity`."""
    check_name("site", site)
    now = now or datetime.now(UTC)
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name(f"CA of {site}")
    builder = _builder(name, name, key, now - _SLACK, now + timedelta(days=CA_DAYS))
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_usage(signs_certificates=True), critical=True)
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier(f"tvix://{site}")]), critical=False)
    return _issued(builder.sign(key, hashes.SHA256()), key)


def load_authority(directory: str, certificate: bytes, key: Secret) -> Authority:
    """Take the files of a CA; `directory` is for errors. Raises `NoAuthority`."""
    try:
        loaded = x509.load_pem_x509_certificate(certificate)
        private = serialization.load_pem_private_key(key.reveal(), None)
        names = loaded.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, TypeError, x509.ExtensionNotFound):
        raise NoAuthority(directory=directory, reason="its files aren't a certificate and a key of one") from None
    uris = [uri for uri in names.get_values_for_type(x509.UniformResourceIdentifier) if uri.startswith("tvix://")]
    if not isinstance(private, ec.EllipticCurvePrivateKey) or private.public_key() != loaded.public_key():
        raise NoAuthority(directory=directory, reason="its key isn't that of its certificate")
    if len(uris) != 1:
        raise NoAuthority(directory=directory, reason="its certificate names no site")
    return Authority(uris[0].removeprefix("tvix://"), loaded, private)


def issue(
    authority: Authority,
    role: str,
    name: str,
    addresses: list[str] | None = None,
    *,
    days: int = DAYS,
    begin: datetime | None = None,
) -> Issued:
    """A certificate and a new key. `addresses` are the DNS names and IP addresses that clients reach a server by.

    Raises `InvalidIdentity`, `AuthorityExpired`.
    """
    check_role(role, name, addresses or [])
    begin = begin or datetime.now(UTC) - _SLACK
    end = begin + timedelta(days=days)
    if end > authority.certificate.not_valid_after_utc:
        raise AuthorityExpired(site=authority.site, date=authority.certificate.not_valid_after_utc, days=days)
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _builder(_name(f"{role} {name}"), authority.certificate.subject, key, begin, end)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_usage(signs_certificates=False), critical=True)
    uses = [ExtendedKeyUsageOID.CLIENT_AUTH, *([ExtendedKeyUsageOID.SERVER_AUTH] if role == "server" else [])]
    builder = builder.add_extension(x509.ExtendedKeyUsage(uses), critical=False)
    own = x509.UniformResourceIdentifier(f"tvix://{authority.site}/{role}/{name}")
    builder = builder.add_extension(x509.SubjectAlternativeName([own, *map(_address, addresses or [])]), critical=False)
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key())
    return _issued(builder.add_extension(issuer, critical=False).sign(authority.key, hashes.SHA256()), key)


def check_role(role: str, name: str, addresses: list[str]) -> None:
    """Whether a certificate can be made for these. Raises `InvalidIdentity`."""
    if role not in ROLES:
        raise InvalidIdentity(what="role", text=role, reason=f"the roles are {', '.join(ROLES)}")
    check_name("name", name)
    if role == "server" and not addresses:
        raise InvalidIdentity(what="server", text=name, reason="clients compare the address they use, so --address HOST is needed")
    if role != "server" and addresses:
        raise InvalidIdentity(what=role, text=name, reason="only servers have addresses")
    for address in addresses:
        _address(address)


def check_name(what: str, text: str) -> None:
    """Raises `InvalidIdentity`."""
    if not text or len(text) > _NAME_CHARACTERS_MAX or not set(text) <= _NAME_CHARACTERS or text[0] in "-." or text[-1] in "-.":
        raise InvalidIdentity(what=what, text=text, reason="it isn't a name")


def _address(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(text))
    except ValueError:
        pass
    labels = text.lower().split(".")
    if len(text) > 253 or not all(0 < len(label) <= 63 and set(label) <= _NAME_CHARACTERS for label in labels):
        raise InvalidIdentity(
            what="address", text=text, reason="it is neither a host name nor an IP address (a port doesn't belong to it)"
        )
    return x509.DNSName(text.lower())


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text[:64])])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, begin: datetime, end: datetime
) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number()).not_valid_before(begin).not_valid_after(end)
    return builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _issued(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> Issued:
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return Issued(certificate.public_bytes(serialization.Encoding.PEM), Secret(private))
