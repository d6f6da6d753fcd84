"""Where things lie in the initrd: the contract between who makes it and the PID 1 that wakes up in it.

The text is `docs/formats/initrd.md`. PID 1 imports this module, so it imports nothing.
"""

from __future__ import annotations

APP = "app"
"""The frozen tree. The program is `APP/tvix`; `/init` is a symbolic link to it."""
PROGRAM = "app/tvix"
INIT = "init"
PROFILE = "app/profile"
"""The name of the frozen tree, one line."""
TINY = "initrd-tiny"
"""The tree without gRPC."""
MODULES = "usr/lib/modules"
"""Kernel modules, uncompressed, in one flat directory."""
MODULE_INDEX = "usr/lib/modules/index"
"""What to load, and for which device: see `initrd.modules.index`."""
BUILD_DATE = "etc/tvix/build-date"
"""Seconds since the epoch, decimal, one line: the clock of a machine that boots this is never before it."""
CREDENTIALS = "etc/tvix/credentials"
"""`ca.pem`, `cert.pem` and `key.pem`, where the image was given some: it is a secret then."""

LIBRARIES = "usr/lib/x86_64-linux-gnu"
LOADER_DIRECTORY = "usr/lib64"

DIRECTORIES = (
    "app",
    "dev",
    "etc",
    "etc/tvix",
    "mnt",
    "nix",
    "nix/store",
    "proc",
    "root",
    "run",
    "sys",
    "tmp",
    "usr",
    "usr/bin",
    "usr/lib",
    "usr/lib/modules",
    "usr/lib/x86_64-linux-gnu",
    "usr/lib64",
    "usr/sbin",
    "var",
)
"""Directories that are there even where nothing lies in them."""

LINKS = (
    ("bin", "usr/bin"),
    ("init", "app/tvix"),
    ("lib", "usr/lib"),
    ("lib64", "usr/lib64"),
    ("sbin", "usr/sbin"),
    ("var/run", "/run"),
)

DEVICES = (
    ("dev/console", 0o600, 5, 1),
    ("dev/null", 0o666, 1, 3),
    ("dev/urandom", 0o666, 1, 9),
)
"""Name, mode, major, minor. The kernel opens the console before anything is mounted; CPython reads urandom at start on CPUs without
RDRAND."""

FILES = (
    ("etc/group", b"root:x:0:\nnogroup:x:65534:\n"),
    ("etc/hosts", b"127.0.0.1 localhost\n::1 localhost\n"),
    ("etc/machine-id", b""),
    ("etc/nsswitch.conf", b"passwd: files\ngroup: files\nhosts: files dns\n"),
    ("etc/os-release", b'ID=tvix\nNAME="Tvix appliance"\nPRETTY_NAME="Tvix appliance (initrd)"\n'),
    ("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n"),
)
