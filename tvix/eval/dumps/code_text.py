"""Resolved code as text: an opcode a line, its operands behind it, and the pieces that it is made of indented below.

call @0
  function: argument up=0 @3
  arguments:
    constant 1
"""

from __future__ import annotations

import marshal

from tvix.eval import code

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

    from tvix.eval.code import Code

_OPERATOR: Final = "left:code right:code at:@"
_OPERANDS: Final[dict[int, str]] = {
    code.CONSTANT: "value:show",
    code.GLOBAL: "name:word at:@",
    code.ARGUMENT: "up:number at:@",
    code.SLOT: "up:number slot:number at:@",
    code.SIBLING: "variable:code",
    code.WITH_VARIABLE: "name:word withs:withs at:@",
    code.PATH: "text:word",
    code.CURRENT_POSITION: "at:@",
    code.APPLY: "function:code arguments:codes at:@",
    code.BUILTIN: "name:word arguments:codes at:@",
    code.SELECT: "set:code name:word at:@",
    code.SELECT_PATH: "set:code path:names at:@",
    code.SELECT_OR: "set:code path:names default:code at:@",
    code.HAS: "set:code path:names at:@",
    code.LAMBDA: "parameter:word body:code at:@ name:name",
    code.FORMALS: "names:words defaults:codes positions:skip ellipsis:flag whole:name body:code at:@ name:name",
    code.LET: "values:codes body:code",
    code.SET: "attributes:bindings dynamic:dynamic at:@",
    code.RECURSIVE: "attributes:bindings dynamic:dynamic at:@ overrides:slot hidden:codes",
    code.WITH: "set:code body:code at:@",
    code.LIST: "items:codes",
    code.INHERIT_SOURCES: "values:codes body:code",
    code.IF: "condition:code then:code else:code at:@",
    code.ASSERT: "condition:code body:code at:@",
    code.INTERPOLATION: "parts:codes positions:skip at:@",
    code.PATH_INTERPOLATION: "base:word parts:codes positions:skip at:@",
    code.NOT: "operand:code at:@",
    code.NEGATE: "operand:code at:@",
    code.ADD: "left:code right:code at:@ start:skip start:skip",
}
"""By opcode, the operands: what they are called, and of what kind they are."""


def code_text(piece: Code) -> str:
    """The text of a piece of code, with a newline at its end, one character a byte."""
    lines: list[str] = []
    _add("", piece, "", lines)
    return "".join([line + "\n" for line in lines])


def _add(label: str, piece: Code, indent: str, lines: list[str]) -> None:
    operands: Any = marshal.loads(piece) if type(piece) is bytes else piece
    words = [f"{label}: {code.WORDS[operands[0]]}" if label else code.WORDS[operands[0]]]
    below: list[tuple[str, Any]] = []
    schema = _OPERANDS.get(operands[0], _OPERATOR).split(" ")
    for entry, operand in zip(schema, operands[1:], strict=True):
        name, _, kind = entry.partition(":")
        if kind == "code":
            below.append((name, operand))
        elif kind == "codes":
            below += [(f"{name}.{index}", part) for index, part in enumerate(operand) if part is not None]
        elif kind == "names":
            words.append(".".join([part if isinstance(part, str) else "${…}".encode().decode("latin-1") for part in operand]))
            below += [(f"{name}.{index}", part) for index, part in enumerate(operand) if not isinstance(part, str)]
        elif kind == "bindings":
            below += [(f"{operand[index]} @{operand[index + 2]}", operand[index + 1]) for index in range(0, len(operand), 3)]
        elif kind == "dynamic":
            for key, value, at in operand:
                below += [(f"name @{at}", key), ("value", value)]
        else:
            words += _words(name, kind, operand)
    lines.append(indent + " ".join(words))
    for name, part in below:
        _add(name, part, indent + "  ", lines)


def _words(name: str, kind: str, operand: Any) -> list[str]:
    """An operand that is no code, as part of its opcode's line."""
    if kind == "@":
        return [f"@{operand}"]
    if kind == "show":
        from tvix.eval.printing import print_value

        return [print_value(operand)]
    if kind == "number":
        return [f"{name}={operand}"]
    if kind == "slot":
        return [f"{name}={operand}"] if operand >= 0 else []
    if kind == "flag":
        return [name] if operand else []
    if kind == "name":
        return [f"{name}={operand}"] if operand else []
    if kind == "words":
        return ["{" + " ".join(operand) + "}"]
    if kind == "withs":
        return [f"with(up={operand[index]})" for index in range(0, len(operand), 2)]
    return [] if kind == "skip" else [str(operand)]
