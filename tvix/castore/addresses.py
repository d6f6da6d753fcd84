"""Store addresses: what they may say, and the castore services they stand for.

    memory:                                     nothing outlives the process; ?max=SIZE bounds the blobs
    pack:/absolute/path                         on disk; ?chunk=SIZE is the first average of a large blob's chunks, ?zstd=LEVEL
                                                what contents are compressed with, 0 for not at all; ?sync=SECONDS has a thread
                                                sync what was put so often
    grpc+http://HOST:PORT                       a store server; ?deadline=SECONDS for a call to get anywhere
    grpc+https://HOST:PORT                      the same over TLS; ?credentials=DIRECTORY, or ca=, cert= and key= by themselves
    grpc+unix:/absolute/path                    the same on this machine
    tvix+tcp://HOST:PORT, tvix+tls://HOST:PORT, tvix+unix:/absolute/path
                                                the same without gRPC, from servers of this project
    cache:?near=ADDRESS&far=ADDRESS             read near, else far, verified, and kept near; ?max=SIZE bounds near

Servers take ?trust=bytes: no byte of a blob is handed out before all of it was verified; or ?trust=lists: their lists of chunks are
believed and each chunk is verified by itself, the whole when it is complete. The default is lists for Unix sockets, else bytes.

Addresses inside `cache:` are percent-encoded, as is anything else that would end them early. SIZE is bytes, or a number with one of
K, M, G (powers of 1024).
"""

from __future__ import annotations

from typing import NamedTuple

from tvix.castore.blobs.interface import BlobService
from tvix.castore.chunking import AVERAGE_BYTES_MAX, AVERAGE_BYTES_MIN
from tvix.castore.directories.interface import DirectoryService
from tvix.errors import EX_USAGE, TvixError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tvix.castore.pack.store import PackStore

_HEX = "0123456789abcdefABCDEF"
_UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}

_SERVER = frozenset(("deadline", "trust"))
_CREDENTIALS = frozenset(("credentials", "ca", "cert", "key"))
_PARAMETERS = {
    "memory": frozenset(("max",)),
    "pack": frozenset(("chunk", "sync", "zstd")),
    "grpc+http": _SERVER,
    "grpc+https": _SERVER | _CREDENTIALS,
    "grpc+unix": _SERVER,
    "tvix+tcp": _SERVER,
    "tvix+tls": _SERVER | _CREDENTIALS,
    "tvix+unix": _SERVER,
    "cache": frozenset(("near", "far", "max")),
}
SERVERS = frozenset(scheme for scheme, parameters in _PARAMETERS.items() if parameters >= _SERVER)
"""Schemes of stores that are elsewhere."""


class InvalidStoreUrl(TvixError):
    """A store address that can't be understood."""

    identifier = "castore.invalid-store-url"
    message = "{url!r} is not a store address: {reason}"
    hint = "addresses look like memory:, pack:/path, grpc+http://host:port, grpc+unix:/path or tvix+unix:/path"
    exit_code = EX_USAGE


class Address(NamedTuple):
    """A store address taken apart. `path` is absolute or empty, `host` has no brackets, `parameters` are decoded and known."""

    scheme: str
    path: str = ""
    host: str = ""
    port: int = 0
    parameters: tuple[tuple[str, str], ...] = ()
    url: str = ""

    def parameter(self, name: str, default: str = "") -> str:
        """The value of one parameter."""
        return dict(self.parameters).get(name, default)

    def seconds(self, name: str, default: float) -> float:
        """A parameter that is a positive number of seconds. Raises `InvalidStoreUrl`."""
        text = self.parameter(name)
        if not text:
            return default
        try:
            value = float(text)
        except ValueError:
            value = 0.0
        if not 0 < value < float("inf"):
            raise InvalidStoreUrl(url=self.url, reason=f"{name}={text} is not a number of seconds")
        return value

    def size(self, name: str) -> int | None:
        """A parameter that is a size in bytes, None where it isn't given. Raises `InvalidStoreUrl`."""
        text = self.parameter(name)
        if not text:
            return None
        unit = _UNITS.get(text[-1].upper())
        digits = text[:-1] if unit else text
        if not (digits.isascii() and digits.isdigit()) or int(digits) == 0:
            raise InvalidStoreUrl(url=self.url, reason=f"{name}={text} is not a size: write bytes, or a number with K, M or G")
        return int(digits) * (unit or 1)

    @property
    def trusts_lists(self) -> bool:
        """Whether chunk lists of this server are believed: `trust`, which Unix sockets have by default."""
        return self.parameter("trust", "lists" if self.scheme.endswith("+unix") else "bytes") == "lists"


