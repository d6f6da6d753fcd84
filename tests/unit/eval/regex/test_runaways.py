"""No pattern takes long: what would be exponential, or a high power, is matched in bounded time or refused."""

from __future__ import annotations

import pytest

from tvix.eval.regex import pattern
from tvix.eval.regex.pattern import Pattern
from tvix.eval.regex.problems import InvalidPattern, PatternTooLarge, TooManySteps


@pytest.fixture(params=[0, 1 << 40], ids=["machine", "library"], autouse=True)
def effort(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once before Python's own expressions are used, once after."""
    monkeypatch.setattr(pattern.EFFORT, "steps", request.param)


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("(a*)*b", "a" * 3000),
        ("(a|a)*b", "a" * 3000),
        ("(a|aa)+$", "a" * 3000 + "b"),
        ("(x+x+)+y", "x" * 1000),
        ("(((a*)*)*)*b", "a" * 300),
        ("a*a*a*a*a*b", "a" * 2000),
        ("(a|b|ab)*c", "ab" * 2000),
        ("(a?){30}(a?){30}(a?){30}b", "a" * 60),
    ],
)
def test_no_match_is_found_soon(written: str, text: str) -> None:
    assert Pattern(written).match(text) is None


@pytest.mark.timeout(20)
@pytest.mark.parametrize("written", ["[a-z]+[0-9]", "([a-z]+)*[0-9]", "(a|aa)*b"])
def test_a_search_is_not_begun_anew_everywhere(written: str) -> None:
    assert Pattern(written).pieces("a" * 20_000) == []


def test_far_too_much_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pattern.EFFORT, "most_steps", 10_000)
    with pytest.raises(TooManySteps):
        Pattern("(a|b|ab)*c").match("ab" * 5_000)


def test_as_many_states_as_the_reference_makes() -> None:
    assert Pattern("a{99993}").match("a") is None
    for written in ("a{99994}", "(a|b){12500}", "((a{1,100}){1,100}){1,5}", "a{2147483647}"):
        with pytest.raises(PatternTooLarge):
            Pattern(written)
    with pytest.raises(InvalidPattern):
        Pattern("a{2147483648}")


def test_long_texts() -> None:
    assert Pattern("(.*)\n(.*)").match("a" * 200_000) is None
    assert Pattern("(a*)(b*)").match("a" * 100_000 + "b") == ["a" * 100_000, "b"]
    assert len(Pattern("[[:space:]]+").pieces("a b " * 20_000)) == 40_000
