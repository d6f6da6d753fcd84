"""`tvix selftest`: whether this very program, with the libraries that it finds here, does what it should."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from appliance.cli.failure import EX_SOFTWARE
from appliance.cli.options import add_json, describe, print_json
from tvix.errors import TvixError

if TYPE_CHECKING:
    from argparse import ArgumentParser, Namespace

SUMMARY = "Check this program itself: its libraries, and trips through its own parts."


class SelftestFailed(TvixError):
    """The program doesn't work here as it should."""

    identifier = "cli.selftest-failed"
    message = "{failed} of {total} checks failed: {names}"
    hint = "a library is missing or of another version than requirements.lock says, or this machine is very unlike those tested"
    exit_code = EX_SOFTWARE


def configure(parser: ArgumentParser) -> None:
    """What it takes."""
    describe(
        parser,
        "tvix selftest",
        "tvix selftest --json | python3 -c 'import json,sys; print(json.load(sys.stdin)[\"passed\"])'",
        text="Takes a second or two, needs no network and no rights, leaves nothing behind.\n"
        "Frozen trees for initrds lack parts on purpose; what needs those is counted as absent.",
    )
    add_json(parser)


def run(arguments: Namespace) -> int:
    """Run every check. Raises `SelftestFailed`."""
    from appliance.cli.selftest.checks import CHECKS
    from appliance.cli.selftest.outcome import examine

    outcomes = []
    for check in CHECKS:
        outcome = examine(check)
        outcomes.append(outcome)
        if not arguments.json:
            print(f"{outcome.state:<7} {outcome.name}{': ' if outcome.detail else ''}{outcome.detail}", flush=True)
    counts = {state: sum(outcome.state == state for outcome in outcomes) for state in ("passed", "absent", "failed")}
    if arguments.json:
        print_json({**counts, "frozen": bool(getattr(sys, "frozen", False)), "checks": [outcome._asdict() for outcome in outcomes]})
    else:
        print(f"{counts['passed']} checks passed, {counts['absent']} absent from this build, {counts['failed']} failed")
    if counts["failed"]:
        names = ", ".join(outcome.name for outcome in outcomes if outcome.state == "failed")
        raise SelftestFailed(failed=counts["failed"], total=len(outcomes), names=names)
    return 0
