"""Warnings as SARIF 2.1.0, which code hosts and editors read. https://docs.oasis-open.org/sarif/sarif/v2.1.0/

Columns count characters of Unicode, which `columnKind` says. What a comment allows is in it as suppressed.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from tvix.eval.lint.frames import Lines
    from tvix.eval.lint.rule import Finding, Rule

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"


def document(version: str, rules: Sequence[type[Rule]], results: list[Any], problems: list[str]) -> dict[str, Any]:
    """The whole of one run. `problems` are files that couldn't be read, each a text."""
    notes = [{"level": "error", "message": {"text": problem}} for problem in problems]
    invocation: dict[str, Any] = {"executionSuccessful": not problems}
    if notes:
        invocation["toolExecutionNotifications"] = notes
    driver = {"name": "tvix lint", "version": version, "rules": [_rule(rule) for rule in rules]}
    run = {"tool": {"driver": driver}, "invocations": [invocation], "columnKind": "unicodeCodePoints", "results": results}
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}


def _rule(rule: type[Rule]) -> dict[str, Any]:
    properties = {"properties": {"tvixCode": rule.code}} if rule.code else {}
    return {
        "id": rule.identifier,
        "shortDescription": {"text": rule.summary},
        "help": {"text": rule.advice},
        "defaultConfiguration": {"enabled": rule.by_default, "level": "warning"},
        **properties,
    }


def result(finding: Finding, lines: Lines, uri: str, rules: Sequence[type[Rule]], level: str) -> dict[str, Any]:
    """One warning in the file at `uri`."""
    line, column = lines.place(finding.offset)
    end_line, end_column = lines.place(finding.offset + finding.length)
    region = {
        "startLine": line,
        "startColumn": column,
        "endLine": end_line,
        "endColumn": end_column,
        "byteOffset": finding.offset,
        "byteLength": finding.length,
    }
    made: dict[str, Any] = {
        "ruleId": finding.rule.identifier,
        "ruleIndex": rules.index(finding.rule),
        "level": level,
        "message": {"text": finding.message},
        "locations": [{"physicalLocation": {"artifactLocation": {"uri": uri}, "region": region}}],
    }
    if finding.allowed_in_source:
        made["suppressions"] = [{"kind": "inSource"}]
    return made
