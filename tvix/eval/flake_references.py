"""Flake references such as `nixpkgs/nixos-unstable`, `github:owner/repo?dir=x` and `/a/path`, as attributes and back."""

from __future__ import annotations

from tvix.eval.errors import EvalError, InvalidUrl
from tvix.eval.flake_inputs import ALLOWED, checked, from_url, is_id, is_ref, json_of, string, to_url
from tvix.eval.urls import Url, decoded, parse_query, parse_url

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tvix.eval.flake_inputs import Attributes


def parse_reference(text: str, warnings: list[str]) -> Attributes:
    """The attributes of a reference. Raises `EvalError`. What is odd, but no error, is added to `warnings`."""
    url = _short(text)
    if url is not None:
        found = _parsed(url)
    else:
        try:
            url = parse_url(text, warnings)
            found = _parsed(url)
        except InvalidUrl:
            url = _local(text, warnings)
            found = _parsed(url)
    if url.fragment:
        raise EvalError(f"unexpected fragment '{url.fragment}' in flake reference '{text}'")
    return found


def _parsed(url: Url) -> Attributes:
    directory = url.query.pop("dir", "")
    found = from_url(url)
    if directory:
        found["dir"] = directory
    return found


def _short(text: str) -> Url | None:
    """`ID`, `ID/REF` or `ID/REF/REV`."""
    path, _, fragment = text.partition("#")
    name, slash, behind = path.partition("/")
    if not is_id(name) or (slash and not is_ref(behind)):
        return None
    return Url("flake", None, path, {}, decoded(fragment))


def _local(text: str, warnings: list[str]) -> Url:
    """A path on this machine."""
    rest, _, fragment = text.partition("#")
    path, _, query = rest.partition("?")
    parameters = parse_query(query, warnings)
    fragment = decoded(fragment)
    if not path.startswith("/"):
        raise InvalidUrl(f"flake reference '{text}' is not an absolute path")
    return Url("path", "", path, parameters, fragment)


def reference_text(attributes: Attributes) -> str:
    """The reference as one text. Raises `EvalError`."""
    attributes = dict(attributes)
    whole = attributes.copy()
    directory = attributes.pop("dir", "")
    if "type" not in attributes:
        raise EvalError("'type' attribute to specify input scheme is required but not provided")
    kind = string(attributes, "type")
    allowed = ALLOWED.get(kind)
    if allowed is None:
        raise EvalError(f"cannot show unsupported input '{json_of(attributes)}'")
    for name in sorted(attributes):
        if name != "type" and name not in allowed.split(" "):
            raise EvalError(f"input attribute '{name}' not supported by scheme '{kind}'")
    attributes = checked(attributes)
    for name in ("ref", "rev"):
        if name in attributes:
            string(attributes, name)
    for name in ("revCount", "lastModified"):
        value = attributes.get(name, 0)
        if isinstance(value, (bool, str)):
            raise EvalError(f"input attribute '{name}' is not an integer")
    if not isinstance(directory, str):
        string(whole, "dir")
    url = to_url(attributes)
    if directory:
        url.query["dir"] = str(directory)
    return url.text()
