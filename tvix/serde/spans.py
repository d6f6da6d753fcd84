"""Where in its source a value stands, from where to where.

Values don't carry positions, and constants have none at all. What is known is where attributes are defined. When something is
wrong, the source is read again from there, token by token, up to the value; so correct values cost nothing.
"""

from __future__ import annotations

from tvix.eval import tokens
from tvix.eval.error_report import source_text
from tvix.eval.errors import EvalError
from tvix.eval.positions import line_and_column, line_starts, offset_of
from tvix.eval.scanner import Scanner
from tvix.serde.places import anchor
from tvix.serde.text import shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from tvix.eval.io import EvalIO
    from tvix.eval.positions import Source, Sources
    from tvix.serde.decoding import Found
    from tvix.serde.errors import Problem
    from tvix.serde.places import Place

    Span = tuple[int, int]

_OPEN: Final = {
    tokens.BRACE_OPEN: tokens.BRACE_CLOSE,
    tokens.INTERPOLATION: tokens.BRACE_CLOSE,
    tokens.PARENTHESIS_OPEN: tokens.PARENTHESIS_CLOSE,
    tokens.BRACKET_OPEN: tokens.BRACKET_CLOSE,
    tokens.INDENTED_OPEN: tokens.INDENTED_CLOSE,
    tokens.PATH: tokens.PATH_END,
    tokens.HOME_PATH: tokens.PATH_END,
}
_WIDEST: Final = 240
"""Bytes of a line that are shown, of a longer one those around the span."""
_MARGIN: Final = 80


class Token:
    """One token. `depth` is how many brackets and quotes are open around it; what opens and what closes is outside of itself."""

    __slots__ = ("depth", "end", "kind", "start")

    def __init__(self, kind: int, start: int, end: int, depth: int) -> None:
        self.kind = kind
        self.start = start
        self.end = end
        self.depth = depth


class Spans:
    """Looks up the places of problems."""

    def __init__(self, sources: Sources, io: EvalIO) -> None:
        self._sources = sources
        self._io = io
        self._texts: dict[int, str | None] = {}

    def placed(self, found: Found) -> Problem:
        """The problem, with file, lines, columns and frame."""
        holder, indexes, element = anchor(found.place)
        source = self._sources.of(holder.position) if holder.position else self._first()
        text = None if source is None else self._text(source)
        if source is None or text is None:
            return found.problem
        span: Span | None
        if not holder.position:
            span = whole(text)
        elif found.name_only or is_prefix(text, holder):
            span = name_span(text, offset_of(holder.position))
        else:
            span = value_span(text, offset_of(holder.position))
        for index in indexes:
            inner = None if span is None else element_span(text, span, index)
            if inner is None and element:
                return self._at_element(found.problem, element)
            span = inner or span
        if span is not None:
            fill(found.problem, source, text, span)
        return found.problem

    def _at_element(self, problem: Problem, position: int) -> Problem:
        """An element of a list that isn't written down as a list there."""
        source = self._sources.of(position)
        text = None if source is None else self._text(source)
        if source is not None and text is not None:
            offset = offset_of(position)
            fill(problem, source, text, term_span(text, offset))
        return problem

    def _first(self) -> Source | None:
        """The source of the whole program."""
        return self._sources.of(1 << 32) if self._sources.count() else None

    def _text(self, source: Source) -> str | None:
        if source.number not in self._texts:
            self._texts[source.number] = source_text(source, self._io)
        return self._texts[source.number]


def read(text: str, start: int) -> list[Token]:
    """The tokens of an expression or binding that begins at `start`, up to what closes the set or list around it, or to what
    isn't a token.
    """
    scanner = Scanner(text[start:], 0, True)
    found: list[Token] = []
    closers: list[int] = []
    while True:
        try:
            scanner.advance()
        except EvalError:
            return found
        kind = int(scanner.kind)
        if kind == tokens.END:
            return found
        first, end = start + int(scanner.start), start + int(scanner.end())
        if closers and kind == closers[-1]:
            closers.pop()
            found.append(Token(kind, first, end, len(closers)))
        elif not closers and kind in (tokens.BRACE_CLOSE, tokens.BRACKET_CLOSE, tokens.PARENTHESIS_CLOSE, tokens.IN):
            return found
        else:
            found.append(Token(kind, first, end, len(closers)))
            if kind == tokens.QUOTE:
                closers.append(tokens.QUOTE)
            elif kind in _OPEN:
                closers.append(_OPEN[kind])
            elif kind == tokens.LET:
                closers.append(tokens.IN)


def whole(text: str) -> Span | None:
    """From the first token of a text to the last."""
    found = read(text, 0)
    return (found[0].start, found[-1].end) if found else None


def name_span(text: str, offset: int) -> Span | None:
    """The path of names that a binding begins with."""
    found = read_binding(text, offset)
    names = found[: _assignment(found)]
    return (names[0].start, names[-1].end) if names else None


def is_prefix(text: str, place: Place) -> bool:
    """Whether an attribute is there because a longer path of names is bound: `a` in `a.b = 1`. All of them have one position."""
    names = 0
    here: Place | None = place
    while here is not None and here.position == place.position:
        names += 1
        here = here.holder
    found = read_binding(text, offset_of(place.position))
    return names <= len([token for token in found[: _assignment(found)] if token.kind == tokens.DOT and not token.depth])


