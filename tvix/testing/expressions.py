"""Random programs in the language, the same for the same seed.

An expression is made for a wanted type, so that most of it means something, and now and then for another one, so that errors come
up too. Sizes stay small: nothing runs long or takes much memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tvix.testing.builtin_signatures import BUILTINS, IN_SCOPE

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

TYPES: Final = ("int", "float", "bool", "string", "null", "path", "list", "set", "function")
_NAMES: Final = ("a", "b", "c", "x", "y", "z", "foo", "b-r", "d'", "_e")
_WORDS: Final = ("", "a", "b", "foo", "foo bar", "1", "1.5", "a.b", "/x", "a-1.2pre", "\u00e9", "#", "true", "x=y", "  ", "A,b,,C")
_INTEGERS: Final = (
    "0",
    "1",
    "2",
    "3",
    "7",
    "10",
    "(-1)",
    "(-5)",
    "9223372036854775807",
    "4611686018427387904",
    "(-9223372036854775807)",
)
_FLOATS: Final = ("0.0", "1.5", "(-2.25)", ".5", "1.0e3", "1e-3", "123456789.0", "1.0e308", "2.5", "3.0")
_PATHS: Final = ("/a", "/a/b", "./c", "../d", '/a/${"b"}', "/.")
_OPERATORS: Final = {
    "int": ("+", "-", "*", "/"),
    "float": ("+", "-", "*", "/"),
    "string": ("+",),
    "path": ("+",),
    "list": ("++",),
    "set": ("//",),
}
_COMPARISONS: Final = ("==", "!=", "<", ">", "<=", ">=")

_PATTERNS: Final = (
    "a", "(a)", "a*", "(b|(f)oo)", "[a-z]+", "([[:alpha:]]*)([[:space:]]?)", "(.)(.*)", "", "x{2}", "(", "[.]", "^a", "(a*)*",
    "[^,]*,(.*)", "(a|ab)(c|bcd)(d*)", "[[:digit:]]+", "\\\\.", "a{,2}", "[z-a]", "*", "a|", "(a)|b", "[]a]", "é",
)  # fmt: skip
_JSON: Final = (
    "1", "[1,2.5,null]", '{"a":[true],"b":{}}', "1e3", '"\\u00e9"', "[1,", "", "-0", "12345678901234567890",
    "true", '{"a":1,"a":2}', "[1 2]", '"\\\\ud83d\\\\ude00"', "{}x", "nul", " [ ] ", "1.0e400", "-9223372036854775808",
)  # fmt: skip
_TEXTS: Final = {
    "pattern": _PATTERNS,
    "json": _JSON,
    "algorithm": ("sha256", "sha1", "md5", "sha512", "sha0"),
    "toml": (
        "", "a = 1", "a = 1.5\nb = 'x'", "[t]\nx = [1, 2]\n[[u]]\ny = true", "a.b.c = \"d\"", "a = 1979-05-27", "a = ",
        "a = 1\na = 2", "= 1",
        "a = {b = [ ], c = 0x1F}", "a = inf",
    ),
    "flake-text": ("nixpkgs", "github:a/b/c", "path:/a?rev=1", "git+https://x/y?ref=z", "", "a b", "github:a", "./x",
    "tarball+https://x/a.tgz"),
}  # fmt: skip
_HASH: Final = '{ hash = "%s"; toHashFormat = "%s"; }'
_SETS: Final = {
    "hash": (
        _HASH % ("sha1:0000000000000000000000000000000000000000", "sri"), _HASH % ("md5-1B2M2Y8AsgTpgAmY7PhCfg==", "base16"),
        _HASH % ("1B2M2Y8AsgTpgAmY7PhCfg==", "nix32"),
        "{ hashAlgo = \"md5\"; hash = \"d41d8cd98f00b204e9800998ecf8427e\"; toHashFormat = \"base64\"; }",
        _HASH % ("sha256:x", "sri"), _HASH % ("sha1:0000000000000000000000000000000000000000", "x"), "{ hash = 1; }", "{ }",
    ),
    "flake": (
        "{ type = \"indirect\"; id = \"nixpkgs\"; }", "{ type = \"github\"; owner = \"a\"; repo = \"b\"; ref = \"c\"; }", "{ }",
        "{ type = \"path\"; path = \"/a\"; lastModified = 1; }", "{ type = \"git\"; url = \"https://x\"; shallow = true; }",
        "{ type = 1; }",
    ),
    "context": (
        "{ }", "{ \"/nix/store/00000000000000000000000000000000-a\" = { path = true; }; }", "{ \"/a\" = { path = true; }; }",
        "{ \"/nix/store/00000000000000000000000000000000-a.drv\" = { outputs = [ \"out\" \"b\" ]; }; }",
        "{ \"/nix/store/00000000000000000000000000000000-a\" = { allOutputs = true; }; }",
    ),
    "search-path": ("[ ]", "[ { path = \"/\"; prefix = \"a\"; } ]", "[ { path = 1; } ]", "__nixPath"),
}  # fmt: skip


class Expressions:
    """Draws programs from a source of randomness. `wrong` is how often a type is not the wanted one."""

    def __init__(self, random: Random, wrong: float = 0.06) -> None:
        self._random = random
        self._wrong = wrong
        self._by_result: dict[str, list[str]] = {}
        for name, (_, result) in BUILTINS.items():
            for kind in (*TYPES, "item") if result == "item" else (result, "item"):
                self._by_result.setdefault(kind, []).append(name)
        self._forms: tuple[Callable[[str, int, tuple[str, ...]], str], ...] = (
            self._if, self._let, self._rec, self._with, self._assert, self._apply, self._pattern, self._select, self._or,
            self._builtin, self._builtin, self._builtin, self._operator, self._operator, self._constructed, self._constructed,
            self._constructed, self._legacy_let, self._inherit, self._functor, self._odd,
        )  # fmt: skip

    def program(self) -> str:
        """A whole program, on one line."""
        return self.of("item", self._random.randrange(1, 6), ())

    def of(self, kind: str, depth: int, scope: tuple[str, ...]) -> str:
        """An expression of a type, at most `depth` deep, that may use the variables of `scope`."""
        random = self._random
        if kind == "item":
            kind = random.choice(TYPES)
        if random.random() < self._wrong:
            kind = random.choice(TYPES)
        if depth <= 0 or random.random() < 0.1:
            return self._leaf(kind, scope)
        return random.choice(self._forms)(kind, depth - 1, scope)

    def atom(self, kind: str, depth: int, scope: tuple[str, ...]) -> str:
        """The same where only a primary expression may stand."""
        text = self.of(kind, depth, scope)
        return text if _is_atom(text) else f"({text})"

    def _leaf(self, kind: str, scope: tuple[str, ...]) -> str:
        random = self._random
        if scope and random.random() < 0.35:
            return random.choice(scope)
        if kind == "int":
            return random.choice(_INTEGERS)
        if kind == "float":
            return random.choice(_FLOATS)
        if kind == "bool":
            return random.choice(("true", "false"))
        if kind == "string":
            return self._text(0, scope)
        if kind == "path":
            return random.choice(_PATHS)
        simple = {"null": "null", "list": "[ ]", "set": "{ }", "function": "(x: x)"}
        return simple.get(kind) or self._argument(kind, 0, scope)

    def _text(self, depth: int, scope: tuple[str, ...]) -> str:
        random = self._random
        pieces: list[str] = []
        indented = random.random() < 0.25
        for _ in range(random.randrange(3)):
            if depth > 0 and random.random() < 0.5 and not (pieces and pieces[-1].endswith("$")):
                pieces.append("${" + self.of(random.choice(("string", "string", "item")), depth - 1, scope) + "}")
            else:
                pieces.append(
                    random.choice(
                        (*_WORDS, "$", "$$", "''\\n  ", "''${") if indented else (*_WORDS, "\\n", '\\"', "\\${", "$", "$$")
                    )
                )
        text = "".join(pieces)
        return f"''{text}''" if indented else f'"{text}"'

    def _constructed(self, kind: str, depth: int, scope: tuple[str, ...]) -> str:
        random = self._random
        if kind == "string":
            return self._text(depth, scope)
        if kind == "list":
            return "[ " + "".join(self.atom("item", depth, scope) + " " for _ in range(random.randrange(4))) + "]"
        if kind == "set":
            return random.choice(("{ ", "{ ", "rec { ")) + self._bindings(depth, scope) + "}"
        if kind == "function":
            return self._function(depth, scope)
        return self._leaf(kind, scope)

    def _bindings(self, depth: int, scope: tuple[str, ...], names: tuple[str, ...] = ()) -> str:
        random = self._random
        wanted = names or tuple(random.sample(_NAMES, random.randrange(4)))
        text = ""
        for name in wanted:
            path = name
            if not names and random.random() < 0.15:
                path += "." + random.choice(_NAMES)
            elif not names and random.random() < 0.1:
                path = '"${' + self._leaf("string", scope) + '}"'
            text += f"{path} = {self.of('item', depth, scope)}; "
        return text

    def _function(self, depth: int, scope: tuple[str, ...], result: str = "item") -> str:
        random = self._random
        if random.random() < 0.7:
            name = random.choice(_NAMES)
            return f"({name}: {self.of(result, depth, (*scope, name))})"
        formals, names = self._formals(depth, scope)
        return f"({formals}: {self.of(result, depth, (*scope, *names))})"

    def _formals(self, depth: int, scope: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
        random = self._random
        names = tuple(random.sample(_NAMES, random.randrange(3)))
        formals = [name + (" ? " + self.of("item", depth - 1, (*scope, *names)) if random.random() < 0.4 else "") for name in names]
        if random.random() < 0.5:
            formals.append("...")
        text = "{ " + ", ".join(formals) + " }"
        if random.random() < 0.3:
            return random.choice((f"args@{text}", f"{text}@args")), (*names, "args")
        return text, names

    def _if(self, kind: str, depth: int, scope: tuple[str, ...]) -> str:
        return f"if {self.of('bool', depth, scope)} then {self.of(kind, depth, scope)} else {self.of(kind, depth, scope)}"

    def _let(self, kind: str, depth: int, scope: tuple[str, ...]) -> str:
        names = tuple(self._random.sample(_NAMES, self._random.randrange(1, 3)))
        inner = (*scope, *names)
        return f"let {self._bindings(depth, inner, names)}in {self.of(kind, depth, inner)}"

    def _legacy_let(self, kind: str, depth: int, scope: tuple[str, ...]) -> str:
        return f"let {{ body = {self.of(kind, depth, scope)}; }}"

    def _rec(self, kind: str, depth: int, scope: tuple[str, ...]) -> str:
        names = tuple(self._random.sample(_NAMES, 2))
        return f"rec {{ {self._bindings(depth, (*scope, *names), names)}r = {self.of(kind, depth, (*scope, *names))}; }}.r"

    def _inherit(self, kind: str, depth: int, scope: tuple[str, ...]) -> str:
        if scope and self._random.random() < 0.5:
            name = self._random.choice(scope)
            return f"{{ inherit {name}; r = {self.of(kind, depth, scope)}; }}.{self._random.choice((name, 'r', 'r'))}"
        name = self._random.choice(_NAMES)
        return f"let inherit ({self.of('set', depth, scope)}) {name}; in {self.of(kind, depth, (*scope, name))}"

    def _with(self, kind: str, depth: int, scope: tuple[str, ...]) -> str:
        names = tuple(self._random.sample(_NAMES, self._random.randrange(1, 3)))
        return f"with {{ {self._bindings(depth, scope, names)}}}; {self.of(kind, depth, (*scope, *names))}"

    def _assert(self, kind: str, depth: int, scope: tuple[str, ...]) -> str:
        return f"assert {self.of('bool', depth, scope)}; {self.of(kind, depth, scope)}"

    def _apply(self, kind: str, depth: int, scope: tuple[str, ...]) -> str:
        name = self._random.choice(_NAMES)
        return f"({name}: {self.of(kind, depth, (*scope, name))}) {self.atom('item', depth, scope)}"

    def _pattern(self, kind: str, depth: int, scope: tuple[str, ...]) -> str:
        formals, names = self._formals(depth, scope)
        given = tuple(name for name in names if name != "args" and self._random.random() < 0.85)
        bindings = self._bindings(depth, scope, given) if given else ""
        return f"({formals}: {self.of(kind, depth, (*scope, *names))}) {{ {bindings}}}"

    def _select(self, kind: str, depth: int, scope: tuple[str, ...]) -> str:
        name, other = self._random.sample(_NAMES, 2)
        if self._random.random() < 0.3:
            return f"{self.atom('set', depth, scope)}.{name}"
        if self._random.random() < 0.2:
            return f"{self.atom('set', depth, scope)} ? {name}.{other}"
        return (
            f"{{ {name} = {self.of(kind, depth, scope)}; {other}.{name} = {self.of(kind, depth, scope)}; }}"
            + self._random.choice((f".{name}", f".{other}.{name}", f'."{name}"', f'.${{"{name}"}}', f".{other}"))
        )

    def _or(self, kind: str, depth: int, scope: tuple[str, ...]) -> str:
        return f"{self.atom('set', depth, scope)}.{self._random.choice(_NAMES)} or {self.atom(kind, depth, scope)}"

    def _functor(self, kind: str, depth: int, scope: tuple[str, ...]) -> str:
        if kind == "string" and self._random.random() < 0.5:
            attribute = self._random.choice(("__toString = self: ", "outPath = "))
            return f'"${{{{ {attribute}{self.of("string", depth, scope)}; }}}}"'
        return f"{{ __functor = self: x: {self.of(kind, depth, (*scope, 'self', 'x'))}; }} {self.atom('item', depth, scope)}"

    def _odd(self, kind: str, depth: int, scope: tuple[str, ...]) -> str:
        """What is rarely written."""
        random = self._random
        name = random.choice(_NAMES)
        inner = self.of(kind, depth, scope)
        return random.choice(
            (
                f"({inner}) |> ({name}: {name})", f"({name}: {name}) <| {inner}", f"# {name}\n{inner}", f"/* {name} */ {inner}",
                f"let __sub = a: b: [ a b ]; in {self._operand('int', depth, scope)} - 1",
                f"((x: x) {self.atom('item', 0, scope)} or)",
                f"let __lessThan = a: b: true; in {self._operand('int', depth, scope)} < {self._operand('int', depth, scope)}",
                "__curPos.column", f"with {{ {name} = 1; }}; let {name} = {inner}; in {name}", f"(a: a.{name} or a) ({inner})",
                f"rec {{ {name} = 1; __overrides = {{ {name} = {inner}; }}; r = {name}; }}.r", f"(__tryEval <{name}>).success",
                f"{{ a = {{ {name} = {inner}; }}; a.q = 1; }}.a.{name}", f"{{ a = {inner}; a.q = 1; }}.a",
                f"http://{name}.org/~x?y=z",
                f"let f = n: if n == 0 then {inner} else f (n - 1); in f 5", f"[ {name} ({inner}) ]",
                f"''\n  {name}\n    ${{{inner}}}\n ''",
                f"{{ inherit (({inner})) {name}; }}.{name}", f"let ${{\"{name}\"}} = {inner}; in {name}",
                f"({inner}).\"a b\".${{\"c\"}} or {{ }}",
                f"(__tryEval ({inner})).value", f"__seq (__unsafeGetAttrPos \"{name}\" {{ {name} = 1; }}) ({inner})",
                f"{inner} {inner}",
                f"builtins.{name} or ({inner})", f"({{ {name}, {name} }}: 1)", f"- ({inner})", f"! ({inner})",
                "9223372036854775808", "~/x",
                f"{{ ${{null}} = 1; ${{{self._leaf('string', scope)}}} = {inner}; }}", f"let x.y = {inner}; in x.y",
                f"{{ }}: {inner}",
            )
        )  # fmt: skip

    def _operator(self, kind: str, depth: int, scope: tuple[str, ...]) -> str:
        random = self._random
        if kind == "bool":
            choice = random.randrange(4)
            if choice == 0:
                return f"!{self.atom('bool', depth, scope)}"
            if choice == 1:
                return f"{self.atom('bool', depth, scope)} {random.choice(('&&', '||', '->'))} {self.atom('bool', depth, scope)}"
            sides = random.choice(TYPES)
            comparison = random.choice(_COMPARISONS)
            return f"{self._operand(sides, depth, scope)} {comparison} {self._operand(sides, depth, scope)}"
        signs = _OPERATORS.get(kind)
        if signs is None:
            return self._leaf(kind, scope)
        if kind in {"int", "float"} and random.random() < 0.1:
            return f"-{self.atom(kind, depth, scope)}"
        return f"{self._operand(kind, depth, scope)} {random.choice(signs)} {self._operand(kind, depth, scope)}"

    def _operand(self, kind: str, depth: int, scope: tuple[str, ...]) -> str:
        """An operand, often without parentheses even where it is an operator's itself."""
        if kind in _OPERATORS and depth > 0 and self._random.random() < 0.3:
            return self._operator(kind, depth - 1, scope)
        return self.atom(kind, depth, scope)

    def _builtin(self, kind: str, depth: int, scope: tuple[str, ...]) -> str:
        random = self._random
        names = self._by_result.get(kind)
        if not names:
            return self._leaf(kind, scope)
        name = random.choice(names)
        arguments, _ = BUILTINS[name]
        prefix = random.choice(("builtins.", "__")) if name not in IN_SCOPE else random.choice(("", "builtins."))
        given = arguments if random.random() < 0.97 else arguments[:-1]
        return " ".join((prefix + name, *(self._argument(wanted, depth, scope) for wanted in given)))

    def _argument(self, kind: str, depth: int, scope: tuple[str, ...]) -> str:
        random = self._random
        if random.random() < self._wrong:
            return self.atom("item", depth - 1, scope)
        if kind == "small":
            return random.choice(("0", "1", "2", "3", "(-1)"))
        if kind == "name":
            return f'"{random.choice(_NAMES)}"'
        texts = _TEXTS.get(kind)
        if texts is not None:
            return _quoted(random.choice(texts))
        sets = _SETS.get(kind)
        if sets is not None:
            return random.choice(sets)
        return self._composed(kind, depth, scope)

    def _composed(self, kind: str, depth: int, scope: tuple[str, ...]) -> str:
        count = range(self._random.randrange(4))
        if kind in {"strings", "lists", "sets"}:
            return "[ " + "".join(self.atom(kind[:-1], depth - 1, scope) + " " for _ in count) + "]"
        if kind == "pairs":
            pairs = (f'{{ name = "{self._random.choice(_NAMES)}"; value = {self.of("item", depth - 1, scope)}; }} ' for _ in count)
            return "[ " + "".join(pairs) + "]"
        if kind == "closure":
            return (
                "{ startSet = [ { key = "
                + self.atom("int", 0, scope)
                + "; } ]; operator = x: [ { key = __bitAnd 3 (x.key + 1); } ]; }"
            )
        if kind in {"predicate", "to-list", "to-string"}:
            results = {"predicate": "bool", "to-list": "list", "to-string": "string"}
            return self._function(depth - 1, scope, results[kind])
        if kind == "binary":
            return f"(a: b: {self.of('item', depth - 1, (*scope, 'a', 'b'))})"
        if kind == "order":
            return self._random.choice(
                ("__lessThan", "(a: b: a < b)", "(a: b: b < a)", f"(a: b: {self.of('bool', depth - 1, (*scope, 'a', 'b'))})")
            )
        return self.atom(kind, depth - 1, scope)


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("${", "\\${") + '"'


def _is_atom(text: str) -> bool:
    """Whether a text surely is a primary expression: a name, a number, or in its own brackets."""
    if text.replace("_", "a").replace("-", "a").replace("'", "a").isalnum():
        return not text.startswith(("let", "if", "with"))
    return text.startswith("(") and text.endswith(")") and _closes_last(text)


def _closes_last(text: str) -> bool:
    return "(" not in text[1:] and '"' not in text and "''" not in text


__all__ = ["BUILTINS", "TYPES", "Expressions"]
