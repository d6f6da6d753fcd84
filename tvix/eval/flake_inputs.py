"""The kinds of flake inputs: which attributes each has, what its URLs say, and how its attributes are written as a URL.

Attributes are strings, integers and booleans by name, `type` among them.
"""

from __future__ import annotations

from tvix.eval.errors import EvalError, InvalidUrl
from tvix.eval.hash_texts import hash_of_text, printed_hash
from tvix.eval.urls import Url, parse_url

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final, TypeAlias

    Attribute: TypeAlias = Any
    """A string, integer or boolean. Of a union of these, mypyc makes integers out of booleans."""
    Attributes: TypeAlias = dict[str, Attribute]

HOSTED: Final = frozenset(("github", "gitlab", "sourcehut"))
ALLOWED: Final[dict[str, str]] = {
    "github": "owner repo ref rev narHash lastModified host treeHash",
    "gitlab": "owner repo ref rev narHash lastModified host treeHash",
    "sourcehut": "owner repo ref rev narHash lastModified host treeHash",
    "path": "path rev revCount lastModified narHash",
    "indirect": "id ref rev narHash",
    "git": "url ref rev shallow submodules exportIgnore lastModified revCount narHash allRefs name dirtyRev dirtyShortRev "
    "verifyCommit keytype publicKey publicKeys",
    "hg": "url ref rev revCount narHash name",
    "file": "url narHash name unpack rev revCount lastModified",
    "tarball": "url narHash name unpack rev revCount lastModified",
}
"""The names that a kind has beside `type`."""

_BOOLEANS: Final = ("shallow", "submodules", "allRefs", "exportIgnore", "verifyCommit")
_VERIFIED: Final = ("verifyCommit", "keytype", "publicKey", "publicKeys")
_LETTERS: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
_WORD: Final = _LETTERS | frozenset("0123456789")
_HEX: Final = frozenset("0123456789abcdef")
_BAD_IN_GIT_REF: Final = ("//", "/.", "..", "\\", "*", ".lock/", "@{", ":", "?", "^", "~", "[", " ", "\x7f")


def is_id(text: str) -> bool:
    """Whether a text can be the name of a flake in a registry."""
    return text[:1] in _LETTERS and text != "" and all(c in _WORD or c in "_-" for c in text)


def is_rev(text: str) -> bool:
    """Whether it is a commit's hash."""
    return len(text) == 40 and all(c in _HEX for c in text)


def is_ref(text: str) -> bool:
    """Whether it can be a branch or tag."""
    return text != "" and (text[0] in _WORD or text[0] == "@") and all(c in _WORD or c in "_./@+-" for c in text)


def from_url(url: Url) -> Attributes:
    """The attributes that a URL says. Raises `EvalError`, `InvalidUrl` among them."""
    scheme = url.scheme
    if scheme in HOSTED:
        return _hosted(url)
    if scheme == "path":
        return _path(url)
    if scheme == "flake":
        return _indirect(url)
    if scheme in {"git", "git+http", "git+https", "git+ssh", "git+file"}:
        return _repository(url, "git", scheme.removeprefix("git+"))
    if scheme in {"hg+http", "hg+https", "hg+ssh", "hg+file"}:
        return _repository(url, "hg", scheme[3:])
    application, plus, transport = scheme.partition("+")
    if not plus:
        application, transport = "tarball", scheme
    if transport in {"file", "http", "https"} and application in {"file", "tarball"}:
        return _download(url, application, transport)
    raise EvalError(f"input '{url.text()}' is unsupported")


def _hosted(url: Url) -> Attributes:
    parts = [part for part in url.path.split("/") if part]
    if len(parts) < 2:
        raise InvalidUrl(f"URL '{url.text()}' is invalid")
    found: Attributes = {"type": url.scheme, "owner": parts[0], "repo": parts[1]}
    behind = "/".join(parts[2:])
    if len(parts) == 3 and is_rev(behind):
        found["rev"] = behind
    elif behind:
        found["ref"] = _checked_ref(url, behind)
    for name in sorted(url.query):
        value = url.query[name]
        if name in {"rev", "ref"} and name in found:
            raise InvalidUrl(f"URL '{url.text()}' contains multiple commit hashes or branch/tag names")
        if name == "rev":
            found["rev"] = _rev(value)
        elif name == "ref":
            found["ref"] = _checked_ref(url, value)
        elif name == "host":
            if not all(c in _WORD or c in ".-" for c in value):
                raise InvalidUrl(f"URL '{url.text()}' contains an invalid instance host")
            found["host"] = value
        elif name == "narHash":
            found["narHash"] = value
    if "ref" in found and "rev" in found:
        raise InvalidUrl(f"URL '{url.text()}' contains both a commit hash and a branch/tag name")
    return found