def value_span(text: str, offset: int) -> Span | None:
    """The value of the binding at an offset; its name, where it is inherited."""
    found = read_binding(text, offset)
    at = _assignment(found)
    values = found[at + 1 :]
    return (values[0].start, values[-1].end) if values else name_span(text, offset)


def read_binding(text: str, offset: int) -> list[Token]:
    """The tokens of a binding, without its semicolon; of one that is inherited, its name."""
    found = read(text, offset)
    pending = 0
    assigned = False
    for index, token in enumerate(found):
        if token.depth:
            continue
        if token.kind == tokens.ASSIGN:
            assigned = True
        elif assigned and token.kind in (tokens.WITH, tokens.ASSERT):
            pending += 1
        elif token.kind == tokens.SEMICOLON:
            if not pending:
                return found[:index] if assigned else found[:1]
            pending -= 1
    return found if assigned else found[:1]


def _assignment(found: list[Token]) -> int:
    """The index of the `=` that ends the names; the end, where there is none."""
    for index, token in enumerate(found):
        if token.kind == tokens.ASSIGN and not token.depth:
            return index
    return len(found)


def element_span(text: str, span: Span, index: int) -> Span | None:
    """An element of the list that is written down at `span`; None where something else stands there."""
    found = core([token for token in read(text, span[0]) if token.end <= span[1]])
    if not found or found[0].kind != tokens.BRACKET_OPEN or _closer(found) != len(found) - 1:
        return None
    depth = found[0].depth + 1
    elements = split(found[1:-1], depth)
    if index >= len(elements):
        return None
    return elements[index][0].start, elements[index][-1].end


def core(found: list[Token]) -> list[Token]:
    """An expression without what stands around its value: parentheses, `with`, `assert` and `let`."""
    while found:
        kind, depth = found[0].kind, found[0].depth
        if kind == tokens.PARENTHESIS_OPEN and _closer(found) == len(found) - 1:
            found = found[1:-1]
        elif kind in (tokens.WITH, tokens.ASSERT):
            ends = [index for index, token in enumerate(found) if token.kind == tokens.SEMICOLON and token.depth == depth]
            if not ends:
                return found
            found = found[ends[0] + 1 :]
        elif kind == tokens.LET and found[_closer(found)].kind == tokens.IN:
            found = found[_closer(found) + 1 :]
        else:
            return found
    return found


def _closer(found: list[Token]) -> int:
    """The index of the token that closes what the first one opens; 0 where there is none."""
    for index in range(1, len(found)):
        if found[index].depth == found[0].depth:
            return index if found[index].kind in _CLOSERS else 0
    return 0


def split(found: list[Token], depth: int = 0) -> list[list[Token]]:
    """The tokens of a list by elements: a new one begins after each that is complete, unless a dot goes on with it."""
    elements: list[list[Token]] = []
    whole_before = True
    for token in found:
        joins = token.depth > depth or token.kind in (tokens.DOT, tokens.OR_WORD)
        closes = token.kind in _CLOSERS and bool(elements) and _opens(elements[-1], token)
        if not elements or (whole_before and not joins and not closes):
            elements.append([token])
        else:
            elements[-1].append(token)
        if token.depth == depth:
            whole_before = token.kind not in (tokens.DOT, tokens.OR_WORD, tokens.REC, tokens.LET)
    return elements


_CLOSERS: Final = frozenset((*_OPEN.values(), tokens.QUOTE, tokens.IN))


def _opens(element: list[Token], closer: Token) -> bool:
    """Whether what was read last of an element waits for this token to close it."""
    open_ = False
    for token in element:
        if token.depth == closer.depth and (token.kind in _OPEN or token.kind in (tokens.QUOTE, tokens.LET)):
            open_ = not open_ if token.kind == tokens.QUOTE else True
        elif token.depth == closer.depth and token.kind in _CLOSERS:
            open_ = False
    return open_


def term_span(text: str, offset: int) -> Span:
    """What stands at an offset, as far as an element of a list would go."""
    elements = split(read(text, offset))
    return (elements[0][0].start, elements[0][-1].end) if elements else (offset, offset + 1)


def fill(problem: Problem, source: Source, text: str, span: Span) -> None:
    """Say in a problem where it is."""
    start, end = span
    problem.file = shown(source.shown)
    problem.line, problem.column = line_and_column(text, start)
    problem.end_line, problem.end_column = line_and_column(text, end)
    problem.frame = frame(text, problem)


def frame(text: str, problem: Problem) -> str:
    """The line where a span begins, what of it belongs to the span, and the lines before and after."""
    starts = line_starts(text)
    lines: list[str] = []
    for number in (problem.line - 1, problem.line, problem.line + 1):
        if not 1 <= number <= len(starts):
            continue
        end = starts[number] if number < len(starts) else len(text)
        line = text[starts[number - 1] : end].rstrip("\r\n")
        left = max(problem.column - _MARGIN, 0) if len(line) > _WIDEST else 0
        lines.append(f" {number:5}| {shown(line[left : left + _WIDEST])}".rstrip())
        if number == problem.line:
            last = problem.end_column - 1 if problem.end_line == number else len(line)
            before = shown(line[left : problem.column - 1])
            marked = shown(line[problem.column - 1 : min(last, left + _WIDEST)]).rstrip()
            blank = "".join("\t" if character == "\t" else " " for character in before)
            lines.append("      | " + blank + "^" * max(len(marked), 1))
    return "\n".join(lines)
