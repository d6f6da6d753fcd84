"""The `typing` of the smallest initrd, held to what the library's does for modules like ours."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import textwrap
import typing
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[3]
PLACE = ROOT / "packaging/light/typing.py"


def light() -> ModuleType:
    spec = importlib.util.spec_from_file_location("light_typing", PLACE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(params=["library", "light"])
def module(request: pytest.FixtureRequest) -> ModuleType:
    return typing if request.param == "library" else light()


def define(module: ModuleType, body: str) -> dict[str, typing.Any]:
    """What a module that imports from there defines."""
    names = {name: getattr(module, name) for name in ("NamedTuple", "Protocol", "Generic", "TypeVar", "NewType", "cast")}
    names |= {"runtime_checkable": module.runtime_checkable, "__name__": "somewhere"}
    exec("from __future__ import annotations\n" + textwrap.dedent(body), names)
    return names


def test_named_tuples(module: ModuleType) -> None:
    Point = define(  # noqa: N806
        module,
        '''
        class Point(NamedTuple):
            """A place."""

            x: int
            y: int = 2

            @property
            def sum(self) -> int:
                return self.x + self.y

            @classmethod
            def parse(cls, text: str) -> Point:
                return cls(*map(int, text.split()))

            def __str__(self) -> str:
                return f"{self.x}/{self.y}"
        ''',
    )["Point"]
    point = Point(x=1)
    assert (point, point.sum, str(point), repr(point)) == ((1, 2), 3, "1/2", "Point(x=1, y=2)")
    assert (Point.parse("3 4"), Point._fields, point._replace(y=5), point._asdict()) == (
        (3, 4),
        ("x", "y"),
        (1, 5),
        {"x": 1, "y": 2},
    )
    assert (Point.__doc__, Point.__name__, Point.__qualname__, Point.__module__) == ("A place.", "Point", "Point", "somewhere")
    assert isinstance(point, Point)
    with pytest.raises(TypeError):
        Point()
    with pytest.raises(AttributeError):
        point.x = 2


def test_named_tuples_are_subclassed(module: ModuleType) -> None:
    Both = define(  # noqa: N806
        module,
        """
        class Fields(NamedTuple):
            a: int
            b: int = 0

        class Both(Fields):
            __slots__ = ()

            def __eq__(self, other: object) -> bool:
                return isinstance(other, Both) and self.a == other.a

            def __hash__(self) -> int:
                return self.a
        """,
    )["Both"]
    assert Both(1, 2) == Both(1, 3)
    assert type(Both(1)._replace(b=2)) is Both


def test_protocols(module: ModuleType) -> None:
    names = define(
        module,
        """
        T = TypeVar("T")

        class Reader(Protocol):
            def read(self) -> bytes: ...

        @runtime_checkable
        class Both(Reader, Protocol):
            size: int

            def write(self) -> None: ...

        class Box(Generic[T]):
            def __init__(self, inside: T) -> None:
                self.inside = inside

        class Real(Reader):
            def read(self) -> bytes:
                return b"real"

        class Unrelated:
            size = 3

            def read(self) -> None: ...

            def write(self) -> None: ...

        class Half:
            def write(self) -> None: ...
        """,
    )
    assert isinstance(names["Unrelated"](), names["Both"])
    assert not isinstance(names["Half"](), names["Both"])
    assert not isinstance(names["Real"](), names["Both"])
    assert names["Real"]().read() == b"real"
    assert names["Box"](5).inside == 5


def test_what_is_only_named(module: ModuleType) -> None:
    assert module.NewType("Digest", bytes)(b"x") == b"x"
    assert module.cast("int", "x") == "x"
    assert module.TYPE_CHECKING is False
    assert module.Literal["a"] is not None
    assert module.Callable[[int], str] is not None
    with pytest.raises(AttributeError):
        _ = module.__nothing__


def test_it_carries_the_mount_of_a_machine() -> None:
    """Everything that the mount process imports, with this in the library's place."""
    code = f"""
    import sys
    sys.path[:0] = [{str(PLACE.parent)!r}, {str(ROOT)!r}]
    import appliance.boot.mounting, appliance.roles.mount, appliance.roles.mount_polled, appliance.roles.mount_source
    import tvix.castore.framed_channel, tvix.castore.tls, tvix.store.closure_roots.trust
    assert sys.modules["typing"].__file__ == {str(PLACE)!r}
    from tvix.castore.blobs.interface import StoredBlobService
    from tvix.castore.blobs.memory import MemoryBlobService
    print(isinstance(MemoryBlobService(), StoredBlobService))
    print("re" in sys.modules, "inspect" in sys.modules, "dataclasses" in sys.modules)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True)
    assert done.stdout.splitlines()[0] == "True", done.stderr
    assert done.stdout.splitlines()[1] == "False False False", done.stderr
