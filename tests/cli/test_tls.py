"""`tvix tls`, and what the other verbs do with what it makes."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tvix.testing.site import Site

if TYPE_CHECKING:
    from tests.cli.conftest import Tvix

BOTH = ("--listen", "grpc+https://127.0.0.1:0", "--listen", "tvix+tls://127.0.0.1:0")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def site(tvix: Tvix) -> Path:
    """A site in the user's data directory, and where certificates go."""
    assert tvix("tls", "init", "home").lines == [f"{tvix.home}/.local/share/tvix/tls"]
    return tvix.home / "issued"


def issue(tvix: Tvix, site: Path, identity: str, *words: str) -> Path:
    directory = site / identity.replace("/", "-")
    tvix("tls", "issue", identity, "-o", directory, *words)
    return directory


def test_a_site_is_made_once(tvix: Tvix, site: Path) -> None:
    ca = tvix.home / ".local/share/tvix/tls"
    assert (mode(ca), mode(ca / "ca-key.pem")) == (0o700, 0o600)
    before = (ca / "ca.pem").read_bytes()
    tvix.fails("tls", "init", "other", status=77, says="exists already")
    assert (ca / "ca.pem").read_bytes() == before
    del site


def test_what_is_issued(tvix: Tvix, site: Path) -> None:
    made = tvix("tls", "issue", "server/attic", "--address", "attic.example", "--address", "10.0.0.1", "-o", site, "--json").json
    assert made == {"identity": "tvix://home/server/attic", "directory": str(site)}
    assert sorted(path.name for path in site.iterdir()) == ["ca.pem", "cert.pem", "key.pem"]
    assert mode(site / "key.pem") == 0o600
    shown = tvix("tls", "show", site, "--json").json
    assert (shown["identity"], shown["state"]) == ("tvix://home/server/attic", "valid")
    assert shown["addresses"] == ["attic.example", "10.0.0.1"]
    assert shown["notAfter"] - shown["notBefore"] == 365 * 86400
    assert tvix("tls", "show", site / "ca.pem").lines[0] == "tvix://home"
    assert "PRIVATE" not in tvix("tls", "show", site).stdout


def test_nothing_is_replaced_unless_that_is_said(tvix: Tvix, site: Path) -> None:
    directory = issue(tvix, site, "reader/kitchen")
    before = (directory / "cert.pem").read_bytes()
    tvix.fails("tls", "issue", "reader/kitchen", "-o", directory, status=77, says="exists already")
    assert (directory / "cert.pem").read_bytes() == before
    tvix("tls", "issue", "reader/kitchen", "-o", directory, "--force", "--days", "1")
    assert (directory / "cert.pem").read_bytes() != before
    assert "(valid)" in tvix("tls", "show", directory).stdout
    assert [path.name for path in site.iterdir()] == ["reader-kitchen"]


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        (("reader",), 64, "it wants a role and a name"),
        (("cook/anna",), 64, "the roles are server, reader, writer, builder, admin"),
        (("reader/Anna",), 64, "name 'Anna': it isn't a name"),
        (("reader/a/b",), 64, "name 'a/b': it isn't a name"),
        (("server/attic",), 64, "--address HOST is needed"),
        (("reader/anna", "--address", "a.example"), 64, "only servers have addresses"),
        (("server/attic", "--address", "a.example:8000"), 64, "neither a host name nor an IP address"),
        (("reader/anna", "--days", "0"), 64, "--days is from 1 to 3650"),
        (("reader/anna", "--directory", "/nowhere"), 65, "/nowhere doesn't hold the CA of a site"),
    ],
)
def test_wrong_words(tvix: Tvix, site: Path, words: tuple[str, ...], status: int, says: str) -> None:
    tvix.fails("tls", "issue", *words, "-o", site / "made", status=status, says=says)
    assert not site.exists()


def test_a_site_needs_a_name(tvix: Tvix) -> None:
    tvix.fails("tls", "init", "My Site", status=64, says="site 'My Site': it isn't a name")


def test_show_says_what_is_wrong(tvix: Tvix, tmp_path: Path) -> None:
    tvix.fails("tls", "show", tmp_path / "nothing", status=66, says="No such file")
    (tmp_path / "text").write_text("hello\n")
    tvix.fails("tls", "show", tmp_path / "text", status=65, says="it holds no certificate in PEM")
    assert tvix("tls", "show", Site(tmp_path / "site").expired("reader"), "--json").json["state"] == "expired"


def test_stores_over_tls(tvix: Tvix, site: Path, tree: Path) -> None:
    """Write as a writer, read as a reader, over both transports; be refused as what one isn't."""
    server = issue(tvix, site, "server/attic", "--address", "127.0.0.1")
    writer, reader = issue(tvix, site, "writer/desk"), issue(tvix, site, "reader/kitchen")
    with tvix.serving(*BOTH, "--credentials", str(server)) as (_local, *encrypted):
        assert [address.partition("://")[0] for address in encrypted] == ["grpc+https", "tvix+tls"]
        for number, address in enumerate(encrypted):
            name = f"hello-{number}"
            tvix.environment = {"TVIX_CREDENTIALS": str(writer)}
            path = tvix("store", "import", "--store", address, "--name", name, tree).lines[0]
            tvix.environment = {"TVIX_CREDENTIALS": str(reader)}
            assert tvix("store", "cat", "--store", address, f"{path}/README").stdout == "Read me.\n"
            quiet = ("--progress", "quiet", "--store", address)
            refused = tvix.fails(
                "store", "import", *quiet, "--name", "other", tree, status=77, says="tvix://home/reader/kitchen may not"
            )
            assert "that needs the role writer" in refused.stderr
            tvix.environment = {}
            none = tvix("store", "ls", "--store", f"{address}?ca={reader}/ca.pem", status=77).stderr
            assert "wants a certificate, and there are no credentials" in none


