"""What our own modules need of `typing` while they run, for the smallest initrd: the annotations are all strings.

The library's costs a machine that boots 26 million instructions and more, a seventh of what its mount process imports. Named tuples
are what the library makes them: a class of `collections.namedtuple` with what the body defines. Everything else is there to be
named in a base class or a cast, and does nothing.
"""

from __future__ import annotations

from collections import namedtuple

TYPE_CHECKING = False


class _Anything:
    """A type that is only named: subscripted, called, joined with others."""

    __slots__ = ()

    def __getitem__(self, _parameters: object) -> _Anything:
        return self

    def __call__(self, *_arguments: object, **_options: object) -> _Anything:
        return self

    def __or__(self, _other: object) -> _Anything:
        return self

    __ror__ = __or__


_anything = _Anything()


class _ProtocolMeta(type):
    _asked_for: frozenset[str] | None

    def __instancecheck__(cls, instance: object) -> bool:
        names = cls.__dict__.get("_asked_for")
        if names is None:
            return type.__instancecheck__(cls, instance)
        return all(hasattr(instance, name) for name in names)


class Protocol(metaclass=_ProtocolMeta):
    """A base class that demands nothing, unless it is made `runtime_checkable`."""

    __slots__ = ()

    def __class_getitem__(cls, _parameters: object) -> type:
        return cls


def runtime_checkable(protocol: _ProtocolMeta) -> _ProtocolMeta:
    """Have `isinstance` look for everything public that the protocol and those it is made of define."""
    found: set[str] = set()
    for each in protocol.__mro__:
        if isinstance(each, _ProtocolMeta):
            found.update(vars(each), vars(each).get("__annotations__", ()))
    protocol._asked_for = frozenset(name for name in found if not name.startswith("_"))
    return protocol


Generic = Protocol


def cast(_kind: object, value: object) -> object:
    """The value."""
    return value


def NewType(_name: str, _kind: object) -> object:  # noqa: N802
    """A function that says its argument."""
    return _same


def TypeVar(*_arguments: object, **_options: object) -> _Anything:  # noqa: N802
    """Something to be named."""
    return _anything


def _same(value: object) -> object:
    return value


overload = final = override = no_type_check = _same

_NOT_COPIED = frozenset(("__annotations__", "__module__", "__orig_bases__", "__qualname__"))


class _NamedTupleMeta(type):
    def __new__(cls, name: str, _bases: tuple[type, ...], body: dict[str, object]) -> type:
        fields = tuple(body.get("__annotations__", ()))
        made = namedtuple(name, fields, defaults=[body[field] for field in fields if field in body], module=body["__module__"])  # noqa: PYI024
        made.__qualname__ = body["__qualname__"]
        for key, value in body.items():
            if key not in fields and key not in _NOT_COPIED:
                setattr(made, key, value)
        return made


_base = type.__new__(_NamedTupleMeta, "NamedTuple", (), {})


class _NamedTuple:
    def __mro_entries__(self, _bases: object) -> tuple[type, ...]:
        return (_base,)


NamedTuple = _NamedTuple()


def __getattr__(name: str) -> _Anything:
    if name.startswith("__"):
        raise AttributeError(name)
    return _anything
