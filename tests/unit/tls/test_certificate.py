"""Reading certificates without a TLS library, against the library that makes them."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from hypothesis import given
from hypothesis import strategies as st

from tvix.castore.certificate import MalformedCertificate, parse_certificate, pem_blocks
from tvix.grpc_api.authority import issue, load_authority, make_authority
from tvix.testing.site import Site

MADE = make_authority("home")
AUTHORITY = load_authority("", MADE.certificate, MADE.key)


def der_of(pem: bytes) -> bytes:
    return x509.load_pem_x509_certificate(pem).public_bytes(serialization.Encoding.DER)


def test_a_certificate_says_what_the_library_says(site: Site) -> None:
    pem = (site.issue("server", addresses=["store.example", "10.0.0.1", "fd00::1"]) / "cert.pem").read_bytes()
    (block,) = pem_blocks(pem, b"CERTIFICATE")
    assert block == der_of(pem)
    reference = x509.load_pem_x509_certificate(pem)
    ours = parse_certificate(block)
    assert ours.uris == ("tvix://home/server/test",)
    assert ours.hosts == ("store.example", "10.0.0.1", "fd00::1")
    assert ours.not_before == reference.not_valid_before_utc.timestamp()
    assert ours.not_after == reference.not_valid_after_utc.timestamp()
    (ca,) = pem_blocks(site.ca, b"CERTIFICATE")
    assert ours.issuer == parse_certificate(ca).subject != ours.subject
    assert ours.is_from(parse_certificate(ca))
    assert not parse_certificate(ca).is_from(ours)


def test_another_ca_of_the_same_name_is_another(site: Site, tmp_path: Path) -> None:
    ours, theirs = (parse_certificate(der_of(pem)) for pem in (site.ca, Site(tmp_path / "second").ca))
    (block,) = pem_blocks((site.issue("reader") / "cert.pem").read_bytes(), b"CERTIFICATE")
    assert ours.subject == theirs.subject
    assert (parse_certificate(block).is_from(ours), parse_certificate(block).is_from(theirs)) == (True, False)


@given(st.datetimes(datetime(1951, 1, 1), datetime(2120, 1, 1)))  # noqa: DTZ001 (as the strategy wants them)
def test_dates(moment: datetime) -> None:
    begin = moment.replace(microsecond=0, tzinfo=UTC)
    if begin + timedelta(days=1) > AUTHORITY.certificate.not_valid_after_utc:
        begin = begin.replace(year=2028, day=1)
    issued = issue(AUTHORITY, "reader", "x", days=1, begin=begin)
    ours = parse_certificate(der_of(issued.certificate))
    assert (ours.not_before, ours.not_after) == (begin.timestamp(), (begin + timedelta(days=1)).timestamp())


@given(st.data())
def test_damaged_certificates_are_refused_or_read_but_never_worse(data: st.DataObject) -> None:
    der = bytearray(der_of(MADE.certificate))
    for _ in range(data.draw(st.integers(1, 4))):
        der[data.draw(st.integers(0, len(der) - 1))] = data.draw(st.integers(0, 255))
    del der[data.draw(st.integers(0, len(der))) :]
    with suppress(MalformedCertificate):
        parse_certificate(bytes(der))


@pytest.mark.parametrize("der", [b"", b"\x30", b"\x30\x80", b"\x30\x85\0\0\0\0\0", b"\x30\0", b"x" * 100, b"\x30\x03\x02\x01\x01"])
def test_what_is_none_is_refused(der: bytes) -> None:
    with pytest.raises(MalformedCertificate):
        parse_certificate(der)


@pytest.mark.parametrize("text", [b"-----BEGIN X-----\nAAAA\n", b"-----BEGIN X-----\n!!\n-----END X-----\n"])
def test_pem_that_is_damaged(text: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 (binascii's has no class of its own to rely on)
        pem_blocks(text, b"X")


def test_pem_beside_other_text(site: Site, tmp_path: Path) -> None:
    del tmp_path
    assert len(pem_blocks(b"subject=a\n" + site.ca + b"\n# note\n" + site.ca, b"CERTIFICATE")) == 2
    assert pem_blocks(site.ca, b"PRIVATE KEY") == []
