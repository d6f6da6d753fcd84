"""How texts come in from a terminal: edited over several lines, with a history and completion."""

from __future__ import annotations

import os
import re

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import Completer, Completion
from prompt_toolkit.filters import Condition
from prompt_toolkit.history import FileHistory, InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings

from tvix.eval.printer import name_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from prompt_toolkit.completion import CompleteEvent
    from prompt_toolkit.document import Document
    from prompt_toolkit.history import History
    from prompt_toolkit.key_binding.key_processor import KeyPressEvent

PROMPT = "tvix> "
_PATH = re.compile(r"""((?:[A-Za-z_][\w'-]*|"[^"]*")(?:\.(?:[A-Za-z_][\w'-]*|"[^"]*"))*)\.([A-Za-z_]?[\w'-]*)\Z""")
_WORD = re.compile(r"[A-Za-z_][\w'-]*\Z")
_FILE = re.compile(r":l(?:oad)?\s+(\S*)\Z")


def words_of(path: str) -> list[str]:
    """The names of `a."b c".d`."""
    return [word.strip('"') for word in re.findall(r"""[A-Za-z_][\w'-]*|"[^"]*\"""", path)]


class Names(Completer):
    """Completes variables, attributes and, behind `:l`, files. `attributes` may take a moment, and no longer."""

    def __init__(self, names: Callable[[], list[str]], attributes: Callable[[list[str]], list[str]]) -> None:
        self._names = names
        self._attributes = attributes

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterator[Completion]:  # noqa: ARG002
        """What could stand before the cursor."""
        before = document.text_before_cursor
        file = _FILE.search(before)
        path = _PATH.search(before)
        word = _WORD.search(before)
        if file is not None:
            yield from _files(file[1])
        elif path is not None:
            names = [name_text(name) for name in self._attributes(words_of(path[1]))]
            yield from _matching(path[2], names)
        elif word is not None:
            yield from _matching(word[0], self._names())


def _matching(begun: str, names: list[str]) -> Iterator[Completion]:
    for name in names:
        if name.startswith(begun):
            yield Completion(name.encode("latin-1", "replace").decode(errors="replace"), -len(begun))


def _files(begun: str) -> Iterator[Completion]:
    directory, _, name = begun.rpartition("/")
    where = directory or ("/" if begun.startswith("/") else ".")
    try:
        entries = sorted(os.scandir(os.path.expanduser(where)), key=lambda entry: entry.name)
    except OSError:
        return
    for entry in entries:
        if entry.name.startswith(name) and (entry.is_dir() or entry.name.endswith(".nix")):
            yield Completion(entry.name + ("/" if entry.is_dir() else ""), -len(name))


class TerminalLines:
    """Reads a terminal."""

    def __init__(self, history: Path | None, completer: Names) -> None:
        self._is_incomplete: Callable[[str], bool] = lambda _text: False
        keys = KeyBindings()
        keys.add("enter")(_accept)
        keys.add("enter", filter=Condition(self._goes_on))(_new_line)  # the last one that fits counts
        self._session: PromptSession[str] = PromptSession(
            PROMPT,
            multiline=True,
            prompt_continuation=lambda width, _number, _soft: " " * width,
            history=_history(history),
            completer=completer,
            complete_while_typing=False,
            complete_in_thread=False,
            key_bindings=keys,
            enable_suspend=True,
        )

    def next(self, is_incomplete: Callable[[str], bool]) -> str | None:
        """The next text, one character a byte. None at the end. Raises `KeyboardInterrupt`."""
        self._is_incomplete = is_incomplete
        try:
            text = self._session.prompt()
        except EOFError:
            return None
        return text.encode(errors="surrogateescape").decode("latin-1")

    def _goes_on(self) -> bool:
        text = self._session.default_buffer.text
        return bool(text.strip()) and self._is_incomplete(text.encode(errors="surrogateescape").decode("latin-1"))


def _new_line(event: KeyPressEvent) -> None:
    event.current_buffer.newline()


def _accept(event: KeyPressEvent) -> None:
    event.current_buffer.validate_and_handle()


def _history(file: Path | None) -> History:
    """Kept from one session to the next, for its owner alone, where that is possible."""
    if file is None:
        return InMemoryHistory()
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(file, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600))
    except OSError:
        return InMemoryHistory()
    return FileHistory(str(file))
