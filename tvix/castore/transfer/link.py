"""A connection that carries one `Fetch`, as the loop sees it that polls it: nothing of it ever blocks."""

from __future__ import annotations

from typing import Protocol

from tvix.castore.addresses import Address
from tvix.castore.blobs.interface import Buffer
from tvix.castore.remote_errors import CallFailed, failure

METHOD = "/tvix_appliance.castore.v1.Transfer/Fetch"
_FINAL = frozenset(("UNIMPLEMENTED", "INVALID_ARGUMENT", "PERMISSION_DENIED", "UNAUTHENTICATED"))


class LinkLost(Exception):
    """A link has come to its end, or to no beginning. `error` is there where waiting for another one doesn't help."""

    def __init__(self, reason: str, error: Exception | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.error = error


class Link(Protocol):
    """Made by dialling; it becomes `ready` by `receive`."""

    @property
    def ready(self) -> bool:
        """Whether messages may be sent."""

    @property
    def wants_write(self) -> bool:
        """Whether `receive` should be called once the descriptor can be written to."""

    @property
    def pending(self) -> bool:
        """Whether `receive` has more to give although the descriptor isn't readable."""

    def fileno(self) -> int:
        """What to poll; it may be another one after each `receive`."""

    def send(self, message: Buffer) -> None:
        """Send a message, now or as soon as the other end takes it. Raises `LinkLost`."""

    def receive(self) -> tuple[list[Buffer], int]:
        """Go on: the messages that are complete, a few at most, and how many bytes came. Raises `LinkLost`."""

    def close(self) -> None:
        """Let go of it. Harmless twice."""


def final_error(address: Address, failed: CallFailed) -> Exception | None:
    """What a call ended with that another one would end with, too; None where that isn't so."""
    return failure(address.url, "Fetch", failed, 0) if failed.code in _FINAL else None
