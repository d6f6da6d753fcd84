"""The personality `nix-instantiate`: its options, its output, its texts and its exit codes, for scripts that were written for it.

What needs a store, making derivations, isn't here: without `--eval`, `--parse` or `--find-file` it says so.
"""

from __future__ import annotations

from appliance.cli.evaluation import ENVIRONMENT, Evaluation, Wishes, finish, printable, stderr_shows_colors, text_of, write
from appliance.cli.nix_settings import BOOLEANS, LISTS, OTHERS, InvalidSetting, NixSettings, read_files
from tvix.eval.attribute_paths import call_automatically, select
from tvix.eval.errors import EvalError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser
    from collections.abc import Mapping, Sequence

    from appliance.cli.looking_on import LookingOn
    from tvix.eval.values import Value

SUMMARY = "Evaluate as C++ Nix's nix-instantiate does: --eval, --parse, --find-file and their options."

_HELP = """\
usage: nix-instantiate --eval|--parse|--find-file [OPTION…] [FILE…]

Evaluates as C++ Nix's program of this name does, which describes it. FILE may be a directory, <name>, or - for stdin;
without one it is ./default.nix.

  -E, --expr               what follows are expressions, not files
  --eval                   print the value
  --parse                  print the tree
  --find-file              print where the search path has each FILE
  -A, --attr PATH          the attribute that is meant
  --arg NAME EXPR, --argstr NAME TEXT, --arg-from-file NAME PATH, --arg-from-stdin NAME
                           arguments for functions
  --strict                 evaluate everything inside the value
  --json, --xml, --raw, --no-location
                           how the value is printed
  -I, --include PATH       an entry of the search path
  --option NAME VALUE      a setting; --NAME VALUE is the same, and --NAME and --no-NAME for those that are on or off:
                           show-trace, trace-verbose, abort-on-warn, max-call-depth, pure-eval, restrict-eval, nix-path…

example:
  nix-instantiate --eval --strict --json -E '{ a = 1 + 1; }'

exit codes:
  0   done
  1   anything else
"""

_NOTHING = frozenset(
    (
        *("-v", "--verbose", "--quiet", "--debug", "--impure", "--repair", "-Q", "--no-build-output", "-k", "--keep-going"),
        *(
            "-K",
            "--keep-failed",
            "--readonly-mode",
            "--no-gc-warning",
            "--read-write-mode",
            "--dry-run",
            "--indirect",
        ),
    )
)
"""Options without a value that change nothing that is printed."""
_IGNORED = {"--eval-store": 1, "--override-flake": 2, "--log-format": 1, "--max-jobs": 1, "-j": 1}
"""Options that take so many values and change nothing."""
_OWN = {"-A": "--attr", "--attr": "--attr", "--add-root": "--add-root"}


class NixError(Exception):
    """What is printed behind `error:`. `usage` adds where to find help."""

    def __init__(self, text: str, *, usage: bool = False) -> None:
        super().__init__(text)
        self.text = text + ("\nTry 'nix-instantiate --help' for more information." if usage else "")


class Request:
    """A command line of nix-instantiate, read."""

    def __init__(self) -> None:
        self.settings = NixSettings()
        self.wishes = Wishes()
        self.actions: set[str] = set()
        """`eval`, `parse`, `find-file`, `expression`, `stdin`, `strict`, `no-location`, `help`, `version`."""
        self.shape = "--plain"
        self.attributes: list[str] = []
        self.files: list[str] = []
        self.warnings: list[str] = []


def configure(parser: ArgumentParser) -> None:
    """What it takes."""
    from appliance.cli.options import describe

    parser.format_help = lambda: _HELP  # type: ignore[method-assign]
    describe(parser, "tvix nix-instantiate --eval --strict --json -E '{ a = 1 + 1; }'")


def run_words(_command: str, words: Sequence[str]) -> int:
    """Do what the words say, and end the process."""
    try:
        request = read_words(words)
        if "help" in request.actions:
            write(1, text_of(_HELP))
            return 0
        if "version" in request.actions:
            from tvix.eval.builtins.types import NIX_VERSION

            write(1, f"nix-instantiate (Nix) {NIX_VERSION}\n")
            return 0
    except NixError as error:
        return _fail(error.text)
    return finish(lambda: _run(request))


