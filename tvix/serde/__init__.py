"""Nix text as configuration: decoded into dataclasses, and written.

    @dataclass(frozen=True)
    class Server:
        host: str
        port: int = field(default=80, metadata={"doc": "the port to listen on"})

    load('{ host = "a"; port = 8000 + 80; }', Server)        # Server(host='a', port=8080)
    dump(Server("a"))                                        # '{\\n  host = "a";\\n  port = 80;\\n}\\n'

What it has: `load` and `load_file` (`loading`), `decode` for programs that drive the evaluator themselves, `dump` (`dumping`),
`json_schema` and `options` (`description`), `variant` (`variants`), `Limits` (`limits`), and the errors (`errors`). The types that
a schema may have are listed in `types`. Importing this package imports no evaluator; the first `load` does.
"""

from __future__ import annotations

from tvix.serde.description import json_schema, options
from tvix.serde.dumping import dump
from tvix.serde.errors import EvaluationFailed, NotDumpable, Problem, SchemaMismatch, UnsupportedSchema
from tvix.serde.limits import Limits
from tvix.serde.loading import decode, load, load_file
from tvix.serde.variants import variant

__all__ = [
    "EvaluationFailed",
    "Limits",
    "NotDumpable",
    "Problem",
    "SchemaMismatch",
    "UnsupportedSchema",
    "decode",
    "dump",
    "json_schema",
    "load",
    "load_file",
    "options",
    "variant",
]
