"""Signing keys, in files and on command lines."""

SUMMARY = "Make the keys that sign closure roots."

EXAMPLE = "tvix key generate site-1"

VERBS = {
    "generate": "appliance.cli.key.generate",
}