def _checked_ref(url: Url, text: str) -> str:
    if not is_ref(text):
        raise InvalidUrl(f"in URL '{url.text()}', '{text}' is not a commit hash or branch/tag name")
    return text


def _path(url: Url) -> Attributes:
    if url.authority:
        raise EvalError(f"path URL '{url.text()}' should not have an authority ('{url.authority}')")
    found: Attributes = {"type": "path", "path": url.path}
    for name in sorted(url.query):
        value = url.query[name]
        if name in {"rev", "narHash"}:
            found[name] = value
        elif name in {"revCount", "lastModified"}:
            if not _is_number(value):
                raise EvalError(f"path URL '{url.text()}' has invalid parameter '{name}'")
            found[name] = int(value)
        else:
            raise EvalError(f"path URL '{url.text()}' has unsupported parameter '{name}'")
    return found


def _is_number(text: str) -> bool:
    return 0 < len(text) <= 20 and text.isascii() and text.isdecimal() and int(text) < 1 << 64


def _indirect(url: Url) -> Attributes:
    parts = [part for part in url.path.split("/") if part]
    found: Attributes = {"type": "indirect"}
    if len(parts) == 2 and is_rev(parts[1]):
        found["rev"] = parts[1]
    elif len(parts) in {2, 3}:
        found["ref"] = _checked_ref(url, parts[1])
        if len(parts) == 3:
            if not is_rev(parts[2]):
                raise InvalidUrl(f"in flake URL '{url.text()}', '{parts[2]}' is not a commit hash")
            found["rev"] = parts[2]
    elif len(parts) != 1:
        raise InvalidUrl(f"GitHub URL '{url.text()}' is invalid")
    if not is_id(parts[0]):
        raise InvalidUrl(f"'{parts[0]}' is not a valid flake ID")
    found["id"] = parts[0]
    return found


def _repository(url: Url, kind: str, scheme: str) -> Attributes:
    found: Attributes = {"type": kind}
    rest: dict[str, str] = {}
    for name, value in url.query.items():
        if name in {"rev", "ref"} or (kind == "git" and name in {"keytype", "publicKey", "publicKeys"}):
            found[name] = value
        elif kind == "git" and name in _BOOLEANS:
            found[name] = value == "1"
        else:
            rest[name] = value
    found["url"] = Url(scheme, url.authority, url.path, rest, url.fragment).text()
    return checked(found)


def _download(url: Url, kind: str, transport: str) -> Attributes:
    found: Attributes = {"type": kind}
    for name in ("narHash", "rev"):
        if name in url.query:
            found[name] = url.query[name]
    for name in ("revCount", "lastModified"):
        if _is_number(url.query.get(name, "")):
            found[name] = int(url.query[name])
    own = ("type", *ALLOWED[kind].split(" "))
    rest = {name: value for name, value in url.query.items() if name not in own}
    found["url"] = Url(transport, url.authority, url.path, rest, url.fragment).text()
    return found


def checked(attributes: Attributes) -> Attributes:
    """The attributes of a known kind, as they are kept. Raises `EvalError`."""
    kind = string(attributes, "type")
    if kind in HOSTED:
        string(attributes, "owner")
        string(attributes, "repo")
    elif kind == "path":
        string(attributes, "path")
    elif kind == "indirect":
        if not is_id(string(attributes, "id")):
            raise InvalidUrl(f"'{attributes['id']}' is not a valid flake ID")
    elif kind == "git":
        return _checked_git(attributes)
    else:
        parse_url(string(attributes, "url"), [])
        if kind == "hg" and "ref" in attributes and not is_ref(string(attributes, "ref")):
            raise InvalidUrl(f"invalid Mercurial branch/tag name '{attributes['ref']}'")
    return attributes


