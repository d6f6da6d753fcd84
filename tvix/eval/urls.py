"""URLs as C++ Nix takes them apart: RFC 3986, with `"`, `^` and spaces allowed in queries."""

from __future__ import annotations

from tvix.eval.annotations import final
from tvix.eval.errors import InvalidUrl

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

_LETTERS: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
_DIGITS: Final = frozenset("0123456789")
_UNRESERVED: Final = _LETTERS | _DIGITS | frozenset("-._~")
_SEGMENT: Final = _UNRESERVED | frozenset("!$&'\"()*+,;=:@/")
_AUTHORITY: Final = _UNRESERVED | frozenset("!$&'\"()*+,;=:@[]")
_QUERY: Final = _SEGMENT | frozenset('? "^')
_SCHEME: Final = frozenset("abcdefghijklmnopqrstuvwxyz0123456789+.-")
_HEX: Final = frozenset("0123456789abcdefABCDEF")
IN_PATH: Final = frozenset(":@/")
IN_QUERY: Final = frozenset(":@/?")


@final
class Url:
    """`authority` is None where there is none, which is not the same as an empty one; path and query are decoded."""

    def __init__(self, scheme: str, authority: str | None, path: str, query: dict[str, str], fragment: str) -> None:
        self.scheme = scheme
        self.authority = authority
        self.path = path
        self.query = query
        self.fragment = fragment

    def text(self) -> str:
        """The URL, its query sorted."""
        authority = "" if self.authority is None else "//" + self.authority
        query = "&".join([f"{encoded(name, IN_QUERY)}={encoded(self.query[name], IN_QUERY)}" for name in sorted(self.query)])
        fragment = "#" + encoded(self.fragment, IN_QUERY) if self.fragment else ""
        return f"{self.scheme}:{authority}{encoded(self.path, IN_PATH)}{'?' + query if query else ''}{fragment}"


def parse_url(text: str, warnings: list[str]) -> Url:
    """Raises `InvalidUrl`. What is wrong with the query, but no error, is added to `warnings`."""
    scheme, colon, rest = text.partition(":")
    if not colon or not scheme or not "a" <= scheme[0] <= "z" or not _only(scheme, _SCHEME):
        raise _invalid(text)
    rest, _, fragment = rest.partition("#")
    path, _, query = rest.partition("?")
    authority: str | None = None
    if path.startswith("//"):
        authority, slash, path = path[2:].partition("/")
        path = slash + path
        if not _valid(authority, _AUTHORITY):
            raise _invalid(text)
    if not _valid(path, _SEGMENT) or not _valid(query, _QUERY) or not _valid(fragment, _QUERY):
        raise _invalid(text)
    is_file = scheme.rpartition("+")[2] == "file"
    if is_file and authority:
        raise InvalidUrl(f"file:// URL '{text}' has unexpected authority '{authority}'")
    path = decoded(path)
    if is_file and not path:
        path = "/"
    return Url(scheme, authority, path, parse_query(query, warnings), decoded(fragment))


def parse_query(text: str, warnings: list[str]) -> dict[str, str]:
    """Names and values; of a name that comes twice the first counts. Raises `InvalidUrl`."""
    found: dict[str, str] = {}
    for item in text.split("&"):
        name, equals, value = item.partition("=")
        if equals:
            found.setdefault(name, decoded(value))
        elif item:
            warnings.append(f"dubious URI query '{item}' is missing equal sign '=', ignoring")
    return found


def decoded(text: str) -> str:
    """Without `%NN`. Raises `InvalidUrl`."""
    first, *others = text.split("%")
    for part in others:
        if not _only(part[:2], _HEX) or len(part) < 2:
            raise InvalidUrl(f"invalid URI parameter '{text}'")
        first += chr(int(part[:2], 16)) + part[2:]
    return first


def encoded(text: str, kept: frozenset[str]) -> str:
    """With `%NN` for everything but letters, digits, `-._~` and `kept`."""
    return "".join([c if c in _UNRESERVED or c in kept else f"%{ord(c):02X}" for c in text])


def _valid(text: str, allowed: frozenset[str]) -> bool:
    first, *others = text.split("%")
    if not _only(first, allowed):
        return False
    for part in others:
        if len(part) < 2 or not _only(part[:2], _HEX) or not _only(part[2:], allowed):
            return False
    return True


def _only(text: str, allowed: frozenset[str]) -> bool:
    for c in text:
        if c not in allowed:
            return False
    return True


def _invalid(text: str) -> InvalidUrl:
    return InvalidUrl(f"'{text}' is not a valid URL")
