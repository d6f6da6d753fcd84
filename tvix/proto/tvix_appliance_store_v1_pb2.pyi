from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class PathInfoDigests(_message.Message):
    __slots__ = ("digests",)
    DIGESTS_FIELD_NUMBER: _ClassVar[int]
    digests: bytes
    def __init__(self, digests: _Optional[bytes] = ...) -> None: ...

class PathInfoList(_message.Message):
    __slots__ = ("path_infos",)
    PATH_INFOS_FIELD_NUMBER: _ClassVar[int]
    path_infos: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, path_infos: _Optional[_Iterable[bytes]] = ...) -> None: ...

class SignedRoot(_message.Message):
    __slots__ = ("store_path", "root", "signatures")
    STORE_PATH_FIELD_NUMBER: _ClassVar[int]
    ROOT_FIELD_NUMBER: _ClassVar[int]
    SIGNATURES_FIELD_NUMBER: _ClassVar[int]
    store_path: str
    root: bytes
    signatures: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, store_path: _Optional[str] = ..., root: _Optional[bytes] = ..., signatures: _Optional[_Iterable[str]] = ...) -> None: ...
