"""The checks: known answers where the world agrees on them, round trips elsewhere. Each is named after what it checks."""

from __future__ import annotations

import io
import os
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from tvix.castore.credentials import Credentials
    from tvix.castore.nodes import Node
    from tvix.store.store import Store

_CONTENTS = b"Hello, world!\n"
_LARGE = bytes(range(256)) * 4096
_BLAKE3_OF_NOTHING = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"
_NAR_OF_EMPTY_FILE = "0ip26j2h11n1kgkz36rl4akv694yz65hr72q4kv4b3lxcbi65b3p"
_NOBODY = "grpc+unix:/nonexistent/tvix-selftest?deadline=0.2"


def expect(actual: object, wanted: object) -> None:
    """Assertions that `python -O` keeps."""
    if actual != wanted:
        raise ValueError(f"{actual!r} where {wanted!r} was expected")


def blake3_digests() -> None:
    """The published digest of no bytes; a digest's two text forms."""
    from tvix.castore.digests import digest_of, parse_digest, print_digest

    expect(digest_of(b"").hex(), _BLAKE3_OF_NOTHING)
    expect(parse_digest(print_digest(digest_of(b""))), parse_digest(_BLAKE3_OF_NOTHING))


def hashes_and_store_paths() -> None:
    """A hash in every form; a store path read and printed."""
    from tvix.nix_compat.hashes import hash_of, parse_hash
    from tvix.nix_compat.store_path import parse_store_path, source_path

    for algorithm in ("md5", "sha1", "sha256", "sha512", "blake3"):
        found = hash_of(algorithm, _CONTENTS)
        for text in (found.print("sri"), found.print("hex", prefixed=True), found.print("nixbase32", prefixed=True)):
            expect(parse_hash(text), found)
    path = source_path("hello", hash_of("sha256", _CONTENTS).digest)
    expect(parse_store_path(str(path)), path)


def archives() -> None:
    """The NAR of an empty file has the hash that Nix gives it; a tree's is read as it was written."""
    from hashlib import sha256

    from tvix.nix_compat.hashes import Hash
    from tvix.nix_compat.nar.reader import read_nar
    from tvix.nix_compat.nar.writer import NarWriter

    empty, first, second = io.BytesIO(), io.BytesIO(), io.BytesIO()
    writer = NarWriter(empty.write)
    writer.file(b"", False, b"")
    writer.close()
    expect(Hash("sha256", sha256(empty.getvalue()).digest()).print("nixbase32"), _NAR_OF_EMPTY_FILE)
    writer = NarWriter(first.write)
    writer.enter_directory(b"")
    writer.file(b"a", True, _CONTENTS)
    writer.symlink(b"b", b"a")
    writer.leave_directory()
    writer.close()
    first.seek(0)
    again = NarWriter(second.write)
    read_nar(first.read, again)
    again.close()
    expect(second.getvalue(), first.getvalue())


def signatures() -> None:
    """Ed25519: what was signed verifies, what was changed doesn't."""
    from tvix.nix_compat.signatures import SigningKey

    key = SigningKey.generate("selftest-1")
    signature = key.sign(_CONTENTS)
    expect(key.verifying_key.verify(_CONTENTS, signature), True)
    expect(key.verifying_key.verify(_CONTENTS + b"!", signature), False)


def encryption() -> None:
    """OpenSSL loads and speaks what we ask of it."""
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    expect(ssl.HAS_TLSv1_3, True)


def certificates() -> None:
    """A site's server and reader know each other, and the server knows the reader's role."""
    from tvix.castore.credentials import Credentials
    from tvix.grpc_api.authority import issue, load_authority, make_authority
    from tvix.grpc_api.identity import caller_of

    made = make_authority("selftest")
    authority = load_authority("", made.certificate, made.key)
    server, reader = issue(authority, "server", "a", ["localhost"]), issue(authority, "reader", "b")
    identity = _shake_hands(
        Credentials(made.certificate, server.certificate, server.key), Credentials(made.certificate, reader.certificate, reader.key)
    )
    expect(caller_of(identity, "selftest"), ("tvix://selftest/reader/b", False, True))


def _shake_hands(server: Credentials, client: Credentials) -> bytes:
    """Both ends of a handshake in memory, by turns; the certificate that the server has seen."""
    import ssl

    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = (
        client.client_context().wrap_bio(to_client, to_server, server_hostname="localhost"),
        server.server_context().wrap_bio(to_server, to_client, server_side=True),
    )
    for _ in range(2):
        for end in ends:
            with suppress(ssl.SSLWantReadError):
                end.do_handshake()
    return ends[1].getpeercert(binary_form=True) or b""


def chunking() -> None:
    """The compiled chunker loads, and what it cuts is the whole."""
    from tvix.castore.chunking import Chunker

    chunker = Chunker()
    chunks = [bytes(chunk) for chunk in (*chunker.feed(_LARGE), *chunker.finish())]
    expect(b"".join(chunks), _LARGE)


def memory_store() -> None:
    """A tree in, and out again as an archive."""
    from tvix.store.addresses import open_store

    with open_store("memory:") as store:
        _round_trip(store)


def pack_store() -> None:
    """The same on disk, and found again after it was closed."""
    from tvix.store.addresses import open_store

    with TemporaryDirectory(prefix="tvix-selftest-") as directory:
        with open_store(f"pack:{directory}/store") as store:
            node = _round_trip(store)
        with open_store(f"pack:{directory}/store") as store:
            _compare(store, node)


