"""Numbers and names as people read them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tvix.events import Event

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def title(event: Event) -> str:
    """What an operation is called: `ingest ./result`. Start and stop records say the path."""
    path = event["fields"].get("path")
    return f"{event['what']} {path}" if path else event["what"]


def size(byte_count: float) -> str:
    """`1.5 MiB`."""
    for unit in _UNITS:
        if byte_count < 1024 or unit == _UNITS[-1]:
            return f"{byte_count:.0f} B" if unit == "B" else f"{byte_count:.1f} {unit}"
        byte_count /= 1024
    raise AssertionError


def amount(event: Event) -> str:
    """How far an operation is: `1,234 of 50,000 files`, `3.0 MiB`, or nothing where it counts nothing."""
    if not event["unit"]:
        return ""
    if event["unit"] == "bytes":
        done, total = size(event["done"]), event["total"] is not None and size(event["total"])
        return f"{done} of {total}" if total else done
    of_total = "" if event["total"] is None else f" of {event['total']:,}"
    unit = event["unit"].removesuffix("s") if event["done"] == 1 and event["total"] is None else event["unit"]
    return f"{event['done']:,}{of_total} {unit}"


def elapsed(seconds: float) -> str:
    """`0.4 s`, `75 s`, `12 min`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    return f"{seconds:.0f} s" if seconds < 600 else f"{seconds / 60:.0f} min"
