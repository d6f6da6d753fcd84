"""What the kernel command line may say to PID 1: one table that parses, checks and prints the help.

Words are split as Linux splits them (`next_arg` in lib/cmdline.c): at blanks outside double quotes; quotes around a whole word or
around a value are dropped. Keys of others are left alone, but every `tvix.` or `snix.` key must be known here, so that a mistyped
one is an error and not a machine that quietly does something else. Of a key given twice the last counts: boot loaders override so.
"""

from __future__ import annotations

from binascii import Error as Base64Error
from binascii import a2b_base64

from tvix.errors import EX_USAGE, TvixError


class Key:
    """One row: `argument` is None for a flag, `alias_of` names the key it stands for."""

    __slots__ = ("alias_of", "argument", "help", "name")

    def __init__(self, name: str, argument: str | None, help_: str, alias_of: str | None = None) -> None:
        self.name = name
        self.argument = argument
        self.help = help_
        self.alias_of = alias_of


KEYS = (
    Key(
        "tvix.store",
        "URL",
        "the store to mount, such as grpc+http://10.0.2.2:8000; ?deadline=SECONDS: how long it may be away (30)",
    ),
    Key(
        "tvix.root",
        "blake3-…",
        "the closure root to see, as `tvix store closure` prints it: what doesn't hash to it is refused",
    ),
    Key("tvix.closure", "STORE_PATH", "see the closure of this path, as signed by a tvix.trusted-key; or as the store tells it"),
    Key(
        "tvix.trusted-key",
        "NAME:BASE64",
        "believe a closure root that this key has signed (`tvix store sign-closure`); several stand in quotes, with blanks between",
    ),
    Key("tvix.trust", "any", "believe whatever the store says about tvix.closure"),
    Key("tvix.run", '"PROGRAM ARGS"', "run this program, split at blanks, report its exit status, power off"),
    Key("tvix.shell", None, "run an interactive bash or sh out of the closure, then power off"),
    Key("tvix.find", None, "list the files of the mounted store, then power off"),
    Key("init", "PATH", "hand the machine over to this init out of the closure; the mount lives on"),
    Key(
        "ip",
        "CLIENT:SERVER:GATEWAY:NETMASK:HOST:DEVICE:AUTOCONF:DNS0:DNS1",
        "the kernel's syntax; without it, DHCP on every link that has carrier",
    ),
    Key(
        "tvix.prefetch",
        "hot|auto|demand|none",
        "what comes before it is read: what was read the last time, and neighbours (hot); where nothing is recorded, the whole"
        " closure up to 64 MB (auto); neighbours alone (demand)",
    ),
    Key("tvix.on-failure", "prompt|poweroff|reboot", "what follows a step that failed (prompt)"),
    Key("tvix.debug", None, "say more: modules, packets, tracebacks"),
    Key("snix.run", "PROGRAM", "the same as tvix.run", "tvix.run"),
    Key("snix.shell", None, "the same as tvix.shell", "tvix.shell"),
    Key("snix.find", None, "the same as tvix.find", "tvix.find"),
)
"""Every key that means something to PID 1."""

PREFETCH = ("hot", "auto", "demand", "none")
"""See `tvix.mount.prefetch.MODES`. The first is the default: the whole of a closure would be in the way of what is read, and in
memory, where a boot keeps what it fetched."""

ACTIONS = ("tvix.run", "tvix.shell", "tvix.find", "init")
_OURS = ("tvix.", "snix.")
_ROOT_PREFIX = "blake3-"
_ROOT_BYTES = 32
_KEY_BYTES = 32
_STORE_DIR = "/nix/store/"


class InvalidCommandLine(TvixError):
    """The kernel command line says something that can't be understood or doesn't go together."""

    identifier = "boot.invalid-command-line"
    message = "kernel command line: {reason}"
    hint = "the keys are listed by `tvix boot --help`"
    exit_code = EX_USAGE


