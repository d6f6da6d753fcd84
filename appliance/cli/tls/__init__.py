"""`tvix tls`: a group of verbs."""

from __future__ import annotations

SUMMARY = "Make and look at the certificates of a site."
EXAMPLE = "tvix tls issue reader/kitchen"
VERBS = {
    "init": "appliance.cli.tls.init",
    "issue": "appliance.cli.tls.issue",
    "show": "appliance.cli.tls.show",
}
