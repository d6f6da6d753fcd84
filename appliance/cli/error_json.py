"""An error of an evaluation as JSON: what `failure.error_object` says of every error, and its place and its trace."""

from __future__ import annotations

import json

from appliance.cli.failure import error_object
from tvix.eval.error_report import locate

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tvix.eval.errors import EvalError
    from tvix.eval.evaluator import Evaluator


def error_json(error: EvalError, evaluator: Evaluator) -> str:
    """One line. `trace` has the innermost frame first."""
    answer = error_object(error)
    fields = answer["error"]
    assert isinstance(fields, dict)
    fields["message"] = _text(error.detail)
    fields["fields"] = {"detail": fields["message"]}
    fields["suggestions"] = [_text(name) for name in error.suggestions]
    fields["place"] = _place(error.position, evaluator)
    fields["trace"] = [{"text": _text(frame[1]), "place": _place(frame[0], evaluator)} for frame in error.frames]
    return json.dumps(answer)


def _place(position: int, evaluator: Evaluator) -> dict[str, object] | None:
    place = locate(evaluator.sources, evaluator.io, position)
    if place is None:
        return None
    return {"source": _text(place.source.shown), "line": place.line, "column": place.column}


def _text(text: str) -> str:
    return text.encode("latin-1").decode(errors="replace")