def _checked_git(attributes: Attributes) -> Attributes:
    for name in _VERIFIED:
        if name in attributes:
            feature = "verified-fetches"
            raise EvalError(
                f"experimental Nix feature '{feature}' is disabled; add '--extra-experimental-features {feature}' to enable it"
            )
    for name in _BOOLEANS:
        if name in attributes and not isinstance(attributes[name], bool):
            raise EvalError(f"input attribute '{name}' is not a Boolean")
    if "ref" in attributes and _is_bad_git_ref(string(attributes, "ref")):
        raise InvalidUrl(f"invalid Git branch/tag name '{attributes['ref']}'")
    return {**attributes, "url": _git_url(string(attributes, "url"))}


def _is_bad_git_ref(text: str) -> bool:
    if text in {"", "@"} or text[0] in "./" or text[-1] in "./" or text.endswith(".lock"):
        return True
    return any(c < " " for c in text) or any(bad in text for bad in _BAD_IN_GIT_REF)


def _git_url(text: str) -> str:
    """`user@host:path` and bare paths as URLs."""
    before, at, behind = text.partition("@")
    if at and "/" not in before and ":" in behind:
        host, _, path = behind.rpartition(":")
        return f"ssh://{before}@{host}/{path}"
    if text.startswith("file:") or "://" in text:
        return text
    return Url("file", "", text, {}, "").text()


def string(attributes: Attributes, name: str) -> str:
    """An attribute that has to be a string. Raises `EvalError`."""
    if name not in attributes:
        raise EvalError(f"input attribute '{name}' is missing")
    value = attributes[name]
    if not isinstance(value, str):
        raise EvalError(f"input attribute '{name}' is not a string {json_of(attributes)}")
    return value


def json_of(attributes: Attributes) -> str:
    """The attributes, as errors show them."""
    from tvix.eval.formats.json_write import json_text

    return json_text(attributes, set())


def to_url(attributes: Attributes) -> Url:
    """The URL of the attributes of a known kind. Raises `EvalError`."""
    kind = string(attributes, "type")
    if kind in HOSTED:
        path = f"{string(attributes, 'owner')}/{string(attributes, 'repo')}"
        if "ref" in attributes and "rev" in attributes:
            raise EvalError(f"flake reference '{kind}:{path}' has both a commit hash and a branch/tag name")
        return Url(kind, None, path + _versions(attributes), _nar_hash(attributes), "")
    if kind == "path":
        query = {name: _query_text(value) for name, value in attributes.items() if name not in {"type", "path"}}
        return Url("path", None, string(attributes, "path"), query, "")
    if kind == "indirect":
        return Url("flake", None, string(attributes, "id") + _versions(attributes), {}, "")
    url = parse_url(string(attributes, "url"), [])
    if kind == "git" or kind == "hg":
        if url.scheme != "git" or kind == "hg":
            url.scheme = f"{kind}+{url.scheme}"
        if "rev" in attributes:
            url.query["rev"] = _rev(string(attributes, "rev"))
        if "ref" in attributes:
            url.query["ref"] = string(attributes, "ref")
        for name in ("shallow", "submodules", "exportIgnore"):
            if attributes.get(name) is True:
                url.query[name] = "1"
    else:
        url.query.update(_nar_hash(attributes))
    return url


def _versions(attributes: Attributes) -> str:
    text = ""
    if "ref" in attributes:
        text += "/" + string(attributes, "ref")
    if "rev" in attributes:
        text += "/" + _rev(string(attributes, "rev"))
    return text


def _query_text(value: Attribute) -> str:
    return value if isinstance(value, str) else str(int(value))


def _nar_hash(attributes: Attributes) -> dict[str, str]:
    if "narHash" not in attributes:
        return {}
    text = string(attributes, "narHash")
    if "-" not in text:
        raise EvalError(f"hash '{text}' is not SRI")
    algorithm, digest = hash_of_text(text, "")
    if algorithm != "sha256":
        raise EvalError("narHash must use SHA-256")
    return {"narHash": printed_hash(algorithm, digest, "sri")}


def _rev(text: str) -> str:
    """A commit's hash in base 16. Raises `EvalError`."""
    if ":" in text or "-" in text:
        algorithm, digest = hash_of_text(text, "")
    else:
        algorithm, digest = hash_of_text(text, "sha1")
    return printed_hash(algorithm, digest, "base16")
