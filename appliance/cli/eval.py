"""`tvix eval`: the value of an expression or of a file."""

from __future__ import annotations

import os

from appliance.cli.evaluation import Evaluation, Wishes, finish, text_of, write
from appliance.cli.evaluation_limits import limits_of, watch
from appliance.cli.light_words import Option, add_to, read, usage_error, whole_number
from appliance.cli.looking_on import OPTIONS as LOOKING_ON
from appliance.cli.looking_on import looking_on
from tvix.eval.attribute_paths import call_automatically, select
from tvix.eval.errors import EvalError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from argparse import ArgumentParser
    from collections.abc import Sequence

    from appliance.cli.light_words import Words
    from tvix.eval.values import Value

SUMMARY = "Evaluate a Nix expression."

OPTIONS = (
    Option("-E --expr", "EXPR", "evaluate this expression instead of a file; may be given several times"),
    Option("-A --attr", "PATH", "the attribute to show, such as a.b.0; may be given several times"),
    Option("--arg", "NAME EXPR", "an argument for a value that is a function"),
    Option("--argstr", "NAME TEXT", "the same, a string"),
    Option("-I --include", "PATH", "an entry of the search path, PREFIX=PATH or PATH; those of $NIX_PATH come after it"),
    Option("--strict", "", "evaluate everything inside the value, too"),
    Option("--json", "", "print JSON; errors too, on stderr"),
    Option("--xml", "", "print XML, as nix-instantiate does"),
    Option("--raw", "", "print a string as it is, without quotes and without a newline"),
    Option("--no-location", "", "leave out the positions that --xml shows"),
    Option("--pure", "", "look at no file but FILE and what --allow names, no environment variable, and no clock"),
    Option("--restrict", "", "look at no file but FILE, the search path and what --allow names, and no environment variable"),
    Option("--allow", "PATH", "what may be looked at with --pure or --restrict, with all below it"),
    Option("--show-trace", "", "show all of an error's trace"),
    Option("--trace-verbose", "", "say what builtins.traceVerbose has to say"),
    Option("--abort-on-warn", "", "let builtins.warn fail, to see where it is called"),
    Option("--max-call-depth", "N", "how deep calls may be nested; default: 10000"),
    Option("--max-time", "SECONDS", "end an evaluation that takes longer"),
    Option("--max-memory", "SIZE", "end an evaluation that needs more, as in 500M or 2G"),
    *LOOKING_ON,
)


def configure(parser: ArgumentParser) -> None:
    """What it takes."""
    from appliance.cli.options import describe

    describe(
        parser,
        "tvix eval -E '1 + 1'",
        "tvix eval ./default.nix -A package.version --raw",
        "tvix eval --pure --max-time 10 --max-memory 1G --json -E 'import ./config.nix' --allow .",
        text="FILE may be a directory with a default.nix, <name> for what the search path has, or - for stdin; without FILE and\n"
        "-E it is ./default.nix. Attributes and list items that aren't evaluated are shown as <CODE>; --strict evaluates them.",
        exits=(65,),
    )
    add_to(parser, OPTIONS)
    parser.add_argument("file", nargs="*", metavar="FILE", help="the files to evaluate")


def run_words(command: str, words: Sequence[str]) -> int:
    """Evaluate what the words say, and end the process."""
    given = read(words, OPTIONS, command)
    shape = _shape(given, command)
    wishes = wishes_of(given, command)
    seconds, memory = limits_of(given, command)
    watch(seconds, memory)
    try:
        return finish(lambda: _evaluate(given, wishes, shape))
    except MemoryError:
        if memory is None:
            raise
        os.abort()  # `watch` knows why


def wishes_of(given: Words, command: str) -> Wishes:
    """What the options say about the evaluation itself."""
    wishes = Wishes()
    wishes.include = [text_of(path) for (path,) in given.all("--include")]
    for name, values in given.options:
        if name in _ARGUMENTS:
            wishes.arguments[text_of(values[0])] = (_ARGUMENTS[name], text_of(values[1]))
    wishes.pure = given.has("--pure")
    wishes.restrict = given.has("--restrict")
    wishes.show_trace = given.has("--show-trace")
    wishes.trace_verbose = given.has("--trace-verbose")
    wishes.abort_on_warn = given.has("--abort-on-warn")
    depth = given.last("--max-call-depth")
    if depth is not None:
        wishes.max_call_depth = whole_number(depth, command, "--max-call-depth")
    wishes.allowed = [text_of(path) for (path,) in given.all("--allow")]
    wishes.allowed += [text_of(path) for path in given.rest if path != "-" and not path.startswith("<")]
    return wishes


_ARGUMENTS = {"--arg": "expression", "--argstr": "text"}


def _shape(given: Words, command: str) -> str:
    """How the value is printed."""
    shapes = [name for name in ("--json", "--xml", "--raw") if given.has(name)]
    if len(shapes) > 1:
        raise usage_error(command, f"{shapes[0]} and {shapes[1]} can't both be had")
    return shapes[0] if shapes else "--plain"


def _evaluate(given: Words, wishes: Wishes, shape: str) -> int:
    onlooker = looking_on(given)
    if onlooker is not None:
        wishes.observer = onlooker.observer()
    evaluation = Evaluation(wishes)
    if onlooker is not None:
        onlooker.begin(evaluation)
    status = 0
    with evaluation.evaluator.session():
        try:
            _print_all(evaluation, given, shape)
        except EvalError as error:
            evaluation.report(error, as_json=shape == "--json")
            status = error.exit_code
        if onlooker is not None:
            onlooker.end(evaluation)
    return status


def _print_all(evaluation: Evaluation, given: Words, shape: str) -> None:
    arguments = evaluation.automatic_arguments()
    strict = given.has("--strict") or shape == "--json"
    programs = [("expression", text_of(text)) for (text,) in given.all("--expr")]
    programs += [("stdin", "") if path == "-" else ("file", text_of(path)) for path in given.rest]
    dumped = given.has("--dump-code") or given.has("--dump-nodes")
    for kind, text in programs or [("file", "./default.nix")]:
        if dumped:
            from appliance.cli.looking_on import dump

            write(1, dump(evaluation, kind, text, nodes=given.has("--dump-nodes")))
            continue
        root: Value = evaluation.main(kind, text)
        for (path,) in given.all("--attr") or [("",)]:
            value: Value = select(root, text_of(path), arguments)
            if arguments:
                value = call_automatically(value, arguments)
            write(1, evaluation.rendered(value, shape, strict=strict, location=not given.has("--no-location")))
