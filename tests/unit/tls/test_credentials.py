"""Files of credentials: what is read, what is refused, and that keys don't print."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from time import time

import pytest

from tvix.castore.addresses import parse_address
from tvix.castore.credentials import CredentialFiles, Secret, ServerTls, files_in, files_of
from tvix.castore.tls_errors import (
    CredentialsMalformed,
    CredentialsMissing,
    KeyExposed,
    OwnCertificateExpired,
    OwnCertificateNotYetValid,
)
from tvix.errors import TvixError
from tvix.testing.site import Site


def test_a_directory(site: Site) -> None:
    credentials = files_in(str(site.issue("reader", "kitchen"))).read()
    assert credentials.identity == "tvix://home/reader/kitchen"
    credentials.check_dates()
    assert credentials.client_context().get_ca_certs()


def test_an_address_may_name_the_files(site: Site) -> None:
    directory = site.issue("reader")
    address = parse_address(f"grpc+https://h:1?credentials={directory}&key=/elsewhere/key.pem")
    assert files_of(address) == CredentialFiles(f"{directory}/ca.pem", f"{directory}/cert.pem", "/elsewhere/key.pem")
    assert files_of(parse_address("tvix+tls://h:1?ca=/c")) == CredentialFiles("/c")


def test_a_key_never_prints(site: Site) -> None:
    credentials = files_in(str(site.issue("reader"))).read()
    body = credentials.key.reveal().splitlines()[1].decode()
    for text in (repr(credentials), str(credentials), f"{credentials}", repr(credentials.key), f"{credentials.key}"):
        assert body not in text
    assert "<redacted>" in repr(credentials)
    with pytest.raises(TypeError, match="stays in its process"):
        pickle.dumps(Secret(b"x"))


def mismatch(directory: Path, site: Site) -> None:
    (directory / "key.pem").write_bytes((site.issue("reader", "second") / "key.pem").read_bytes())


DAMAGE: dict[str, tuple[type[TvixError], str, Callable[[Path, Site], object]]] = {
    "no certificate": (CredentialsMissing, "cert.pem", lambda d, _s: (d / "cert.pem").unlink()),
    "no key": (CredentialsMissing, "key.pem", lambda d, _s: (d / "key.pem").unlink()),
    "no CA": (CredentialsMissing, "ca.pem", lambda d, _s: (d / "ca.pem").unlink()),
    "a directory": (CredentialsMissing, "ca.pem", lambda d, _s: ((d / "ca.pem").unlink(), (d / "ca.pem").mkdir())),
    "not PEM": (CredentialsMalformed, "cert.pem", lambda d, _s: (d / "cert.pem").write_text("hello")),
    "half a PEM": (CredentialsMalformed, "cert.pem", lambda d, _s: os.truncate(d / "cert.pem", 300)),
    "not DER": (CredentialsMalformed, "cert.pem", lambda d, _s: (d / "cert.pem").write_text(pem("CERTIFICATE"))),
    "no key in PEM": (CredentialsMalformed, "key.pem", lambda d, _s: (d / "key.pem").write_text(pem("CERTIFICATE"))),
    "an encrypted key": (CredentialsMalformed, "key.pem", lambda d, _s: (d / "key.pem").write_text(pem("ENCRYPTED PRIVATE KEY"))),
    "a key for everyone": (KeyExposed, "key.pem", lambda d, _s: (d / "key.pem").chmod(0o644)),
    "another key": (CredentialsMalformed, "cert.pem", mismatch),
}


def pem(label: str) -> str:
    return f"-----BEGIN {label}-----\nAAAA\n-----END {label}-----\n"


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_named(site: Site, name: str) -> None:
    expected, file, damage = DAMAGE[name]
    directory = site.issue("reader")
    damage(directory, site)
    with pytest.raises(expected) as caught:
        files_in(str(directory)).read().client_context()
    assert f"{directory}/{file}" in str(caught.value)


def test_dates_name_the_file_and_both_clocks(site: Site) -> None:
    with pytest.raises(
        OwnCertificateExpired, match=r"reader-old/cert\.pem: the certificate of tvix://home/reader/old expired at 20"
    ):
        files_in(str(site.expired("reader"))).read().check_dates()
    with pytest.raises(OwnCertificateNotYetValid, match=r"is valid from 20.*; this machine's clock says 20"):
        files_in(str(site.early("reader"))).read().check_dates()
    files_in(str(site.early("reader"))).read().check_dates(time() + 1.5 * 86400)


def test_a_server_takes_renewed_files_and_keeps_what_it_had_while_they_are_wrong(site: Site, other_site: Site) -> None:
    directory = site.issue("server")
    failures: list[Exception] = []
    tls = ServerTls(files_in(str(directory)), failures.append)
    first, context = tls.current(), tls.context()
    assert tls.context() is context
    site.issue("server")
    assert tls.current() != first
    assert tls.context() is not context
    second = tls.current()
    (directory / "cert.pem").write_text("half")
    assert tls.current() == second
    assert tls.current() == second
    assert [type(failure) for failure in failures] == [CredentialsMalformed]
    site.issue("server")
    assert tls.current() != second
    third = tls.current()
    stranger = other_site.issue("server")
    for name in ("ca.pem", "cert.pem", "key.pem"):
        (stranger / name).rename(directory / name)
    assert tls.current() == third
    assert "another site" in str(failures[-1])


def test_a_server_wants_a_servers_certificate(site: Site) -> None:
    with pytest.raises(CredentialsMalformed, match="wants a certificate of the role server, this is tvix://home/reader/test"):
        ServerTls(files_in(str(site.issue("reader"))))
    with pytest.raises(OwnCertificateExpired):
        ServerTls(files_in(str(site.expired("server"))))
