"""Path infos as JSON: both shapes that stock Nix prints are read, one is written, everything else is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tvix.castore.digests import digest_of
from tvix.castore.nodes import FileNode
from tvix.nix_compat.store_path import StorePath, StorePathDigest
from tvix.store.path_info_json import InvalidPathInfoJson, parse_path_infos, path_infos_object

PATH = str(StorePath(StorePathDigest(b"p" * 20), "hello-1.0"))
LIBRARY = str(StorePath(StorePathDigest(b"l" * 20), "glibc-2.36"))
FULL: dict[str, Any] = {
    "ca": "fixed:r:sha256:0sndnqs6v15536a5h2sbgy7wlymvgdk380imxfzmz8gf9gk351kp",
    "deriver": str(StorePath(StorePathDigest(b"d" * 20), "hello-1.0.drv")),
    "narHash": "sha256-" + "A" * 43 + "=",
    "narSize": 120,
    "references": sorted([LIBRARY, PATH]),
    "registrationTime": 1700000000,
    "signatures": ["cache-1:" + "A" * 86 + "=="],
    "ultimate": False,
}


def parse(document: object) -> list[Any]:
    return list(parse_path_infos(json.dumps(document), "INFO"))


def test_what_is_written_is_read_back() -> None:
    (told,) = parse({PATH: FULL})
    info = told.with_node(FileNode(digest_of(b"x"), 1, False))
    assert path_infos_object([info]) == {PATH: FULL}


def test_the_older_shape_is_read_alike() -> None:
    assert parse([{**FULL, "path": PATH, "valid": True}]) == parse({PATH: FULL})


def test_what_may_be_left_out() -> None:
    (told,) = parse([{"path": PATH, "narHash": FULL["narHash"], "narSize": 120}])
    assert (told.references, told.signatures, told.deriver, told.content_address, told.registration_time) == (
        (),
        (),
        None,
        None,
        None,
    )


@pytest.mark.parametrize("text", ["sha256:" + "0" * 52, "sha256:" + "0" * 64, "sha256:" + "A" * 43 + "="])
def test_a_hash_in_any_form(text: str) -> None:
    assert parse({PATH: {**FULL, "narHash": text}})[0].nar_sha256 == bytes(32)


WRONG = {
    "no JSON": ("{", "Expecting"),
    "nested without end": ("[" * 100_000, "recursion"),
    "a number": ("1", "neither an object nor an array"),
    "not valid": (json.dumps({PATH: None}), "is not valid in the store"),
    "not valid, older": (json.dumps([{"path": PATH, "valid": False}]), "is not valid in the store"),
    "no path": (json.dumps([{"narSize": 1}]), "has no path"),
    "not an object": (json.dumps([1]), "has no path"),
    "a path for nothing": (json.dumps({PATH: 1}), "isn't an object"),
    "a path elsewhere": (json.dumps({"/tmp/x": FULL}), "of /tmp/x: "),
    "twice": (json.dumps([{**FULL, "path": PATH}] * 2), "a path comes twice"),
    "a key twice": (f'{{"{PATH}": 1, "{PATH}": 2}}', "a key comes twice"),
}
for key, value, reason in (
    ("narHash", None, "narHash is missing"),
    ("narHash", 5, "narHash is not a text"),
    ("narHash", "sha256-x", "is not a hash"),
    ("narHash", "md5:" + "0" * 32, "by md5"),
    ("narSize", None, "narSize is not a size"),
    ("narSize", True, "narSize is not a size"),
    ("narSize", -1, "narSize is not a size"),
    ("narSize", 1 << 63, "narSize is not a size"),
    ("narSize", 1.5, "narSize is not a size"),
    ("references", ["x"], "'x' is not a store path"),
    ("references", "x", "references is not an array of texts"),
    ("signatures", [1], "signatures is not an array of texts"),
    ("signatures", ["x"], "'x'"),
    ("deriver", "x", "'x' is not a store path"),
    ("ca", "x", "not a content address"),
    ("registrationTime", "x", "registrationTime is not a number"),
):
    WRONG[f"{key} {value}"] = (json.dumps({PATH: {**FULL, key: value}}), reason)


@pytest.mark.parametrize(("text", "reason"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_said(text: str, reason: str) -> None:
    with pytest.raises(InvalidPathInfoJson) as refused:
        parse_path_infos(text, "INFO")
    assert reason in str(refused.value)
    assert str(refused.value).startswith("INFO is not what")
    assert "\n" not in str(refused.value)


def test_bytes_that_are_no_text() -> None:
    with pytest.raises(InvalidPathInfoJson):
        parse_path_infos(b"\xff\xfe\xfd", "INFO")
