"""Serves a store: STORE, then addresses to listen at; `published` before them for the published services alone. Prints READY."""

from __future__ import annotations

import signal
import sys

from tvix.grpc_api.server import make_server
from tvix.store.addresses import open_store

store, *words = sys.argv[1:]
extension = words[0] != "published"
server = make_server(open_store(store), words[not extension :], extension=extension)
signal.signal(signal.SIGTERM, lambda *_: sys.exit())
server.start()
try:
    print("READY", flush=True)
    signal.pause()
finally:
    server.stop(0)
