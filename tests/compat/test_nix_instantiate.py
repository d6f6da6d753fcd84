"""The transcript that the personality is held to is what nix-instantiate of Nix 2.26 really answers."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tvix.testing import transcripts

if TYPE_CHECKING:
    from tvix.testing.stock_nix import StockNix

TRANSCRIPT = Path(__file__).resolve().parents[1] / "cli" / "nix_instantiate.transcript"
# 17 ms an exchange in one chroot; a chroot of its own for each would take 0.4 s.
_RUN_ALL = """\
cd "$1"
for command in "$2"/*.command; do
  name=${command%.command}
  sh "$command" < "$name.stdin" > "$name.stdout" 2> "$name.stderr"
  echo $? > "$name.status"
done
"""


@pytest.mark.nix
@pytest.mark.root
def test_transcript_is_what_nix_answers(nix226: StockNix, tmp_path: Path) -> None:
    directory, exchange_files = tmp_path / "files", tmp_path / "exchanges"
    transcripts.lay_out(directory)
    exchange_files.mkdir()
    exchanges = transcripts.read(TRANSCRIPT)
    for exchange in exchanges:
        place = exchange_files / f"{exchange.line:06}"
        place.with_suffix(".command").write_text(
            exchange.command.replace("$DIRECTORY", str(directory)).replace("$HOME", str(nix226.home)) + "\n"
        )
        place.with_suffix(".stdin").write_text(exchange.stdin)
    nix226.run("sh", "-c", _RUN_ALL, "sh", directory, exchange_files)

    def answered(exchange: transcripts.Exchange) -> transcripts.Exchange:
        place = exchange_files / f"{exchange.line:06}"
        status, stdout, stderr = (place.with_suffix(suffix).read_bytes() for suffix in (".status", ".stdout", ".stderr"))
        return transcripts.answer(exchange, lambda *_: (int(status), stdout, stderr), directory, nix226.home)

    answers = [answered(exchange) for exchange in exchanges]
    if os.environ.get("TVIX_RECORD"):
        transcripts.write(TRANSCRIPT, iter(answers))
    else:
        assert [answer.text() for answer in answers] == [exchange.text() for exchange in exchanges]