class Castore(NamedTuple):
    """The two services that hold contents."""

    blobs: BlobService
    directories: DirectoryService

    def sync(self) -> None:
        """Make everything durable, blobs first: a directory never outlives its blobs."""
        self.blobs.sync()
        self.directories.sync()

    def close(self) -> None:
        """Sync and let go of everything."""
        self.blobs.close()
        self.directories.close()


def parse_address(url: str) -> Address:
    """Take an address apart. Raises `InvalidStoreUrl` for anything that isn't wholly understood."""
    scheme, colon, rest = url.partition(":")
    if not colon:
        raise InvalidStoreUrl(url=url, reason="it has no scheme")
    if scheme not in _PARAMETERS:
        raise InvalidStoreUrl(url=url, reason=f"scheme {scheme!r} is unknown; known are {', '.join(_PARAMETERS)}")
    if "#" in rest or "\0" in rest:
        raise InvalidStoreUrl(url=url, reason="it has a fragment" if "#" in rest else "it contains a NUL byte")
    place, _, query = rest.partition("?")
    authority = ""
    if place.startswith("//"):
        authority, slash, path = place[2:].partition("/")
        place = slash + path
    address = Address(scheme, _unquote(url, place), parameters=_parse_query(url, scheme, query), url=url)
    if scheme in SERVERS and address.parameter("trust") not in ("", "bytes", "lists"):
        raise InvalidStoreUrl(url=url, reason=f"trust={address.parameter('trust')} is neither bytes nor lists")
    if scheme in SERVERS and not scheme.endswith("unix"):
        host, port = _parse_authority(url, authority)
        if address.path not in ("", "/"):
            raise InvalidStoreUrl(url=url, reason="a server's address has no path")
        return address._replace(path="", host=host, port=port)
    if authority:
        raise InvalidStoreUrl(url=url, reason=f"{scheme}: takes no host; write one or three slashes before a path")
    return _check_path(address)


def _check_path(address: Address) -> Address:
    url, scheme, path = address.url, address.scheme, address.path
    if scheme in ("memory", "cache"):
        if path not in ("", "/"):
            raise InvalidStoreUrl(url=url, reason=f"{scheme}: takes no path")
        for end in ("near", "far") if scheme == "cache" else ():
            parse_address(address.parameter(end) or _missing(url, end))
        return address._replace(path="")
    if not path.startswith("/"):
        raise InvalidStoreUrl(url=url, reason=f"{scheme}: wants an absolute path")
    return address


def _missing(url: str, end: str) -> str:
    raise InvalidStoreUrl(url=url, reason=f"cache: wants {end}=ADDRESS")


def _parse_query(url: str, scheme: str, query: str) -> tuple[tuple[str, str], ...]:
    found: dict[str, str] = {}
    for item in query.split("&") if query else ():
        name, equals, value = item.partition("=")
        if name not in _PARAMETERS[scheme]:
            known = ", ".join(sorted(_PARAMETERS[scheme]))
            raise InvalidStoreUrl(url=url, reason=f"parameter {name!r} is unknown to {scheme}:, which knows {known}")
        if name in found or not equals or not value:
            raise InvalidStoreUrl(url=url, reason=f"parameter {name!r} {'is given twice' if name in found else 'has no value'}")
        found[name] = _unquote(url, value)
    return tuple(found.items())


def _parse_authority(url: str, authority: str) -> tuple[str, int]:
    """Host and port; an IPv6 address stands in brackets."""
    if "@" in authority:
        raise InvalidStoreUrl(url=url, reason="it holds a user name")
    host, colon, digits = authority.rpartition(":")
    if not colon or not host:
        raise InvalidStoreUrl(url=url, reason="it wants //HOST:PORT")
    if host.startswith("[") != host.endswith("]") or (":" in host and not host.startswith("[")):
        raise InvalidStoreUrl(url=url, reason="an IPv6 address stands in brackets")
    if not (digits.isascii() and digits.isdigit()) or not 0 < int(digits) < 65536:
        raise InvalidStoreUrl(url=url, reason=f"{digits!r} is not a port")
    return host.strip("[]"), int(digits)


