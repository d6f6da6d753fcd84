"""The settings of C++ Nix, which its programs take as options, from files and from `$NIX_CONFIG`.

Those that mean something here are used; the others are known, so that what was written for C++ Nix is understood.
"""

from __future__ import annotations

import os

from appliance.cli.evaluation import ENVIRONMENT

BOOLEANS = frozenset(
    (
        "abort-on-warn", "accept-flake-config", "allow-dirty", "allow-dirty-locks", "allow-import-from-derivation",
        "allow-new-privileges", "allow-symlinked-store", "allow-unsafe-native-code-during-evaluation",
        "always-allow-substitutes", "auto-allocate-uids", "auto-optimise-store", "builders-use-substitutes",
        "compress-build-log", "debugger-on-trace", "debugger-on-warn", "eval-cache", "fallback", "filter-syscalls",
        "fsync-metadata", "fsync-store-paths", "http2", "ignore-try", "impersonate-linux-26", "keep-build-log",
        "keep-derivations", "keep-env-derivations", "keep-failed", "keep-going", "keep-outputs",
        "nix-shell-always-looks-for-shell-nix", "nix-shell-shebang-arguments-relative-to-script",
        "preallocate-contents", "print-missing", "pure-eval", "require-drop-supplementary-groups", "require-sigs",
        "restrict-eval", "run-diff-hook", "sandbox", "sandbox-fallback", "show-trace", "substitute",
        "sync-before-registering", "trace-function-calls", "trace-verbose", "trust-tarballs-from-git-forges",
        "use-case-hack", "use-cgroups", "use-registries", "use-sqlite-wal", "use-xdg-base-directories", "warn-dirty",
    )
)  # fmt: skip
LISTS = frozenset(
    (
        "access-tokens", "allowed-impure-host-deps", "allowed-uris", "allowed-users", "build-hook",
        "experimental-features", "extra-platforms", "hashed-mirrors", "ignored-acls", "impure-env", "nix-path",
        "plugin-files", "sandbox-paths", "secret-key-files", "substituters", "system-features", "trusted-public-keys",
        "trusted-substituters", "trusted-users",
    )
)  # fmt: skip
OTHERS = frozenset(
    (
        "bash-prompt", "bash-prompt-prefix", "bash-prompt-suffix", "build-dir", "build-poll-interval",
        "build-users-group", "builders", "commit-lock-file-summary", "connect-timeout", "cores", "diff-hook",
        "download-attempts", "download-buffer-size", "download-speed", "eval-system", "flake-registry",
        "gc-reserved-space", "http-connections", "id-count", "log-lines", "max-build-log-size", "max-call-depth",
        "max-free", "max-jobs", "max-silent-time", "max-substitution-jobs", "min-free", "min-free-check-interval",
        "nar-buffer-size", "narinfo-cache-negative-ttl", "narinfo-cache-positive-ttl", "netrc-file", "post-build-hook",
        "pre-build-hook", "sandbox-build-dir", "sandbox-dev-shm-size", "ssl-cert-file", "stalled-download-timeout",
        "start-id", "store", "system", "tarball-ttl", "timeout", "upgrade-nix-store-path-url", "user-agent-suffix",
        "warn-large-path-threshold",
    )
)  # fmt: skip
_YES = ("true", "yes", "1")
_NO = ("false", "no", "0")
_MAX_SIZE = (1 << 64) - 1


class InvalidSetting(Exception):
    """A value that a setting can't have; the text is what C++ Nix says."""


class NixSettings:
    """Settings by name, as they were written last; lists with everything that was added to them."""

    def __init__(self) -> None:
        self._values: dict[str, str] = {}

    def set(self, name: str, value: str) -> bool:
        """Set one, or add to a list by `extra-NAME`. False for a setting that doesn't exist. Raises `InvalidSetting`."""
        if name in BOOLEANS:
            if value not in _YES and value not in _NO and name != "sandbox":
                raise InvalidSetting(f"Boolean setting '{name}' has invalid value '{value}'")
            self._values[name] = "true" if value in _YES else "false"
        elif name in LISTS:
            self._values[name] = value
        elif name.startswith("extra-") and name[6:] in LISTS:
            self._values[name[6:]] = f"{self._values.get(name[6:], '')} {value}".strip()
        elif name in OTHERS:
            if name == "max-call-depth" and not (value.isascii() and value.isdigit() and int(value) <= _MAX_SIZE):
                raise InvalidSetting(f"setting '{name}' has invalid value '{value}'")
            self._values[name] = value
        else:
            return False
        return True

    def get(self, name: str) -> str | None:
        """A setting; None where it was never set."""
        return self._values.get(name)

    def is_on(self, name: str) -> bool:
        """Whether a setting that is off by default was switched on."""
        return self._values.get(name) == "true"

    def words(self, name: str) -> list[str]:
        """The members of a list."""
        return self._values.get(name, "").split()

    def read(self, text: str) -> list[str]:
        """Take `name = value` lines over; the answer is the names that don't exist. Raises `InvalidSetting`."""
        unknown: list[str] = []
        for line in text.split("\n"):
            name, equals, value = line.partition("#")[0].partition("=")
            if equals and not self.set(name.strip(), " ".join(value.split())):
                unknown.append(name.strip())
        return unknown


def read_files(settings: NixSettings) -> list[str]:
    """Take over what the machine's and the user's `nix.conf` and `$NIX_CONFIG` say; the answer is the names that don't exist.

    Raises `InvalidSetting`.
    """
    unknown = settings.read(_contents(ENVIRONMENT.get("NIX_CONF_DIR", "/etc/nix") + "/nix.conf"))
    home = ENVIRONMENT.get("HOME", "")
    places = ENVIRONMENT.get("NIX_USER_CONF_FILES", "")
    if not places:
        own = ENVIRONMENT.get("XDG_CONFIG_HOME", "") or home + "/.config"
        others = ENVIRONMENT.get("XDG_CONFIG_DIRS", "") or "/etc/xdg"
        places = ":".join(f"{directory}/nix/nix.conf" for directory in (own, *others.split(":")))
    for place in places.split(":")[::-1]:
        unknown += settings.read(_contents(place))
    return unknown + settings.read(ENVIRONMENT.get("NIX_CONFIG", ""))


def _contents(path: str) -> str:
    try:
        descriptor = os.open(path.encode("latin-1"), os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    with open(descriptor, "rb") as file:
        return file.read().decode("latin-1")