def test_the_users_own_credentials(tvix: Tvix, site: Path, tree: Path) -> None:
    tvix("store", "import", tree)
    server = issue(tvix, site, "server/attic", "--address", "127.0.0.1")
    (tvix.home / ".config/tvix").mkdir(parents=True)
    issue(tvix, site, "reader/kitchen").rename(tvix.home / ".config/tvix/credentials")
    with tvix.serving(*BOTH, "--credentials", str(server)) as (_local, *encrypted):
        for address in encrypted:
            assert len(tvix("store", "ls", "--store", address).lines) == 1


def test_expired_certificates_are_named(tvix: Tvix, tmp_path: Path) -> None:
    site = Site(tmp_path / "site")
    server, expired = site.issue("server"), site.expired("reader")
    with tvix.serving(*BOTH, "--credentials", str(server)) as (_local, *encrypted):
        for address in encrypted:
            words = ("store", "ls", "--store", f"{address}?credentials={expired}")
            tvix.fails(*words, status=77, says=f"{expired}/cert.pem: the certificate of tvix://home/reader/old expired at 20")
            other = Site(tmp_path / "other").issue("reader")
            tvix.fails(
                "store", "ls", "--store", f"{address}?credentials={other}", status=77, says="isn't from the CA of our credentials"
            )
    words = ("store", "serve", "--store", "memory:", *BOTH, "--credentials")
    tvix.fails(*words, site.expired("server"), status=77, says="the certificate of tvix://home/server/old expired at 20")
    tvix.fails(*words, site.issue("reader"), status=65, says="wants a certificate of the role server")


def test_the_doctor_looks_at_credentials(tvix: Tvix, tmp_path: Path) -> None:
    site = Site(tmp_path / "site")

    def found() -> tuple[str, str]:
        checks = {check["name"]: check for check in tvix("doctor", "--json").json["checks"]}
        return checks["credentials"]["state"], checks["credentials"]["found"]

    assert found() == ("ok", "none of this user's")
    tvix.environment["TVIX_CREDENTIALS"] = str(site.issue("reader", days=100))
    assert found()[0] == "ok"
    assert found()[1].startswith("tvix://home/reader/test, until 20")
    tvix.environment["TVIX_CREDENTIALS"] = str(site.issue("reader", days=3))
    assert found()[0] == "limited"
    tvix.environment["TVIX_CREDENTIALS"] = str(site.expired("reader"))
    assert found()[0] == "missing"


def test_serving_tls_wants_credentials(tvix: Tvix) -> None:
    tvix.fails("store", "serve", "--store", "memory:", "--listen", "tvix+tls://127.0.0.1:0", status=64, says="certificate")


def test_files_one_by_one(tvix: Tvix, site: Path) -> None:
    server = issue(tvix, site, "server/attic", "--address", "127.0.0.1")
    reader = issue(tvix, site, "reader/kitchen")
    words = ("--tls-ca", server / "ca.pem", "--tls-cert", server / "cert.pem", "--tls-key", server / "key.pem")
    with tvix.serving("--store", "memory:", *BOTH, *map(str, words)) as (_local, _grpc, framed):
        named = f"{framed}?ca={server}/ca.pem&cert={reader}/cert.pem&key={reader}/key.pem"
        assert tvix("store", "ls", "--store", named).lines == []


@pytest.mark.root
@pytest.mark.fuse
def test_programs_run_over_tls_or_say_why_not(tvix: Tvix, tmp_path: Path) -> None:
    """A mount is a process of its own, and has its store's errors to tell as well."""
    site = Site(tmp_path / "site")
    box = tmp_path / "box"
    box.mkdir()
    (box / "busybox").write_bytes(Path("/usr/bin/busybox").read_bytes())
    (box / "busybox").chmod(0o755)
    program = tvix("store", "import", box).lines[0] + "/busybox"
    expired = site.expired("reader")
    other, stranger = Site(tmp_path / "other").issue("reader"), site.issue("reader", "stranger", site="elsewhere")
    with tvix.serving(*BOTH, "--credentials", str(site.issue("server"))) as (_local, *encrypted):
        for address in encrypted:
            run = ("run", "--near", "none", "--store")
            assert tvix(*run, f"{address}?credentials={site.issue('reader')}", program, "echo", "here").lines == ["here"]
            for credentials, says in (
                (expired, "the certificate of tvix://home/reader/old expired at 20"),
                (other, "isn't from the CA of our credentials"),
                (stranger, "has no rights here: this is a server of the site home"),
            ):
                # Over gRPC the server is asked what it offers, framed it is met when the program is read.
                status = 77 if address.startswith("grpc") or credentials == expired else 69
                tvix.fails(*run, f"{address}?credentials={credentials}", program, "echo", "here", status=status, says=says)