def _fail(text: str) -> int:
    red = "\x1b[31;1merror:\x1b[0m" if stderr_shows_colors() else "error:"
    write(2, f"{red} {text}\n")
    return 1


def _run(request: Request) -> int:
    try:
        wishes, onlooker = _wishes(request), _onlooker()
        wishes.observer = None if onlooker is None else onlooker.observer()
        evaluation = Evaluation(wishes)
        for warning in request.warnings:
            evaluation.say("warning: " + warning)
        with evaluation.evaluator.session():
            try:
                _act(request, evaluation)
            except EvalError as error:
                evaluation.report(error)
                return 1
            if onlooker is not None:
                _show_numbers(onlooker, evaluation)
    except NixError as error:
        return _fail(error.text)
    except OSError as error:
        return _fail(error.strerror or str(error))
    return 0


def _onlooker() -> LookingOn | None:
    """`$NIX_SHOW_STATS`."""
    if ENVIRONMENT.get("NIX_SHOW_STATS", "0") == "0":
        return None
    from appliance.cli.looking_on import LookingOn

    return LookingOn(steps=False, profile=None, stats=True)


def _show_numbers(onlooker: LookingOn, evaluation: Evaluation) -> None:
    numbers = onlooker.numbers(evaluation, functions=ENVIRONMENT.get("NIX_COUNT_CALLS", "0") != "0")
    path = ENVIRONMENT.get("NIX_SHOW_STATS_PATH", "-")
    if path == "-":
        write(2, numbers)
        return
    from appliance.cli.looking_on import write_file

    write_file(printable(path), numbers.encode("latin-1"))


def _act(request: Request, evaluation: Evaluation) -> None:
    arguments = evaluation.automatic_arguments()
    if "find-file" in request.actions:
        for name in request.files:
            write(1, evaluation.file(f"<{name}>") + "\n")
        return
    programs = [("stdin", "")] if "stdin" in request.actions else []
    kind = "expression" if "expression" in request.actions else "file"
    files = request.files if programs or request.files or kind == "expression" else ["./default.nix"]
    programs += [(kind, text) for text in files]
    for kind, text in programs:
        if "parse" in request.actions:
            from tvix.eval.printer import canonical

            tree, base = evaluation.tree(kind, text, check=True)
            write(1, canonical(tree, base, ENVIRONMENT.get("HOME", "")) + "\n")
        else:
            _evaluate(request, evaluation, evaluation.main(kind, text), arguments)


def _evaluate(request: Request, evaluation: Evaluation, root: Value, arguments: Mapping[str, Value]) -> None:
    if "eval" not in request.actions:
        raise NixError("making derivations needs a store, which this build of tvix doesn't have; --eval and --parse need none")
    for path in request.attributes or [""]:
        value: Value = select(root, path, arguments)
        if arguments:
            value = call_automatically(value, arguments)
        strict, location = "strict" in request.actions, "no-location" not in request.actions
        write(1, evaluation.rendered(value, request.shape, strict=strict, location=location))


def _wishes(request: Request) -> Wishes:
    settings, wishes = request.settings, request.wishes
    wishes.pure = settings.is_on("pure-eval")
    wishes.restrict = settings.is_on("restrict-eval")
    wishes.show_trace = settings.is_on("show-trace")
    wishes.trace_verbose = settings.is_on("trace-verbose")
    wishes.abort_on_warn = settings.is_on("abort-on-warn")
    wishes.max_call_depth = min(int(settings.get("max-call-depth") or wishes.max_call_depth), 1 << 62)
    wishes.pipe_operators = "pipe-operators" in settings.words("experimental-features")
    wishes.system = settings.get("eval-system") or settings.get("system") or wishes.system
    if settings.get("nix-path") is not None:
        wishes.nix_path = settings.words("nix-path")
    return wishes


