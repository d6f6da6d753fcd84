"""The schema of the tables of wrong input: one field of every kind."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Literal, NamedTuple

from tvix.serde import variant


class Level(enum.Enum):
    """Named by its values."""

    DEBUG = "debug"
    WARNING = "warning"


class Pair(NamedTuple):
    """A list of two."""

    name: str
    count: int


ROOT = PurePosixPath("/")
NO_PAIR = Pair("", 0)


@dataclass(frozen=True)
class Nothing:
    """A variant without fields."""


@dataclass(frozen=True)
class Circle:
    """A variant with names."""

    radius: float


@variant("Line", positional=True)
@dataclass(frozen=True)
class Straight:
    """A variant without names."""

    start: tuple[int, int]
    end: tuple[int, int]


@variant(positional=True)
@dataclass(frozen=True)
class Group:
    """A variant that is its only field."""

    shapes: list[Nothing | Circle | Straight | Group]


Shape = Nothing | Circle | Straight | Group


@dataclass(frozen=True)
class Server:
    """What serves."""

    host: str
    port: int = field(default=80, metadata={"doc": "where it listens"})
    aliases: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.port <= 0:
            raise ValueError(f"{self.port} is no port")


@dataclass(frozen=True)
class Everything:
    """All of it; nothing has to be given."""

    nothing: None = None
    flag: bool = False
    count: int = 0
    ratio: float = 0.5
    text: str = ""
    place: PurePosixPath = ROOT
    level: Level = Level.WARNING
    mode: Literal["fast", "slow"] = "slow"
    pair: Pair = NO_PAIR
    point: tuple[int, int] | None = None
    either: int | str | list[bool] = 0
    shape: Shape = Nothing()
    server: Server | None = None
    servers: tuple[Server, ...] = ()
    by_name: dict[str, Server] = field(default_factory=dict, metadata={"name": "by-name"})
    anything: object = None
    again: Everything | None = None
