"""Making boot media."""

SUMMARY = "Make boot media."

EXAMPLE = "tvix image initrd --kernel-modules /lib/modules/6.1.0-56-cloud-amd64 -o initrd.img"

VERBS = {
    "initrd": "appliance.cli.image.initrd",
    "credentials": "appliance.cli.image.credentials",
}
