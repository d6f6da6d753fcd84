"""A store server for a test that kills it: argv is the store's address, then where to listen."""

from __future__ import annotations

import signal
import sys

from tvix.grpc_api.server import make_server
from tvix.store.addresses import open_store

if __name__ == "__main__":
    with open_store(sys.argv[1]) as store:
        server = make_server(store, sys.argv[2:])
        server.start()
        print("ready", flush=True)
        signal.pause()
