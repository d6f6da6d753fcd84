"""The warnings of one text.

A comment `# lint: allow RULE…` on the line of a warning, or alone on the line before, says that it is meant to be so; without a
rule, all warnings of that line are.
"""

from __future__ import annotations

from tvix.eval.lint.walk import Walk
from tvix.eval.positions import line_and_column, line_starts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container, Iterable

    from tvix.eval.lint.rule import Finding, Rule
    from tvix.eval.syntax import Expression

MARK = "# lint: allow"


def check(tree: Expression, text: str, rules: Iterable[type[Rule]], globals_: Container[str]) -> list[Finding]:
    """What `rules` find in a tree and the text that it was parsed from, in the order of the text."""
    asked = [rule(text) for rule in rules]
    Walk(asked, globals_).go(tree)
    findings = [finding for rule in asked for finding in rule.findings]
    findings.sort(key=lambda finding: (finding.offset, finding.rule.identifier))
    _allow(findings, text)
    return findings


def _allow(findings: list[Finding], text: str) -> None:
    if MARK not in text:
        return
    starts = line_starts(text)
    lines = [text[start:end].strip() for start, end in zip(starts, [*starts[1:], len(text)], strict=True)]
    for finding in findings:
        line, _ = line_and_column(text, finding.offset)
        before = lines[line - 2] if line > 1 and lines[line - 2].startswith("#") else ""
        finding.allowed_in_source = any(_allows(comment, finding.rule.identifier) for comment in (lines[line - 1], before))


def _allows(line: str, identifier: str) -> bool:
    _, mark, rules = line.partition(MARK)
    named = rules.replace(",", " ").split()
    return bool(mark) and (not named or identifier in named)
