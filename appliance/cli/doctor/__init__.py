"""`tvix doctor`: what this machine has of what the program can use, and what follows from that."""

from __future__ import annotations

from typing import TYPE_CHECKING

from appliance.cli.options import add_json, describe, print_json
from appliance.one_line import one_line

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

SUMMARY = "Say what this machine has of kernel, FUSE, namespaces, nspawn, QEMU and network, and what that means."

_MARKS = {"ok": "ok     ", "limited": "limited", "missing": "missing"}


def configure(parser: ArgumentParser) -> None:
    """What it takes."""
    describe(
        parser,
        "tvix doctor",
        'tvix doctor --json | python3 -c \'import json,sys; print([c["name"] for c in json.load(sys.stdin)["checks"]])\'',
        text="It looks as the user who runs it; root sees more. What is missing is not an error: the exit code is 0.",
    )
    add_json(parser)


def run(arguments: Namespace) -> int:
    """Look, and say."""
    from appliance.cli.doctor.checks import examine

    findings = examine()
    if arguments.json:
        print_json({"checks": [finding._asdict() for finding in findings]})
        return 0
    width = max(len(finding.name) for finding in findings)
    for finding in findings:
        print(f"{_MARKS[finding.state]}  {finding.name:{width}}  {one_line(finding.found)}")
        print(f"{'':{width + 11}}{finding.means}")
        if finding.remedy:
            print(f"{'':{width + 11}}→ {finding.remedy}")
    return 0