def _unquote(url: str, text: str) -> str:
    """Percent-decoding; bytes that aren't UTF-8 stay as `os.fsdecode` would have them."""
    if "%" not in text:
        return text
    head, *parts = text.split("%")
    out = bytearray(head.encode("utf-8", "surrogateescape"))
    for part in parts:
        if len(part) < 2 or part[0] not in _HEX or part[1] not in _HEX:
            raise InvalidStoreUrl(url=url, reason=f"%{part[:2]} is not two hexadecimal digits after a percent sign")
        out.append(int(part[:2], 16))
        out += part[2:].encode("utf-8", "surrogateescape")
    if 0 in out:
        raise InvalidStoreUrl(url=url, reason="it contains a NUL byte")
    return out.decode("utf-8", "surrogateescape")


def chunk_size(address: Address) -> int | None:
    """The `chunk` parameter of a pack store's address. Raises `InvalidStoreUrl`."""
    size = address.size("chunk")
    if size is not None and (size & (size - 1) or not AVERAGE_BYTES_MIN <= size <= AVERAGE_BYTES_MAX):
        raise InvalidStoreUrl(url=address.url, reason="chunk must be a power of two from 1K to 2M")
    return size


def near_address(address: Address) -> Address:
    """The near end of a `cache:` address, as one and with the bound that it is given. Raises `InvalidStoreUrl`."""
    near = parse_address(address.parameter("near"))
    bound = address.parameter("max")
    if near.scheme == "pack":
        near = near._replace(parameters=(*near.parameters, ("partial", "yes")))
    if not bound:
        return near
    address.size("max")
    if near.scheme not in ("memory", "pack"):
        raise InvalidStoreUrl(url=address.url, reason=f"max bounds what is near in memory: or pack:, not in {near.scheme}:")
    return near._replace(parameters=(*(pair for pair in near.parameters if pair[0] != "max"), ("max", bound)))


def trusts_lists(url: str) -> bool:
    """Whether chunk lists of what is at an address are believed; of stores that aren't servers they aren't."""
    return url.partition(":")[0] in SERVERS and parse_address(url).trusts_lists


def open_pack(address: Address) -> PackStore:
    """The pack store at a `pack:` address. Raises `InvalidStoreUrl`, and as `PackStore` does."""
    from tvix.castore.compression import LEVEL, LEVEL_MAX
    from tvix.castore.pack.store import PackStore

    text = address.parameter("zstd", str(LEVEL))
    if not (text.isascii() and text.isdigit() and int(text) <= LEVEL_MAX):
        raise InvalidStoreUrl(url=address.url, reason=f"zstd={text} is not a level from 0 to {LEVEL_MAX}")
    partial = bool(address.parameter("partial"))
    if not address.parameter("sync"):
        return PackStore(address.path, int(text), address.size("max"), partial=partial)
    from tvix.castore.pack.tended import TendedPackStore

    seconds = address.seconds("sync", 0.0)
    return TendedPackStore(address.path, int(text), address.size("max"), seconds=seconds, partial=partial)


def open_castore(address: Address) -> Castore:
    """The services at an address. Raises what they raise when they can't be opened."""
    if address.scheme == "memory":
        from tvix.castore.blobs.memory import MemoryBlobService
        from tvix.castore.directories.memory import MemoryDirectoryService

        return Castore(MemoryBlobService(address.size("max")), MemoryDirectoryService())
    if address.scheme == "pack":
        from tvix.castore.blobs.pack import PackBlobService
        from tvix.castore.directories.pack import PackDirectoryService

        average = chunk_size(address)
        store = open_pack(address)
        return Castore(PackBlobService(store, average_chunk_bytes=average), PackDirectoryService(store))
    if address.scheme == "cache":
        from tvix.castore.blobs.near_far import NearFarBlobService
        from tvix.castore.directories.near_far import NearFarDirectoryService

        near = open_castore(near_address(address))
        far_name = address.parameter("far")
        far = open_castore(parse_address(far_name))
        return Castore(
            NearFarBlobService(near.blobs, far.blobs, far_name, trusts_lists=trusts_lists(far_name)),
            NearFarDirectoryService(near.directories, far.directories, far_name),
        )
    from tvix.castore.blobs.remote import RemoteBlobService
    from tvix.castore.directories.remote import RemoteDirectoryService
    from tvix.castore.remote_channel import open_channel

    channel = open_channel(address)
    return Castore(RemoteBlobService(channel), RemoteDirectoryService(channel))
