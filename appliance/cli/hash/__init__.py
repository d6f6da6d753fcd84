"""Hashes of what lies on disk."""

SUMMARY = "Hash what lies on disk."

EXAMPLE = "tvix hash path ./result"

VERBS = {
    "path": "appliance.cli.hash.path",
}
