"""Entries of the search path, and what is found by them."""

from __future__ import annotations

import pytest

from tvix.eval.errors import NotInSearchPath
from tvix.eval.io_memory import MemoryIO
from tvix.eval.search_path import SearchPath, parse_entry, split_entries

IO = MemoryIO({"/a/x": b"", "/b/x": b"", "/b/y/z": b""}, {"/link": "b"})


@pytest.mark.parametrize(
    ("text", "entries"),
    [
        ("", []),
        ("/a", [("", "/a")]),
        (":/a::", [("", "/a")]),
        ("p=/a:/b", [("p", "/a"), ("", "/b")]),
        ("p=/a=b", [("p", "/a=b")]),
        ("https://h/x:c=/d", [("", "https://h/x"), ("c", "/d")]),
        ("x=https://h:80/p", [("x", "https://h"), ("", "80/p")]),
        ("a=channel:nixos:/b", [("a", "channel:nixos"), ("", "/b")]),
        ("flake:nixpkgs:/b", [("", "flake:nixpkgs"), ("", "/b")]),
        ("a=foo://x", [("a", "foo"), ("", "//x")]),
        ("/a:http:/b", [("", "/a"), ("", "http"), ("", "/b")]),
    ],
)
def test_variable(text: str, entries: list[tuple[str, str]]) -> None:
    assert split_entries(text) == entries


def _find(name: str, *entries: str, pure: bool = False) -> tuple[str, list[str]]:
    said: list[str] = []
    path = SearchPath(IO, "/b", said.append, pure=pure).find([parse_entry(entry) for entry in entries], name)
    return path, said


@pytest.mark.parametrize(
    ("name", "entries", "path"),
    [
        ("x", ("/a", "/b"), "/a/x"),
        ("y/z", ("/a", "/b"), "/b/y/z"),
        ("p", ("p=/a",), "/a"),
        ("p/x", ("p=/a", "/b"), "/a/x"),
        ("p/y", ("p=/a", "p=/b"), "/b/y"),
        ("link", ("/",), "/b"),
        ("p/x", ("p=/link",), "/b/x"),
        ("p/z", ("p=y",), "/b/y/z"),
        ("p/q", ("p/q=/a",), "/a"),
        ("p/../a/x", ("p=/b",), "/a/x"),
        ("nix/fetchurl.nix", (), "<nix/fetchurl.nix>"),
        ("nix/x", ("nix=/a",), "/a/x"),
    ],
)
def test_found(name: str, entries: tuple[str, ...], path: str) -> None:
    assert _find(name, *entries) == (path, [])


@pytest.mark.parametrize(
    ("name", "entries"), [("x", ()), ("pq", ("p=/a",)), ("p/none", ("p=/a",)), ("x", ("p=/a",)), ("a/x", ("a/=/",))]
)
def test_not_found(name: str, entries: tuple[str, ...]) -> None:
    with pytest.raises(NotInSearchPath, match=f"file '{name}' was not found in the Nix search path"):
        _find(name, *entries)


def test_pure() -> None:
    with pytest.raises(NotInSearchPath, match="cannot look up '<x>' in pure evaluation mode"):
        _find("x", pure=True)


def test_entries_that_are_not_there_are_told_once() -> None:
    said: list[str] = []
    search = SearchPath(IO, "/", said.append, pure=False)
    entries = [("", "/none"), ("", "https://h/x"), ("", "/a")]
    assert [search.find(entries, "x"), search.find(entries, "x")] == ["/a/x", "/a/x"]
    assert said == [
        "warning: Nix search path entry '/none' does not exist, ignoring",
        "warning: Nix search path entry 'https://h/x' cannot be downloaded, ignoring",
    ]