class Contract:
    """What the command line asks for. `action` is one of `ACTIONS`; `argument` its value, or None for flags.

    Exactly one of `root` and `closure` is set. `trusted_keys` belong to `closure`, which is believed where there are none.
    `init_arguments` follow ` -- ` and belong to whatever `init=` names.
    """

    __slots__ = ("action", "argument", "closure", "init_arguments", "ip", "prefetch", "root", "store", "trusted_keys")

    def __init__(self, words: dict[str, str | None], init_arguments: list[str]) -> None:
        """Raises `InvalidCommandLine`."""
        self.init_arguments = init_arguments
        self.ip = words.get("ip")
        self.action = _action(words)
        self.argument = words[self.action]
        self.store = _store(words)
        self.root, self.closure = _view(words)
        self.trusted_keys = _trusted_keys(words)
        self.prefetch = words.get("tvix.prefetch") or PREFETCH[0]
        if self.prefetch not in PREFETCH:
            raise InvalidCommandLine(reason=f"tvix.prefetch={self.prefetch} is none of {', '.join(PREFETCH)}")
        if self.action in ("tvix.run", "init"):
            _check_program(self.action, self.argument or "")


def split(line: str) -> tuple[list[tuple[str, str | None]], list[str]]:
    """The words of a kernel command line as (key, value), None where there is no `=`; and the words after ` -- `."""
    pairs: list[tuple[str, str | None]] = []
    words = _words(line)
    for number, word in enumerate(words):
        if word == "--":
            return pairs, [_unquote(rest) for rest in words[number + 1 :]]
        whole = word.startswith('"')
        key, equals, value = (_unquote(word) if whole else word).partition("=")
        pairs.append((key, (value if whole else _unquote(value)) if equals else None))
    return pairs, []


def read(line: str) -> tuple[dict[str, str | None], list[str]]:
    """Our keys with their values, aliases resolved, and the arguments of init.

    Raises `InvalidCommandLine` for a key it doesn't know, a value that is missing or one too many.
    """
    table = {key.name: key for key in KEYS}
    words: dict[str, str | None] = {}
    pairs, init_arguments = split(line)
    for name, value in pairs:
        key = table.get(name)
        if key is None:
            if name.startswith(_OURS):
                raise InvalidCommandLine(reason=f"{name} is not a key{_suggestion(name)}")
            continue
        if key.argument is None and value is not None:
            raise InvalidCommandLine(reason=f"{name} takes no value (it has {value!r})")
        if key.argument is not None and not value:
            raise InvalidCommandLine(reason=f"{name} needs a value: {name}={key.argument}")
        words[key.alias_of or name] = value
    return words, init_arguments


def on_failure(line: str) -> str:
    """`prompt`, `poweroff` or `reboot`. Never raises, since it decides what follows an error; `parse` complains."""
    value = dict(split(line)[0]).get("tvix.on-failure")
    return value if value in ("poweroff", "reboot") else "prompt"


def debug(line: str) -> bool:
    """Whether `tvix.debug` is there. Never raises."""
    return "tvix.debug" in dict(split(line)[0])


def parse(line: str) -> Contract:
    """Read a kernel command line. Raises `InvalidCommandLine`."""
    words, init_arguments = read(line)
    choice = words.get("tvix.on-failure", "prompt")
    if choice not in ("prompt", "poweroff", "reboot"):
        raise InvalidCommandLine(reason=f"tvix.on-failure={choice} is none of prompt, poweroff, reboot")
    return Contract(words, init_arguments)


def help_text() -> str:
    """The table, for `tvix boot --help`."""
    lines = []
    for key in KEYS:
        lines.append(f"  {key.name}={key.argument}" if key.argument else f"  {key.name}")
        lines.append(f"      {key.help}")
    return "\n".join(lines)


def _words(line: str) -> list[str]:
    words: list[str] = []
    word = ""
    quoted = False
    for character in line:
        if character.isspace() and not quoted:
            if word:
                words.append(word)
            word = ""
            continue
        if character == '"':
            quoted = not quoted
        word += character
    return [*words, word] if word else words


def _unquote(text: str) -> str:
    return text[1:].removesuffix('"') if text.startswith('"') else text


