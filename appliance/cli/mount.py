"""`tvix mount`: a store as a read-only file system, and what a mounted one has done so far."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from appliance.cli.key.files import add_trusted_key, parse_trusted_keys
from appliance.cli.options import (
    UsageError,
    add_json,
    add_near,
    add_store,
    describe,
    existing_store_url,
    near_of,
    print_json,
    warn,
)
from tvix.errors import EX_NOINPUT, TvixError

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

    from appliance.roles.mount import MountSpec

SUMMARY = "Mount a store, or a part of it, as a read-only file system."

_STATS = "user.tvix.stats"


class NotATvixMount(TvixError):
    """Statistics are asked for of something that isn't the root of a mount of ours."""

    identifier = "cli.not-a-tvix-mount"
    message = "{path} is not the mount point of a tvix mount: {reason}"
    exit_code = EX_NOINPUT


def configure(parser: ArgumentParser) -> None:
    """What it takes."""
    describe(
        parser,
        "tvix mount /nix/store",
        "tvix mount --store grpc+http://10.0.0.1:8000 --root blake3-… /mnt",
        "tvix mount --stats /nix/store",
        text="Once mounted it prints READY and the mount point (--json: an object), and serves until SIGTERM, SIGINT or SIGHUP,\n"
        "until the process that started it ends, or until it is unmounted. Contents are fetched as they are read. A store that\n"
        "is away makes reads fail with EIO after ?deadline=SECONDS of its address (30), and work again once it is back.",
        exits=(66, 69, 77),
    )
    parser.add_argument("destination", metavar="DEST", help="an empty directory; for --stats one that is mounted")
    part = parser.add_mutually_exclusive_group()
    part.add_argument("--root", metavar="DIGEST", help="show a closure root: nothing else is visible, whatever the store says")
    part.add_argument("--closure", metavar="STORE_PATH", help="show a store path and all it refers to")
    part.add_argument("--directory", metavar="DIGEST", help="show one castore directory")
    part.add_argument("--list", action="store_true", help="let the whole store's root be listed")
    part.add_argument("--stats", action="store_true", help="print the counters of what is mounted at DEST, as JSON")
    add_trusted_key(parser)
    parser.add_argument("--allow-other", action="store_true", help="let other users in")
    parser.add_argument("--uid-gid", metavar="UID:GID", default="0:0", help="whose the files are (0:0)")
    parser.add_argument("--status", metavar="FILE", help="keep FILE up to date with the counters, as JSON")
    parser.add_argument(
        "--engine",
        choices=("auto", "fuse", "pyfuse3"),
        default="auto",
        help="our own loop, for those who may mount; libfuse, for ordinary users through fusermount3; the first that can (auto)",
    )
    parser.add_argument("--background", action="store_true", help="return once mounted; ends when it is unmounted")
    add_near(parser)
    add_store(parser)
    add_json(parser)


def run(arguments: Namespace) -> int:
    """Mount and serve, or print the counters."""
    if arguments.stats:
        print_json(_stats(arguments.destination))
        return 0
    spec = _spec(arguments)
    if arguments.background:
        from appliance.roles.mount_child import MountChild

        MountChild(spec._replace(dies_with_parent=False))
        _say_ready(arguments, spec)
        return 0
    from appliance.roles.mount import serve_mount

    serve_mount(spec, lambda: _say_ready(arguments, spec))
    return 0


def _say_ready(arguments: Namespace, spec: MountSpec) -> None:
    if arguments.json:
        print_json({"state": "ready", "store": spec.store, "destination": arguments.destination})
    else:
        print("READY", arguments.destination, flush=True)


def _spec(arguments: Namespace) -> MountSpec:
    from appliance.roles.mount import MountSpec
    from tvix.castore.digests import parse_digest
    from tvix.nix_compat.store_path import parse_store_path

    digest = arguments.root or arguments.directory
    uid, gid = _owner(arguments.uid_gid)
    if arguments.trusted_key and not arguments.closure:
        raise UsageError(command="tvix mount", reason="--trusted-key says whom to believe about --closure, and there is none")
    return MountSpec(
        store=existing_store_url(arguments),
        destination=arguments.destination,
        root=parse_digest(digest) if digest else None,
        closure=parse_store_path(arguments.closure) if arguments.closure else None,
        trusted_keys=parse_trusted_keys(arguments.trusted_key),
        listing=arguments.list,
        allow_other=arguments.allow_other,
        uid=uid,
        gid=gid,
        status_file=os.path.abspath(arguments.status) if arguments.status else None,
        engine=arguments.engine,
        warn=warn,
        **near_of(arguments),  # type: ignore[arg-type]
    )


def _owner(text: str) -> tuple[int, int]:
    uid, _, gid = text.partition(":")
    if not (uid.isascii() and uid.isdigit() and gid.isascii() and gid.isdigit() and max(int(uid), int(gid)) < 1 << 32):
        raise UsageError(command="tvix mount", reason=f"--uid-gid {text} is not two numbers with a colon between")
    return int(uid), int(gid)


def _stats(destination: str) -> object:
    try:
        return json.loads(os.getxattr(destination, _STATS))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "its answer is no JSON"
        raise NotATvixMount(path=destination, reason=reason) from None
