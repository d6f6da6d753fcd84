"""`tvix store verify`: whether a store is whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

from appliance.cli.options import add_json, add_progress, add_store, describe, open_existing_store, print_json, progress
from tvix.errors import EX_DATAERR

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

SUMMARY = "Look whether a store is whole: every record, every reference, and if asked all contents."


def configure(parser: ArgumentParser) -> None:
    """What it takes."""
    describe(
        parser,
        "tvix store verify",
        "tvix store verify --check-contents --store pack:/var/lib/tvix",
        text="A pack: store is looked at record by record: checksums, packs against the index, directories and path infos against\n"
        "what they refer to. Of other stores the trees of all path infos are walked. Nothing is changed, and everything\n"
        "that is wrong is listed; the exit code is then 65.",
        exits=(65, 66, 69),
    )
    parser.add_argument("--check-contents", action="store_true", help="read and hash every blob, and every path as a NAR")
    add_store(parser)
    add_json(parser)
    add_progress(parser)


def run(arguments: Namespace) -> int:
    """Print what was found."""
    from tvix.store.verify import verify_store

    with progress(arguments) as emit, open_existing_store(arguments) as store:
        findings = verify_store(store, arguments.check_contents, emit)
    if arguments.json:
        print_json(
            {
                "ok": not findings.problems,
                "checked": findings.counts,
                "incomplete": findings.incomplete,
                "problems": [{"kind": each.kind, "name": each.name, "reason": each.reason} for each in findings.problems],
            }
        )
    else:
        for problem in findings.problems:
            print(problem)
        seen = ", ".join(f"{count} {kind if count == 1 else _plural(kind)}" for kind, count in sorted(findings.counts.items()))
        dropped = f"; {findings.incomplete} refer to what isn't here and needn't be" if findings.incomplete else ""
        wrong = f"{len(findings.problems)} problems" if len(findings.problems) != 1 else "1 problem"
        print(f"{wrong} in {seen or 'an empty store'}{dropped}")
    return EX_DATAERR if findings.problems else 0


def _plural(kind: str) -> str:
    return f"{kind[:-1]}ies" if kind.endswith("y") else f"{kind}s"