def read_words(words: Sequence[str]) -> Request:
    """Read a command line, after the files with settings. Raises `NixError`."""
    request = Request()
    try:
        request.warnings += [f"unknown setting '{name}'" for name in read_files(request.settings)]
    except InvalidSetting as error:
        raise NixError(str(error), usage=True) from None
    waiting = [text_of(word) for word in words][::-1]
    options_end = False
    while waiting:
        word = waiting.pop()
        if word == "--" and not options_end:
            options_end = True
            continue
        if len(word) > 2 and word[0] == "-" and word[1].isalpha() and not options_end:
            word = _spread(word, waiting)
        if word[:1] != "-" or word == "-":
            _other_word(request, word)
        elif options_end:
            _own_option(request, word, [])
        else:
            _option(request, word, waiting)
    return request


def _spread(word: str, waiting: list[str]) -> str:
    """The first option of `-vE`; the others, and a value that follows, wait."""
    rest = word[2:]
    more: list[str] = []
    for index, character in enumerate(rest):
        if not character.isalpha():
            more.append(rest[index:])
            break
        more.append("-" + character)
    waiting.extend(more[::-1])
    return word[:2]


def _other_word(request: Request, word: str) -> None:
    if word == "-":
        request.actions.add("stdin")
    else:
        request.files.append(word)


def _option(request: Request, word: str, waiting: list[str]) -> None:
    """An option that all programs of C++ Nix have, or one of this program."""
    wishes, settings = request.wishes, request.settings
    if word in ("-I", "--include"):
        wishes.include += _values(word, 1, waiting)
    elif word in _ARGUMENTS:
        name, text = _values(word, 2, waiting)
        wishes.arguments[name] = (_ARGUMENTS[word], text)
    elif word == "--arg-from-stdin":
        wishes.arguments[_values(word, 1, waiting)[0]] = ("stdin", "")
    elif word == "--option":
        _set_option(request, *_values(word, 2, waiting))
    elif word in _IGNORED:
        _values(word, _IGNORED[word], waiting)
    elif word == "--impure":
        settings.set("pure-eval", "false")
    elif word[:2] == "--" and word[2:] in BOOLEANS:
        settings.set(word[2:], "true")
    elif word[:5] == "--no-" and word[5:] in BOOLEANS:
        settings.set(word[5:], "false")
    elif word[:2] == "--" and _is_setting(word[2:]):
        try:
            settings.set(word[2:], _values(word, 1, waiting)[0])
        except InvalidSetting as error:
            raise NixError(str(error), usage=True) from None
    else:
        _own_option(request, word, waiting)


_ARGUMENTS = {"--arg": "expression", "--argstr": "text", "--arg-from-file": "file"}


def _is_setting(name: str) -> bool:
    return name in LISTS or name in OTHERS or (name.startswith("extra-") and name[6:] in LISTS)


def _set_option(request: Request, name: str, value: str) -> None:
    try:
        if not request.settings.set(name, value):
            request.warnings.append(f"unknown setting '{name}'")
    except InvalidSetting as error:
        request.warnings.append(f"error: {error}")


def _values(word: str, count: int, waiting: list[str]) -> list[str]:
    if len(waiting) < count:
        raise NixError(f"flag '{word}' requires {count} argument(s), but only {len(waiting)} were given", usage=True)
    return [waiting.pop() for _ in range(count)]


def _own_option(request: Request, word: str, waiting: list[str]) -> None:
    if word in _OWN:
        if not waiting:
            raise NixError(f"'{word}' requires an argument", usage=True)
        value = waiting.pop()
        if _OWN[word] == "--attr":
            request.attributes.append(value)
    elif word in ("--json", "--xml", "--raw"):
        request.shape = word
    elif word in _ACTIONS:
        request.actions.update(_ACTIONS[word])
    elif word not in _NOTHING:
        raise NixError(f"unrecognised flag '{word}'", usage=True)


_ACTIONS = {
    "--eval": ("eval",),
    "--eval-only": ("eval",),
    "--parse": ("eval", "parse"),
    "--parse-only": ("eval", "parse"),
    "--find-file": ("find-file",),
    "--expr": ("expression",),
    "-E": ("expression",),
    "--strict": ("strict",),
    "--no-location": ("no-location",),
    "--help": ("help",),
    "--version": ("version",),
}
