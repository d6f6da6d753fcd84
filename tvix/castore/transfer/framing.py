"""Calls over a socket without gRPC: `tvix+unix:`, `tvix+tcp:` and `tvix+tls:`.

A connection carries one call after the other, each way as records: length of the body as 32 bits, little-endian, the kind as one
byte, then the body. A client begins a call with `CALL`, whose body is the method as gRPC would name it, `/package.Service/Method`;
messages follow as `MESSAGE`, and `END` says that it has no more to send. The server answers with messages and `END`, or with
`ERROR`, whose body is a `Status`. The messages are those of gRPC, byte for byte. A client may begin its next call before the answer
to the last has come; the server takes them in order. A client that wants no more of a call closes the connection.
"""

from __future__ import annotations

from struct import Struct
from typing import NamedTuple

from tvix.castore.blobs.interface import Buffer
from tvix.castore.protobuf import MalformedMessage, bytes_field, fields

CALL, MESSAGE, END, ERROR = 1, 2, 3, 4

HEADER = Struct("<IB")
MESSAGE_BYTES_MAX = 16 << 20
METHOD_BYTES_MAX = 256


class Status(NamedTuple):
    """Why a call failed: `code` and `details` as in gRPC, `identifier` and `fields` (a JSON object) of the server's error."""

    code: str
    details: str
    identifier: str = ""
    fields: str = ""


def record(kind: int, body: Buffer = b"") -> bytes:
    """A small record in one piece."""
    return HEADER.pack(len(body), kind) + body


def encode_status(status: Status) -> bytes:
    """The body of an `ERROR`: code = 1, details = 2, identifier = 3, fields = 4, all text."""
    return b"".join(bytes_field(number, value.encode("utf-8", "replace")) for number, value in enumerate(status, 1))


def decode_status(body: Buffer) -> Status:
    """Raises `MalformedMessage`."""
    values = ["", "", "", ""]
    for number, value in fields(bytes(body), "status"):
        if number <= len(values):
            if not isinstance(value, bytes):
                raise MalformedMessage(what="status", reason=f"field {number} has the wrong type", offset=0)
            values[number - 1] = value.decode("utf-8", "replace")
    return Status(*values)
