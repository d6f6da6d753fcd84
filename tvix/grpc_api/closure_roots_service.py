"""`tvix_appliance.store.v1.ClosureRoots` over any service of signed closure roots."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tvix.castore.digests import print_digest
from tvix.castore.directories.interface import DirectoryService
from tvix.castore.protobuf import MalformedMessage
from tvix.grpc_api.caller import Caller
from tvix.grpc_api.methods import UNARY, Method
from tvix.grpc_api.status import NotHere
from tvix.nix_compat.nixbase32 import encode
from tvix.store.closure_roots.codec import decode_signed_root, encode_signed_root
from tvix.store.closure_roots.interface import ClosureRootService
from tvix.store.completeness import IncompleteRoot
from tvix.store.path_infos.batch_messages import CLOSURE_ROOTS, decode_digests


class ClosureRootMethods:
    """`sync` makes the directories durable that a signed root is stored after."""

    def __init__(self, roots: ClosureRootService, directories: DirectoryService, sync: Callable[[], None]) -> None:
        self._roots = roots
        self._directories = directories
        self._sync = sync

    def methods(self) -> Iterator[Method]:
        """For the table."""
        yield Method(CLOSURE_ROOTS, "Get", UNARY, self.get)
        yield Method(CLOSURE_ROOTS, "Put", UNARY, self.put, needs_write=True)

    def get(self, request: bytes, _caller: Caller) -> bytes:
        """Raises `NotHere`, `MalformedMessage`."""
        digests = decode_digests(request)
        if len(digests) != 1:
            raise MalformedMessage(what="PathInfoDigests", reason=f"{len(digests)} digests instead of one", offset=0)
        signed = self._roots.get(digests[0])
        if signed is None:
            raise NotHere(kind="signed closure root", name=encode(digests[0]))
        return encode_signed_root(signed)

    def put(self, request: bytes, _caller: Caller) -> bytes:
        """Durable when this returns. Raises `IncompleteRoot` where the root isn't here, and what decoding and storing raise."""
        signed = decode_signed_root(request)
        if self._directories.missing((signed.root,)):
            raise IncompleteRoot(kind="directory", digest=print_digest(signed.root))
        self._sync()
        return encode_signed_root(self._roots.put(signed))
