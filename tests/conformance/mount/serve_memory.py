"""Mounts a store in memory that holds the sample: DESTINATION, then options as UID:GID or `list`."""

from __future__ import annotations

import sys

from appliance.roles.mount import MountSpec, serve_mount
from tvix.store.addresses import open_store
from tvix.testing.mount_samples import fill

store = open_store("memory:")
fill(store)
spec = MountSpec(store, sys.argv[1], listing="list" in sys.argv)
serve_mount(spec, lambda: print("READY", flush=True))
