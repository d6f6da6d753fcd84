"""Making boot media."""

SUMMARY = "Make boot media."

VERBS = {
    "initrd": "appliance.cli.image.initrd",
}
