"""What a server lacks, asked about many things at once."""

from __future__ import annotations

from collections.abc import Sequence

from tvix.castore.digests import Digest
from tvix.castore.remote_channel import TRANSFER, Channel
from tvix.castore.transfer.requests import decode_missing_response, encode_missing_request

_DIGESTS_MAX = 100_000  # 3 MB


def ask_missing(channel: Channel, digests: Sequence[Digest], *, directories: bool = False) -> set[Digest]:
    """Those of `digests` that the server doesn't have: one round trip for each hundred thousand. Raises `MalformedMessage`."""
    missing: set[Digest] = set()
    for start in range(0, len(digests), _DIGESTS_MAX):
        part = digests[start : start + _DIGESTS_MAX]
        missing |= read_missing(channel.unary(TRANSFER, "Missing", missing_request(part, directories=directories)), part)
    return missing


def missing_request(digests: Sequence[Digest], *, directories: bool = False) -> bytes:
    """The question alone, for who asks it while doing something else."""
    return encode_missing_request(digests, directories=directories)


def read_missing(answer: bytes | None, digests: Sequence[Digest]) -> set[Digest]:
    """What the answer to the question for `digests` says. Raises `MalformedMessage` where it is about something else."""
    absent = decode_missing_response(answer or b"", len(digests))
    return {digest for digest, is_absent in zip(digests, absent, strict=True) if is_absent}
