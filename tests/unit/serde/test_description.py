"""What a schema says of itself."""

from __future__ import annotations

import json

from tests.unit.serde.schema import Everything, Server, Shape
from tvix.serde import json_schema, options


def test_a_record() -> None:
    assert json_schema(Server) == {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$ref": "#/$defs/Server",
        "$defs": {
            "Server": {
                "type": "object",
                "title": "Server",
                "description": "What serves.",
                "properties": {
                    "host": {"type": "string"},
                    "port": {"type": "integer", "description": "where it listens", "default": 80},
                    "aliases": {"type": "array", "items": {"type": "string"}, "default": []},
                },
                "required": ["host"],
                "additionalProperties": False,
            }
        },
    }


def test_variants() -> None:
    whole = json_schema(list[Shape])
    assert whole["type"] == "array"
    assert whole["items"] == {
        "oneOf": [
            {"const": "Nothing", "description": "A variant without fields."},
            _holding("Circle", "Circle"),
            _holding("Line", "Straight"),
            _holding("Group", "Group"),
        ]
    }
    point = {"type": "array", "minItems": 2, "maxItems": 2, "prefixItems": [{"type": "integer"}, {"type": "integer"}]}
    definitions = whole["$defs"]
    assert isinstance(definitions, dict)
    assert set(definitions) == {"Circle", "Straight", "Group"}
    assert definitions["Straight"] == {
        "title": "Straight",
        "description": "A variant without names.",
        "type": "array",
        "minItems": 2,
        "maxItems": 2,
        "prefixItems": [point, point],
    }
    assert definitions["Group"]["items"] == whole["items"]


def _holding(tag: str, name: str) -> dict[str, object]:
    contents = {"$ref": f"#/$defs/{name}"}
    return {"type": "object", "properties": {tag: contents}, "required": [tag], "additionalProperties": False}


def test_everything_is_json() -> None:
    whole = json.loads(json.dumps(json_schema(Everything)))
    properties = whole["$defs"]["Everything"]["properties"]
    assert properties["level"] == {"enum": ["debug", "warning"], "default": "warning"}
    assert properties["place"] == {"type": "string", "default": "/"}
    assert properties["anything"] == {"default": None}
    assert properties["by-name"] == {"type": "object", "additionalProperties": {"$ref": "#/$defs/Server"}, "default": {}}
    assert properties["again"]["anyOf"] == [{"$ref": "#/$defs/Everything"}, {"type": "null"}]
    assert properties["shape"]["default"] == "Nothing"


def test_simple_types() -> None:
    dialect = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    assert json_schema(int | None) == {**dialect, "anyOf": [{"type": "integer"}, {"type": "null"}]}
    assert json_schema(object) == dialect


def test_options() -> None:
    found = {option.path: option for option in options(Everything)}
    assert "by-name.*.port" in found
    assert "servers[*].host" in found
    assert "shape.Circle.radius" in found
    assert "again" in found
    assert not any(path.startswith("again.") for path in found)
    port = found["server.port"]
    assert (port.expected, port.default, port.documentation) == ("an integer", "80", "where it listens")
    assert found["server.host"].default is None
    assert found["pair"].default == '[ "" 0 ]'
