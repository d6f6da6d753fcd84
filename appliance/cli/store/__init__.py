"""The verbs of a store: serving it, putting things in, getting them out, looking around."""

SUMMARY = "Serve a store, put things in, get them out, look around."

EXAMPLE = "tvix store import ./result"

VERBS = {
    "serve": "appliance.cli.store.serve",
    "import": "appliance.cli.store.import_paths",
    "import-nar": "appliance.cli.store.import_nar",
    "import-closure": "appliance.cli.store.import_closure",
    "export": "appliance.cli.store.export",
    "ls": "appliance.cli.store.list",
    "cat": "appliance.cli.store.cat",
    "closure": "appliance.cli.store.closure",
    "verify": "appliance.cli.store.verify",
    "sign-closure": "appliance.cli.store.sign_closure",
}
