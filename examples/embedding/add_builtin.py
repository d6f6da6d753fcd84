"""A function of Python as a builtin of the language."""

from __future__ import annotations

from tvix.serde import EvaluationFailed, load

PORTS = {"http": 80, "https": 443}


def port_of(service: str) -> int:
    """The annotation of the parameter is what the argument is decoded by."""
    if service not in PORTS:
        raise ValueError(f"nobody knows a service '{service}'")
    return PORTS[service]


BUILTINS = {"portOf": port_of, "services": list(PORTS)}


def main() -> None:
    """Call it rightly, with a wrong name, and with a wrong type."""
    text = "builtins.listToAttrs (map (name: { inherit name; value = builtins.portOf name; }) builtins.services)"
    print(load(text, dict[str, int], builtins=BUILTINS))
    for wrong in ('builtins.portOf "gopher"', "builtins.portOf 80", '(builtins.tryEval (builtins.portOf "gopher")).value'):
        try:
            load(wrong, int, builtins=BUILTINS)
        except EvaluationFailed as error:
            print(f"\n{error.report()}")


if __name__ == "__main__":
    main()
