"""How errors are told."""

from __future__ import annotations

import errno
import json

import pytest

from appliance.cli import failure
from tvix.castore.addresses import InvalidStoreUrl
from tvix.errors import TvixError


class Strange(TvixError):
    """An error for this test."""

    identifier = "test.strange"
    message = "{what} is strange"
    hint = "look\nelsewhere"


def test_an_error_is_one_line_and_a_hint() -> None:
    assert (
        failure.render(Strange(what="a\nb\x1b[2J\x9b"))
        == "tvix: error: a\\nb\\x1b[2J\\x9b is strange\ntvix: hint: look\\nelsewhere"
    )


def test_an_error_without_a_hint_is_one_line() -> None:
    assert failure.render(failure.OutOfMemory()) == "tvix: error: out of memory"


def test_json_of_an_error() -> None:
    error = InvalidStoreUrl(url="x", reason="why")
    assert json.loads(json.dumps(failure.error_object(error))) == {
        "error": {
            "identifier": "castore.invalid-store-url",
            "message": "'x' is not a store address: why",
            "hint": InvalidStoreUrl.hint,
            "exitCode": 64,
            "fields": {"url": "x", "reason": "why"},
        }
    }


@pytest.mark.parametrize(
    ("error", "identifier", "code", "text"),
    [
        (PermissionError(errno.EACCES, "Permission denied", b"/x\xff"), "cli.system-refused", 74, "/x\udcff: Permission denied"),
        (FileNotFoundError(errno.ENOENT, "No such file", "/x", None, "/y"), "cli.not-there", 66, "/x to /y: No such file"),
        (OSError(errno.ENOSPC, "No space left on device"), "cli.system-refused", 74, "No space left on device"),
        (MemoryError(), "cli.out-of-memory", 75, "out of memory"),
    ],
)
def test_errors_of_the_system(error: BaseException, identifier: str, code: int, text: str) -> None:
    told = failure.as_tvix_error(error, [])
    assert (told.identifier, told.exit_code, str(told)) == (identifier, code, text)


def test_a_bug_where_no_report_can_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/proc/nonexistent")
    told = failure.as_tvix_error(ZeroDivisionError("oh"), [])
    assert str(told) == "this is a bug in tvix: ZeroDivisionError: oh (no report could be written)"
    assert told.exit_code == 70


def test_a_missing_module_of_a_frozen_tree(monkeypatch: pytest.MonkeyPatch) -> None:
    error = ModuleNotFoundError("No module named 'lmdb'", name="lmdb")
    assert failure.as_tvix_error(error, []).identifier == "cli.internal-error"
    monkeypatch.setattr("sys.frozen", True, raising=False)
    assert str(failure.as_tvix_error(error, [])) == "the module lmdb, which this needs, is not in this build of tvix"