def near_and_far_store() -> None:
    """A tree that is far is seen through a store that is near."""
    from tvix.store.addresses import open_store
    from tvix.store.near_far import near_far

    far = open_store("memory:")
    node = _round_trip(far)
    with near_far(open_store("memory:"), far, "memory:") as store:
        _compare(store, node)


def grpc_client() -> None:
    """The library loads, and a server that isn't there is named in the error."""
    from tvix.castore.blobs.interface import StoreUnavailable
    from tvix.castore.digests import digest_of
    from tvix.store.addresses import open_store

    store = open_store(_NOBODY)
    try:
        store.blobs.missing([digest_of(_CONTENTS)])
    except StoreUnavailable:
        return
    finally:
        with suppress(StoreUnavailable):
            store.close()
    raise ValueError("a store that isn't there answered")


def grpc_server() -> None:
    """A store served on a Unix socket takes a tree from a client and gives it back."""
    from tvix.grpc_api.server import make_server
    from tvix.store.addresses import open_store

    with TemporaryDirectory(prefix="tvix-selftest-") as directory, open_store("memory:") as served:
        server = make_server(served, [f"unix:{directory}/socket"])
        server.start()
        try:
            with open_store(f"grpc+unix:{directory}/socket") as store:
                _compare(store, _round_trip(store))
        finally:
            server.stop(1)


def mount_role() -> None:
    """The mount process and its FUSE engine load; no mount is made."""
    from appliance.roles.mount import MountSpec
    from tvix.mount.engines.fuse import FuseSession

    expect(MountSpec("memory:", "/nonexistent").store, "memory:")
    expect(callable(FuseSession), True)


def boot_role() -> None:
    """PID 1 and its network client load; the kernel command line is understood."""
    from appliance.boot import contract, init
    from appliance.net import dhcp, network

    expect([module.__name__.rpartition(".")[2] for module in (init, dhcp, network)], ["init", "dhcp", "network"])
    words, _ = contract.read('quiet tvix.store=grpc+http://10.0.2.2:8000 tvix.run="/bin/hello -g x"')
    expect(words.get("tvix.run"), "/bin/hello -g x")


def initrd_maker() -> None:
    """A cpio archive of one file; the compressor and the ELF reader load."""
    import zstandard
    from elftools.elf.elffile import ELFFile

    from initrd import cpio

    output = io.BytesIO()
    cpio.write([cpio.regular("hello", _CONTENTS)], output)
    expect(output.getvalue()[:6], b"070701")
    packed = zstandard.ZstdCompressor(level=3).compress(output.getvalue())
    expect(zstandard.ZstdDecompressor().decompress(packed), output.getvalue())
    expect(callable(ELFFile), True)


def progress_renderers() -> None:
    """Bars, plain lines and JSON lines, into memory."""
    from appliance.ui.bars import Bars
    from appliance.ui.json_lines import JsonLines
    from appliance.ui.plain import Plain
    from tvix.events import Operation

    stream = io.StringIO()
    with Bars(io.StringIO()) as bars:
        for emit in (bars, Plain(stream), JsonLines(stream)):
            with Operation(emit, "selftest", unit="files") as operation:
                operation.progress()
    expect(len(stream.getvalue().splitlines()), 4)


def command_line() -> None:
    """Every verb that this build has can be configured and has an example."""
    from appliance.__main__ import VERBS
    from appliance.cli.dispatch import load_verb
    from appliance.cli.failure import NotInThisBuild
    from appliance.cli.options import make_parser
    from appliance.cli.selftest.outcome import is_initrd_build

    waiting = [(f"tvix {word}", module) for word, module in VERBS.items()]
    while waiting:
        name, module_name = waiting.pop()
        try:
            module = load_verb(module_name, name)
        except NotInThisBuild:
            if not is_initrd_build():
                raise
            continue
        if hasattr(module, "VERBS"):
            waiting.extend((f"{name} {word}", below) for word, below in module.VERBS.items())
        else:
            expect("example" in make_parser(name, module).format_help(), True)


def _round_trip(store: Store) -> Node:
    """Store a small tree, and see that its archive is right; its node."""
    from tvix.castore.ingest.filesystem import ingest_tree

    with TemporaryDirectory(prefix="tvix-selftest-") as directory:
        tree = Path(directory) / "tree"
        (tree / "bin").mkdir(parents=True)
        (tree / "bin" / "hello").write_bytes(_CONTENTS)
        (tree / "bin" / "hello").chmod(0o755)
        (tree / "large").write_bytes(_LARGE)
        os.symlink("bin/hello", tree / "link")
        node = ingest_tree(tree, store.blobs, store.directories)
    store.blobs.sync()
    store.directories.sync()
    _compare(store, node)
    return node


def _compare(store: Store, node: Node) -> None:
    from tvix.nix_compat.nar.writer import NarWriter
    from tvix.store.nar import render_nar

    wanted = io.BytesIO()
    writer = NarWriter(wanted.write)
    writer.enter_directory(b"")
    writer.enter_directory(b"bin")
    writer.file(b"hello", True, _CONTENTS)
    writer.leave_directory()
    writer.file(b"large", False, _LARGE)
    writer.symlink(b"link", b"bin/hello")
    writer.leave_directory()
    writer.close()
    if b"".join(render_nar(node, store.blobs, store.directories)) != wanted.getvalue():
        raise ValueError("the archive of the tree is not what went in")


CHECKS: tuple[Callable[[], None], ...] = (
    blake3_digests,
    hashes_and_store_paths,
    archives,
    signatures,
    encryption,
    certificates,
    chunking,
    memory_store,
    pack_store,
    near_and_far_store,
    grpc_client,
    grpc_server,
    mount_role,
    boot_role,
    initrd_maker,
    progress_renderers,
    command_line,
)
