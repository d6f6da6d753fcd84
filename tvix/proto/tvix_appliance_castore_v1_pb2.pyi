from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class DescribeRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Description(_message.Message):
    __slots__ = ("program", "writable", "features", "message_bytes", "framed_ports", "framed_tls_ports", "framed_sockets")
    PROGRAM_FIELD_NUMBER: _ClassVar[int]
    WRITABLE_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_BYTES_FIELD_NUMBER: _ClassVar[int]
    FRAMED_PORTS_FIELD_NUMBER: _ClassVar[int]
    FRAMED_TLS_PORTS_FIELD_NUMBER: _ClassVar[int]
    FRAMED_SOCKETS_FIELD_NUMBER: _ClassVar[int]
    program: str
    writable: bool
    features: _containers.RepeatedScalarFieldContainer[str]
    message_bytes: int
    framed_ports: _containers.RepeatedScalarFieldContainer[int]
    framed_tls_ports: _containers.RepeatedScalarFieldContainer[int]
    framed_sockets: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, program: _Optional[str] = ..., writable: _Optional[bool] = ..., features: _Optional[_Iterable[str]] = ..., message_bytes: _Optional[int] = ..., framed_ports: _Optional[_Iterable[int]] = ..., framed_tls_ports: _Optional[_Iterable[int]] = ..., framed_sockets: _Optional[_Iterable[bytes]] = ...) -> None: ...

class Ask(_message.Message):
    __slots__ = ("ids", "digests", "offsets", "lengths", "priority", "root", "push", "codec", "profile", "max_frame", "closure", "promote", "record", "path")
    IDS_FIELD_NUMBER: _ClassVar[int]
    DIGESTS_FIELD_NUMBER: _ClassVar[int]
    OFFSETS_FIELD_NUMBER: _ClassVar[int]
    LENGTHS_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    ROOT_FIELD_NUMBER: _ClassVar[int]
    PUSH_FIELD_NUMBER: _ClassVar[int]
    CODEC_FIELD_NUMBER: _ClassVar[int]
    PROFILE_FIELD_NUMBER: _ClassVar[int]
    MAX_FRAME_FIELD_NUMBER: _ClassVar[int]
    CLOSURE_FIELD_NUMBER: _ClassVar[int]
    PROMOTE_FIELD_NUMBER: _ClassVar[int]
    RECORD_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    ids: _containers.RepeatedScalarFieldContainer[int]
    digests: bytes
    offsets: _containers.RepeatedScalarFieldContainer[int]
    lengths: _containers.RepeatedScalarFieldContainer[int]
    priority: int
    root: bytes
    push: bool
    codec: int
    profile: str
    max_frame: int
    closure: bool
    promote: _containers.RepeatedScalarFieldContainer[int]
    record: bytes
    path: bytes
    def __init__(self, ids: _Optional[_Iterable[int]] = ..., digests: _Optional[bytes] = ..., offsets: _Optional[_Iterable[int]] = ..., lengths: _Optional[_Iterable[int]] = ..., priority: _Optional[int] = ..., root: _Optional[bytes] = ..., push: _Optional[bool] = ..., codec: _Optional[int] = ..., profile: _Optional[str] = ..., max_frame: _Optional[int] = ..., closure: _Optional[bool] = ..., promote: _Optional[_Iterable[int]] = ..., record: _Optional[bytes] = ..., path: _Optional[bytes] = ...) -> None: ...

class Frame(_message.Message):
    __slots__ = ("ids", "sizes", "codec", "raw_size", "payload", "missing", "kind", "lengths", "root", "more", "first")
    IDS_FIELD_NUMBER: _ClassVar[int]
    SIZES_FIELD_NUMBER: _ClassVar[int]
    CODEC_FIELD_NUMBER: _ClassVar[int]
    RAW_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    MISSING_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    LENGTHS_FIELD_NUMBER: _ClassVar[int]
    ROOT_FIELD_NUMBER: _ClassVar[int]
    MORE_FIELD_NUMBER: _ClassVar[int]
    FIRST_FIELD_NUMBER: _ClassVar[int]
    ids: _containers.RepeatedScalarFieldContainer[int]
    sizes: _containers.RepeatedScalarFieldContainer[int]
    codec: int
    raw_size: int
    payload: bytes
    missing: _containers.RepeatedScalarFieldContainer[int]
    kind: int
    lengths: _containers.RepeatedScalarFieldContainer[int]
    root: bytes
    more: bool
    first: int
    def __init__(self, ids: _Optional[_Iterable[int]] = ..., sizes: _Optional[_Iterable[int]] = ..., codec: _Optional[int] = ..., raw_size: _Optional[int] = ..., payload: _Optional[bytes] = ..., missing: _Optional[_Iterable[int]] = ..., kind: _Optional[int] = ..., lengths: _Optional[_Iterable[int]] = ..., root: _Optional[bytes] = ..., more: _Optional[bool] = ..., first: _Optional[int] = ...) -> None: ...

class MissingRequest(_message.Message):
    __slots__ = ("digests", "kind")
    DIGESTS_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    digests: bytes
    kind: int
    def __init__(self, digests: _Optional[bytes] = ..., kind: _Optional[int] = ...) -> None: ...

class MissingResponse(_message.Message):
    __slots__ = ("bits",)
    BITS_FIELD_NUMBER: _ClassVar[int]
    bits: bytes
    def __init__(self, bits: _Optional[bytes] = ...) -> None: ...

class PutBlobsRequest(_message.Message):
    __slots__ = ("sizes", "payload", "lengths")
    SIZES_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    LENGTHS_FIELD_NUMBER: _ClassVar[int]
    sizes: _containers.RepeatedScalarFieldContainer[int]
    payload: bytes
    lengths: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, sizes: _Optional[_Iterable[int]] = ..., payload: _Optional[bytes] = ..., lengths: _Optional[_Iterable[int]] = ...) -> None: ...

class PutBlobsResponse(_message.Message):
    __slots__ = ("digests",)
    DIGESTS_FIELD_NUMBER: _ClassVar[int]
    digests: bytes
    def __init__(self, digests: _Optional[bytes] = ...) -> None: ...

class PutChunkedRequest(_message.Message):
    __slots__ = ("digest", "chunks")
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    CHUNKS_FIELD_NUMBER: _ClassVar[int]
    digest: bytes
    chunks: bytes
    def __init__(self, digest: _Optional[bytes] = ..., chunks: _Optional[bytes] = ...) -> None: ...
