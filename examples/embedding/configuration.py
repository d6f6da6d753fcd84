"""A configuration as dataclasses, and what a mistake in it looks like."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from tvix.serde import SchemaMismatch, dump, load_file, options
from tvix.serde import load as load_text


@dataclass(frozen=True)
class Off:
    """No encryption."""


@dataclass(frozen=True)
class Files:
    """A certificate and its key."""

    certificate: Path
    key: Path


@dataclass(frozen=True)
class Site:
    """One name that is served."""

    host: str = field(metadata={"doc": "the name that clients ask for"})
    tls: Off | Files = field(metadata={"doc": "how connections are encrypted"})
    port: int = field(default=443, metadata={"doc": "the port to listen on, 1 to 65535"})

    def __post_init__(self) -> None:
        if not 1 <= self.port <= 65535:
            raise ValueError(f"{self.port} is no port")


@dataclass(frozen=True)
class Server:
    """All of it."""

    sites: tuple[Site, ...] = field(metadata={"doc": "what is served"})
    workers: int = field(default=1, metadata={"doc": "how many processes serve"})


WRONG = """\
{
  sites = [
    { host = "www.example.org"; tls = "Of"; }
    { host = "mail.example.org"; tls.Files = { certificate = /etc/tls/mail.crt; kye = /etc/tls/mail.key; }; }
    { host = "localhost"; tls = "Off"; port = 80443; }
  ];
}
"""


def main() -> None:
    """Load what is right, then what is wrong."""
    server = load_file(str(Path(__file__).with_name("server.nix").absolute()), Server)
    for site in server.sites:
        print(f"{site.host}:{site.port} {type(site.tls).__name__}")
    print(f"workers: {server.workers}")

    assert load_text(dump(server), Server) == server

    print("\nOptions:")
    for option in options(Server):
        print(f"  {option.path}: {option.documentation}".rstrip(": "))

    try:
        load_text(WRONG, Server, name="wrong.nix")
    except SchemaMismatch as error:
        print(f"\n{error}\n\n{error.report()}")


if __name__ == "__main__":
    main()
