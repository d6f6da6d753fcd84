"""The pack store: append-only files of checksummed records and an index that can be rebuilt from them. See docs/formats/pack.md."""
