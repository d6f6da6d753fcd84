"""`--trace-steps`, `--profile`, `--stats` and the dumps: what can be seen of an evaluation beside its value."""

from __future__ import annotations

import os
import time

from appliance.cli.evaluation import write
from appliance.cli.light_words import Option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from appliance.cli.evaluation import Evaluation
    from appliance.cli.light_words import Words
    from tvix.eval.observer import Observer
    from tvix.eval.observers.counters import Counters
    from tvix.eval.observers.places import Places
    from tvix.eval.observers.profile import Profile
    from tvix.eval.observers.steps import StepTrace

OPTIONS = (
    Option("--trace-steps", "", "say each step of the evaluation on stderr"),
    Option("--profile", "FILE", "write folded stacks with the time of each, for flame graphs"),
    Option("--stats", "", "say on stderr, in JSON, how many calls, thunks, sets and so on there were"),
    Option("--dump-code", "", "print the resolved code instead of evaluating it"),
    Option("--dump-nodes", "", "print the nodes that it is compiled to instead of evaluating them"),
)


class LookingOn:
    """The observers that are asked for."""

    def __init__(self, *, steps: bool, profile: str | None, stats: bool) -> None:
        self._steps: StepTrace | None = None
        self._profile: Profile | None = None
        self._profile_path = profile
        self._counters: Counters | None = None
        self._begun = time.perf_counter()
        if steps:
            from tvix.eval.error_report import for_terminal
            from tvix.eval.observers.steps import StepTrace

            self._steps = StepTrace(lambda line: write(2, for_terminal(line, False) + "\n"))
        if profile is not None:
            from tvix.eval.observers.profile import Profile

            self._profile = Profile()
        if stats:
            from tvix.eval.observers.counters import Counters

            self._counters = Counters()

    def observer(self) -> Observer | None:
        """All of them as one; None where nobody looks on."""
        asked: list[Observer] = [one for one in (self._counters, self._steps, self._profile) if one is not None]
        if len(asked) < 2:
            return asked[0] if asked else None
        from tvix.eval.observer import Several

        return Several(asked)

    def begin(self, evaluation: Evaluation) -> None:
        """There is an evaluator now."""
        if self._steps is not None:
            self._steps.places = _places(evaluation)

    def end(self, evaluation: Evaluation) -> None:
        """Write the profile, and say the numbers. Raises OSError."""
        if self._profile is not None and self._profile_path is not None:
            text = "".join([line + "\n" for line in self._profile.folded(_places(evaluation))])
            write_file(self._profile_path, text.encode("latin-1"))
        if self._counters is not None:
            write(2, self.numbers(evaluation, functions=True))

    def numbers(self, evaluation: Evaluation, *, functions: bool) -> str:
        """What was counted, as JSON; with `functions`, by function and builtin too."""
        import json
        from resource import RUSAGE_SELF, getrusage

        assert self._counters is not None
        usage = getrusage(RUSAGE_SELF)
        cpu = round(usage.ru_utime + usage.ru_stime, 6)
        numbers: dict[str, Any] = {
            "cpuTime": cpu,
            "time": {"cpu": cpu, "wall": round(time.perf_counter() - self._begun, 6)},
            "memory": {"peakBytes": usage.ru_maxrss << 10},
            **self._counters.numbers(),
        }
        if functions:
            numbers["functions"] = self._counters.functions(_places(evaluation))
        else:
            del numbers["primops"]
        return json.dumps(numbers, indent=2, ensure_ascii=False) + "\n"


def looking_on(given: Words) -> LookingOn | None:
    """What the words of a command line ask for; None where that is nothing."""
    steps, profile, stats = given.has("--trace-steps"), given.last("--profile"), given.has("--stats")
    return LookingOn(steps=steps, profile=profile, stats=stats) if steps or stats or profile is not None else None


def dump(evaluation: Evaluation, kind: str, text: str, *, nodes: bool) -> str:
    """What a program is resolved to, or compiled to. Raises `EvalError`."""
    source, text = evaluation.source_of(kind, text)
    if nodes:
        from tvix.eval.dumps.node_text import node_text

        return node_text(evaluation.evaluator.node(source, text))
    from tvix.eval.dumps.code_text import code_text

    return code_text(evaluation.evaluator.code(source, text))


def write_file(path: str, contents: bytes) -> None:
    """Write a file that wasn't there, or replace it, whole or not at all; what isn't a regular file is written as it is."""
    if os.path.exists(path) and not os.path.isfile(path):
        with open(path, "wb") as file:
            file.write(contents)
        return
    unfinished = f"{path}.{os.getpid()}"
    try:
        with open(unfinished, "xb") as file:
            file.write(contents)
        os.replace(unfinished, path)
    except BaseException:
        if os.path.exists(unfinished):
            os.unlink(unfinished)
        raise


def _places(evaluation: Evaluation) -> Places:
    from tvix.eval.observers.places import Places

    return Places(evaluation.evaluator.sources, evaluation.evaluator.io)
