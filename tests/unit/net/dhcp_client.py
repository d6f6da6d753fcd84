"""Runs in a network namespace: brings its link up with short times, says what happened a line at a time, and keeps the lease."""

from __future__ import annotations

import json
import sys

from appliance.net.addresses import parse
from appliance.net.network import Network, Times
from tvix.errors import TvixError


def main(resolv_conf: str, lease_seconds: str) -> None:
    times = Times(carrier=10, lease=float(lease_seconds), grace=0.1, backoff=(0.1, 0.2), patience=0.2)
    network = Network(parse(None), times=times, log=lambda text: print("note", text, flush=True), resolv_conf=resolv_conf)
    try:
        configured = network.bring_up()
    except TvixError as error:
        print("error", error.identifier, error, flush=True)
        return
    for name, found in configured.items():
        told = {"link": name, "address": found.address, "prefix": found.prefix, "routes": found.routes}
        print("up", json.dumps(told), flush=True)
    network.keep()


if __name__ == "__main__":
    main(*sys.argv[1:])