def _action(words: dict[str, str | None]) -> str:
    named = [key for key in ACTIONS if key in words]
    if not named:
        raise InvalidCommandLine(reason="nothing says what to do: give one of tvix.run=, tvix.shell, tvix.find, init=")
    if len(named) > 1:
        raise InvalidCommandLine(reason=f"{' and '.join(named)} each say what to do: give one of them")
    return named[0]


def _store(words: dict[str, str | None]) -> str:
    store = words.get("tvix.store")
    if not store:
        raise InvalidCommandLine(reason="tvix.store=URL is missing: nothing says where the store is")
    scheme, colon, _ = store.partition(":")
    if not colon or not scheme.replace("+", "").isalnum():
        raise InvalidCommandLine(reason=f"tvix.store={store} is not a store URL: it has no scheme, such as grpc+http://HOST:PORT")
    return store


def _view(words: dict[str, str | None]) -> tuple[str | None, str | None]:
    root, closure, trust = (words.get(key) for key in ("tvix.root", "tvix.closure", "tvix.trust"))
    if root and closure:
        raise InvalidCommandLine(reason="tvix.root and tvix.closure each say what may be seen: give one of them")
    if trust not in (None, "any"):
        raise InvalidCommandLine(reason=f"tvix.trust={trust} is not understood: the only value is any")
    if root:
        _check_root(root)
        return root, None
    if closure:
        _check_program("tvix.closure", closure)
        if trust is None and "tvix.trusted-key" not in words:
            raise InvalidCommandLine(
                reason="tvix.closure believes what the store says: give tvix.trusted-key=NAME:BASE64, add tvix.trust=any,"
                " or pin tvix.root="
            )
        return None, closure
    raise InvalidCommandLine(reason="nothing says what may be seen: give tvix.root=, or tvix.closure= with tvix.trust=any")


def _trusted_keys(words: dict[str, str | None]) -> tuple[str, ...]:
    text = words.get("tvix.trusted-key")
    if text is None:
        return ()
    if "tvix.closure" not in words:
        raise InvalidCommandLine(reason="tvix.trusted-key goes with tvix.closure, and there is none")
    if "tvix.trust" in words:
        raise InvalidCommandLine(reason="tvix.trust and tvix.trusted-key each say what to believe: give one of them")
    keys = tuple(text.split())
    for key in keys:
        name, colon, encoded = key.partition(":")
        if not name or not colon or _base64_bytes(encoded) != _KEY_BYTES:
            raise InvalidCommandLine(reason=f"tvix.trusted-key={key} is not a public key: NAME: and 44 characters of base64")
    return keys


def _base64_bytes(text: str) -> int:
    """How many bytes it stands for, -1 for what isn't base64."""
    try:
        return len(a2b_base64(text.encode("ascii"), strict_mode=True))
    except (UnicodeEncodeError, Base64Error):
        return -1


def _check_root(root: str) -> None:
    """What `tvix.castore.digests` checks again in the mount process; here it costs no import."""
    if not root.startswith(_ROOT_PREFIX) or _base64_bytes(root.removeprefix(_ROOT_PREFIX)) != _ROOT_BYTES:
        raise InvalidCommandLine(reason=f"tvix.root={root} is not a closure root: blake3- and 44 characters of base64")


def _check_program(key: str, value: str) -> None:
    path = value.split(maxsplit=1)[0] if value.split() else ""
    if key == "tvix.run" and path.startswith("/"):
        return
    if not path.startswith(_STORE_DIR) or path == _STORE_DIR:
        where = "an absolute path" if key == "tvix.run" else "a path in /nix/store"
        raise InvalidCommandLine(reason=f"{key}={value} does not name {where}")


def _suggestion(name: str) -> str:
    """` (did you mean …?)` where one key is near enough."""
    distance, nearest = min((_distance(name, key.name), key.name) for key in KEYS)
    return f" (did you mean {nearest}?)" if distance <= 3 else ""


def _distance(one: str, other: str) -> int:
    """Levenshtein's distance."""
    row = list(range(len(other) + 1))
    for number, character in enumerate(one, 1):
        left, row = row, [number]
        for column, candidate in enumerate(other):
            row.append(min(left[column] + (character != candidate), left[column + 1] + 1, row[column] + 1))
    return row[-1]
