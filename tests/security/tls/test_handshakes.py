"""What either end says when they don't accept each other: each reason told apart, over gRPC and framed."""

from __future__ import annotations

import shutil
import socket
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from time import thread_time
from typing import TYPE_CHECKING

import pytest

from tvix.castore.addresses import parse_address
from tvix.castore.blobs.interface import StoreUnavailable
from tvix.castore.credentials import Secret, ServerTls, files_in
from tvix.castore.remote_channel import BLOBS, open_channel
from tvix.castore.tls_errors import TlsMissing
from tvix.errors import EX_NOPERM, TvixError
from tvix.grpc_api.tls_sockets import CallerRefused, accept
from tvix.testing.site import Site, write_credentials

if TYPE_CHECKING:
    from tests.security.tls.conftest import Serve

ENCRYPTED = {"grpc": "grpc+https", "framed": "tvix+tls"}
PLAIN = {"grpc": "grpc+http", "framed": "tvix+tcp"}


@pytest.fixture(params=["grpc", "framed"])
def transport(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def call(url: str) -> bytes | None:
    with closing(open_channel(parse_address(url))) as channel:
        return channel.unary(BLOBS, "Stat", b"")


def refused(url: str) -> TvixError:
    with pytest.raises(TvixError) as caught:
        call(url + "&deadline=8" if "?" in url else url + "?deadline=8")
    return caught.value


def test_both_ends_are_right(transport: str, serve: Serve, site: Site) -> None:
    where = serve(transport, site.issue("server"))
    assert call(f"{ENCRYPTED[transport]}://{where}?credentials={site.issue('reader')}") == b"here"
    by_name = where.replace("127.0.0.1", "localhost")
    assert call(f"{ENCRYPTED[transport]}://{by_name}?credentials={site.issue('writer')}") == b"here"


SERVERS: dict[str, tuple[str, Callable[[Site, Site], Path], str]] = {
    "expired": ("tls.expired", lambda site, _other: site.expired("server"), "the server's certificate has expired; this machine's"),
    "early": ("tls.not-yet-valid", lambda site, _other: site.early("server"), "isn't valid yet; this machine's clock says 20"),
    "another CA": ("tls.wrong-ca", lambda _site, other: other.issue("server"), "isn't from the CA of our credentials"),
    "another host": (
        "tls.wrong-host",
        lambda site, _other: site.issue("server", addresses=["store.example"]),
        "is for other addresses than 127.0.0.1",
    ),
}


@pytest.mark.parametrize("name", SERVERS)
def test_what_is_wrong_with_the_server(name: str, transport: str, serve: Serve, site: Site, other_site: Site) -> None:
    identifier, make, words = SERVERS[name]
    where = serve(transport, make(site, other_site))
    error = refused(f"{ENCRYPTED[transport]}://{where}?credentials={site.issue('reader')}")
    assert (error.identifier, error.exit_code) == (identifier, EX_NOPERM)
    assert words in str(error)
    assert where in str(error)
    assert isinstance(error, StoreUnavailable)


CLIENTS: dict[str, tuple[str, Callable[[Site, Site], str], str]] = {
    "none": ("tls.certificate-required", lambda site, _other: f"ca={site.issue('reader')}/ca.pem", "wants a certificate"),
    "expired": (
        "tls.own-certificate-expired",
        lambda site, _o: f"credentials={site.expired('reader')}",
        "reader/old expired at 20",
    ),
    "early": ("tls.own-certificate-not-yet-valid", lambda site, _o: f"credentials={site.early('reader')}", "is valid from 20"),
    "another CA": ("tls.certificate-refused", lambda site, other: f"credentials={mixed(site, other)}", "it comes from another CA"),
    "missing": ("tls.credentials-missing", lambda _site, _other: "credentials=/nowhere", "can't read /nowhere/ca.pem"),
}


def mixed(site: Site, other: Site) -> Path:
    """Another site's certificate beside our CA."""
    directory = other.issue("reader")
    shutil.copy(site.issue("reader") / "ca.pem", directory / "ca.pem")
    return directory


@pytest.mark.parametrize("name", CLIENTS)
def test_what_is_wrong_with_us(name: str, transport: str, serve: Serve, site: Site, other_site: Site) -> None:
    identifier, make, words = CLIENTS[name]
    where = serve(transport, site.issue("server"))
    error = refused(f"{ENCRYPTED[transport]}://{where}?{make(site, other_site)}")
    assert error.identifier == identifier, error
    assert words in str(error)


def test_a_server_that_speaks_no_tls(transport: str, serve: Serve, site: Site) -> None:
    error = refused(f"{ENCRYPTED[transport]}://{serve(transport, None)}?credentials={site.issue('reader')}")
    assert error.identifier in ("tls.other-protocol", "tls.handshake-failed")
    assert "speak TLS" in str(error)


def test_a_server_that_wants_tls(transport: str, serve: Serve, site: Site) -> None:
    error = refused(f"{PLAIN[transport]}://{serve(transport, site.issue('server'))}")
    assert f"{ENCRYPTED[transport]}:" in str(error)


def test_the_other_protocol_inside_of_tls(transport: str, serve: Serve, site: Site) -> None:
    other = "framed" if transport == "grpc" else "grpc"
    error = refused(f"{ENCRYPTED[transport]}://{serve(other, site.issue('server'))}?credentials={site.issue('reader')}")
    assert error.identifier == "tls.other-protocol"


def test_renewed_certificates_are_used_by_the_next_connection(transport: str, serve: Serve, site: Site, other_site: Site) -> None:
    directory = site.issue("server")
    where = serve(transport, directory)
    url = f"{ENCRYPTED[transport]}://{where}?credentials="
    assert call(url + str(site.issue("reader"))) == b"here"
    # The CA changed, and its certificates with it: whoever has those of before is no longer let in.
    fresh = other_site.issue("server")
    write_credentials(directory, *((fresh / name).read_bytes() for name in ("ca.pem", "cert.pem")), key_of(fresh))
    assert call(url + str(other_site.issue("reader"))) == b"here"
    assert refused(url + str(site.issue("reader"))).identifier == "tls.wrong-ca"


def test_a_client_shows_its_renewed_certificate(transport: str, serve: Serve, site: Site, other_site: Site) -> None:
    server, client = site.issue("server"), site.issue("reader")
    where = serve(transport, server)
    with closing(open_channel(parse_address(f"{ENCRYPTED[transport]}://{where}?credentials={client}&deadline=8"))) as channel:
        assert channel.unary(BLOBS, "Stat", b"") == b"here"
        for directory, role in ((server, "server"), (client, "reader")):
            fresh = other_site.issue(role)
            write_credentials(directory, *((fresh / name).read_bytes() for name in ("ca.pem", "cert.pem")), key_of(fresh))
        serve.stop(where)
        serve(transport, server, int(where.rpartition(":")[2]))
        assert channel.unary(BLOBS, "Stat", b"") == b"here"


def test_without_openssl_grpc_and_our_own_clock_have_to_say_it(
    serve: Serve, site: Site, other_site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ssl", None)
    for name, (identifier, make, words) in SERVERS.items():
        monkeypatch.delitem(sys.modules, "ssl")
        where = serve("grpc", make(site, other_site))
        ours = site.issue("reader")
        monkeypatch.setitem(sys.modules, "ssl", None)
        error = refused(f"grpc+https://{where}?credentials={ours}")
        assert error.identifier == identifier, name
        assert words in str(error)
    monkeypatch.delitem(sys.modules, "ssl")
    where = serve("grpc", site.issue("server"))
    monkeypatch.setitem(sys.modules, "ssl", None)
    with pytest.raises(TvixError) as caught:
        call(f"grpc+https://{where}?deadline=1&credentials={mixed(site, other_site)}")
    assert caught.value.identifier == "tls.certificate-refused"
    with pytest.raises(TvixError) as caught:
        call(f"grpc+https://{where}?deadline=1&ca={site.issue('reader')}/ca.pem")
    assert caught.value.identifier == "tls.certificate-required"
    with pytest.raises(TlsMissing):
        call(f"tvix+tls://{where}?deadline=1&credentials={site.issue('reader')}")


def key_of(directory: Path) -> Secret:
    return Secret((directory / "key.pem").read_bytes())


def test_who_begins_to_shake_hands_and_stops_costs_no_work(site: Site) -> None:
    """One byte that TLS may begin with, and nothing more."""
    ours, theirs = socket.socketpair()
    tls = ServerTls(files_in(str(site.issue("server"))))
    ours.send(b"\x16")
    before = thread_time()
    with pytest.raises(CallerRefused):
        accept(theirs, tls, "test", seconds=0.5)
    assert thread_time() - before < 0.25
    ours.close()
