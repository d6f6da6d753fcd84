"""Ask Nix 2.26 for the texts of all programs in this directory, and write the files afresh. Needs root; see README.md."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path

from tvix.testing.error_texts import answers, error_texts_of, question, written
from tvix.testing.stock_nix import StockNix, build_nix_226

HERE = Path(__file__).resolve().parent


def main() -> None:
    """Texts that differ for a reason are left as they are."""
    tree = build_nix_226(HERE.parents[2] / ".cache" / "nix-2.26")
    for path in sorted(HERE.glob("*.texts")):
        items = error_texts_of(path)
        with tempfile.TemporaryDirectory() as folder:
            nix = StockNix(Path(folder), "/usr/sbin:/usr/bin:/sbin:/bin", chroot=tree)
            texts = answers(nix.run(*question(items, Path(folder) / "programs")))
        recorded = [
            item if item.differs else dataclasses.replace(item, short=short, full=full)
            for item, (short, full) in zip(items, texts, strict=True)
        ]
        path.write_text("\n".join(written(item) for item in recorded))
        print(f"{path.name}: {len(recorded)}")


if __name__ == "__main__":
    main()
