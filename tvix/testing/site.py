"""A site for tests: its CA, and credentials of every kind of right and wrong, as directories.

Unlike `tvix tls issue` it makes certificates that are over, or begin later.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from tvix.castore.credentials import CA_FILE, CERTIFICATE_FILE, KEY_FILE, Secret
from tvix.grpc_api.authority import issue, load_authority, make_authority

if TYPE_CHECKING:
    from collections.abc import Sequence

ADDRESSES = ("127.0.0.1", "localhost")


class Site:
    """One CA, whose files lie in `directory`."""

    def __init__(self, directory: Path, name: str = "home") -> None:
        made = make_authority(name)
        self._directory = directory
        self._authority = load_authority(str(directory), made.certificate, made.key)
        self.ca = made.certificate
        directory.mkdir(parents=True, exist_ok=True)

    def issue(
        self,
        role: str,
        name: str = "test",
        *,
        addresses: Sequence[str] = ADDRESSES,
        begins: timedelta = timedelta(minutes=-5),
        days: int = 1,
        folder: str = "",
        ca: bytes | None = None,
        site: str = "",
    ) -> Path:
        """A directory of credentials; `begins` is when, from now. `ca` and `site` stand in for the site's own."""
        used = list(addresses) if role == "server" else []
        authority = self._authority._replace(site=site or self._authority.site)
        issued = issue(authority, role, name, used, days=days, begin=datetime.now(UTC) + begins)
        return write_credentials(self._directory / (folder or f"{role}-{name}"), ca or self.ca, issued.certificate, issued.key)

    def expired(self, role: str) -> Path:
        """Credentials that were over yesterday."""
        return self.issue(role, "old", begins=timedelta(days=-3), days=2)

    def early(self, role: str) -> Path:
        """Credentials that begin tomorrow."""
        return self.issue(role, "early", begins=timedelta(days=1), days=1)


def write_credentials(directory: Path, ca: bytes, certificate: bytes, key: Secret) -> Path:
    """The three files, replaced where they are there."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, contents in ((CA_FILE, ca), (CERTIFICATE_FILE, certificate), (KEY_FILE, key.reveal())):
        partial = directory / f".{name}"
        partial.write_bytes(contents)
        partial.chmod(0o600)
        partial.rename(directory / name)
    return directory
