"""Cold starts out of a store across a network, against the same start once everything is near; and what goes over the wire.

The network is that of tests/network; `trust=lists` on an authenticated connection (Unix socket, or TLS with client certificates)
unless said otherwise. A cold start has a mount, a near store and a client process of its own, and follows the mount at once.
"""

from __future__ import annotations

import json
import lzma
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.bench.closures import Closure, closure_of, import_closure, make_closure
from tests.bench.harness import Figure
from tests.bench.machine import HELLO
from tests.bench.program import ROOT, TVIX
from tests.network.simulator import SERVER, Network

PYTHON = ("python3", "bin/python3", "-c", "import json, ssl, asyncio")
BASH = ("bash", "bin/bash", "-c", "uname")
_COLD_START = ROOT / "tests/bench/cold_start.py"


@dataclass
class Cold:
    """What starts took; times in seconds, medians of all rounds."""

    added: float
    fetched: int
    runs: list[dict[str, Any]]

    def note(self) -> str:
        """The figures behind."""
        stats = self.runs[-1]["stats"]
        cpu = statistics.median(run["cpu"] for run in self.runs)
        return f"({self.fetched / 1e6:.1f} MB, {stats['roundTrips']} round trips, mount's CPU {cpu * 1e3:.0f} ms)"


class Site:
    """A store with the closure, its certificates, and how it is served and mounted."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.closure = make_closure(place / "closure")
        self.store = f"pack:{place}/store"
        import_closure(self.store, self.closure)
        directory = place / "site"
        self._tls("init", "bench", "--directory", directory)
        for who, more in (("server/store", ["--address", SERVER, "--address", "127.0.0.1"]), ("writer/client", [])):
            self._tls("issue", who, "--directory", directory, "--output", place / who.partition("/")[0], *more)

    def _tls(self, *words: str | Path) -> None:
        subprocess.run([TVIX, "tls", *words], check=True, stdout=subprocess.DEVNULL)

    @contextmanager
    def published(self, path: str) -> Iterator[str]:
        """A server that offers the published services alone."""
        script = (
            "import sys\nfrom tvix.grpc_api.server import make_server\nfrom tvix.store.addresses import open_store\n"
            "with open_store(sys.argv[1]) as store:\n    server = make_server(store, [sys.argv[2]], extension=False)\n"
            "    server.start()\n    print('up', flush=True)\n    sys.stdin.read()\n    server.stop(0)\n"
        )
        command = [sys.executable, "-c", script, self.store, f"unix:{path}"]
        with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
            assert server.stdout is not None
            server.stdout.readline()
            yield f"grpc+unix:{path}"
            server.communicate("")

    @contextmanager
    def served(self, listen: str, network: Network | None = None, *more: str, store: str = "") -> Iterator[str]:
        """The address for clients. `store` is another than the site's."""
        words = [TVIX, "store", "serve", "--store", store or self.store, "--listen", listen, "--json", "--progress", "quiet", *more]
        command = words if network is None else network.inside(network.server, *words)
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
            assert server.stdout is not None
            try:
                yield json.loads(server.stdout.readline())["addresses"][0]
            finally:
                server.terminate()
                server.communicate()

    def cold(
        self,
        url: str,
        program: tuple[str, ...],
        network: Network | None = None,
        *,
        prefetch: str = "auto",
        wait: float = 0.0,
        rounds: int = 5,
        path: str = "",
        within: Closure | None = None,
    ) -> Cold:
        """Mount, start and start again, `rounds` times. `path` is where the program is, if it isn't in the site's closure.

        With `within` it is that closure's, all of which is mounted, and finds the programs of coreutils there.
        """
        path = path or (within or self.closure).paths[program[0]]
        whole = within.paths["tour"] if within is not None else path
        mount = [TVIX, "mount", "--store", url, "--near", "memory:", "--prefetch", prefetch, "--closure", whole]
        asked = {"mount": [str(word) for word in mount], "command": [f"{path}/{program[1]}", *program[2:]], "wait": wait}
        if within is not None:
            asked["path"] = f"{within.paths['coreutils']}/bin"
        request = json.dumps(asked)
        words = ["unshare", "--mount", "--propagation", "private", sys.executable, str(_COLD_START), request]
        runs = []
        for _ in range(rounds):
            inside = words if network is None else network.inside(network.client, *words)
            done = subprocess.run(inside, check=True, stdout=subprocess.PIPE, text=True)
            runs.append(json.loads(done.stdout))
        added = statistics.median(run["cold"] - run["warm"] for run in runs)
        return Cold(added, runs[-1]["stats"]["bytesFetched"], runs)

    def tour(self) -> Closure:
        """A closure of bash and of coreutils, in the store too."""
        closure = make_closure(self.place / "tour", programs=("tour",))
        import_closure(self.store, closure)
        return closure

    def with_credentials(self, url: str, trust: str = "lists") -> str:
        """The address with what an authenticated client says."""
        return f"{url}?trust={trust}&credentials={self.place}/writer"


def figures() -> Iterator[Figure]:
    """Starts out of stores near by and far away, and what is fetched."""
    with tempfile.TemporaryDirectory(prefix="tvix-bench-") as scratch:
        site = Site(Path(scratch))
        yield from _network(site)  # first: what is recorded across a network is read in smaller pieces than on loopback
        yield from _loopback(site)
        yield _bytes(site)
        yield _sharing(site)


def _row(what: str, cold: Cold, goal: float) -> Figure:
    return Figure(what, "warm", cold.added * 1e3, goal, "ms more", note=cold.note())


def _loopback(site: Site) -> Iterator[Figure]:
    socket = f"{site.place}/socket"
    with site.published(socket) as url:
        yield _row("python, loopback, published services", site.cold(url, PYTHON), 220)
    with site.served(f"tvix+unix:{socket}", None, "--read-only") as url:
        for trust in ("lists", "bytes"):
            cold = site.cold(f"{url}?trust={trust}", PYTHON, prefetch="none")
            yield _row(f"python, loopback, framed, on demand, trust={trust}", cold, 80)
    with site.served(f"tvix+unix:{socket}") as url:
        site.cold(url, PYTHON, rounds=1)  # which records
        for trust in ("lists", "bytes"):
            yield _row(f"python, loopback, framed, recorded, trust={trust}", site.cold(f"{url}?trust={trust}", PYTHON), 60)


def _network(site: Site) -> Iterator[Figure]:
    tls = ("--credentials", f"{site.place}/server")
    with Network(0.005, 1e8) as network, site.served(f"tvix+tls://{SERVER}:0", network, *tls, "--read-only") as url:
        trusts = ("lists", "bytes")
        nothing = {trust: site.cold(site.with_credentials(url, trust), PYTHON, network, rounds=3) for trust in trusts}
    with Network(0.005, 1e8) as network, site.served(f"tvix+tls://{SERVER}:0", network, *tls) as url:
        floor = 0.0
        for trust in ("lists", "bytes"):
            address = site.with_credentials(url, trust)
            site.cold(address, PYTHON, network, rounds=1)  # which records: links as slow as this one read less ahead
            cold = site.cold(address, PYTHON, network, rounds=3)
            floor = floor or cold.fetched * 8 / 1e8
            note = f"({cold.added * 1e3:.0f} ms against {floor * 1e3:.0f})"
            what = f"python, 5 ms, 100 Mbit/s, recorded, trust={trust}"
            yield Figure(what, "its compressed bytes at that rate", cold.added / floor, 1.2, note=note)
            late = site.cold(address, PYTHON, network, wait=0.5, rounds=3)
            yield _row(f"the same, started 0.5 s after the mount, trust={trust}", late, 60)
            cold = nothing[trust]
            note = f"({cold.added * 1e3:.0f} ms against {floor * 1e3:.0f}; {cold.fetched / 1e6:.1f} MB)"
            what = f"python, 5 ms, 100 Mbit/s, nothing recorded, trust={trust}"
            yield Figure(what, "its compressed bytes at that rate", cold.added / floor, 3, note=note)
    with Network(0.030, 1e8) as network, site.served(f"tvix+tls://{SERVER}:0", network, *tls) as url:
        address = site.with_credentials(url)
        tour = site.tour()
        site.cold(address, BASH, network, rounds=1, within=tour)  # which records
        yield _row("bash -c uname, 30 ms, 100 Mbit/s, recorded", site.cold(address, BASH, network, rounds=3, within=tour), 200)


def _bytes(site: Site) -> Figure:
    infos = {item["path"]: item for item in json.loads((HELLO / "INFO.json").read_text())}
    hello = next(path for path in infos if path.endswith("-hello"))
    closure = closure_of(infos, ("hello",))
    size = sum(infos[path]["narSize"] for path in closure)
    whole = f"pack:{site.place}/whole"  # which holds the same store paths with all that is in them
    import_closure(whole, Closure({"hello": hello}, HELLO / "INFO.json", HELLO / "store", size))
    with site.served(f"tvix+unix:{site.place}/socket", None, "--read-only", store=whole) as url:
        cold = site.cold(url, ("hello", "bin/hello"), prefetch="none", rounds=1, path=hello)
    note = f"({cold.fetched / 1e6:.2f} MB of {size / 1e6:.1f})"
    return Figure("bytes fetched for hello, nothing prefetched", "its closure", cold.fetched / size * 100, 15, "%", note=note)


def _sharing(site: Site) -> Figure:
    """What a machine that has a closure fetches of the same closure after a rebuild."""
    rebuilt = make_closure(site.place / "rebuilt", "again")
    import_closure(site.store, rebuilt)
    near = f"pack:{site.place}/near"
    import_closure(near, site.closure)
    path = rebuilt.paths[PYTHON[0]]
    with site.served(f"tvix+unix:{site.place}/socket", None, "--read-only") as url:
        mount = [str(TVIX), "mount", "--store", url, "--near", near, "--prefetch", "none", "--closure", path]
        everything = ["/bin/sh", "-c", "cat $(find /nix/store -type f) >/dev/null"]
        request = json.dumps({"mount": mount, "command": everything, "warm": 0})
        words = ["unshare", "--mount", "--propagation", "private", sys.executable, str(_COLD_START), request]
        done = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True)
    fetched = json.loads(done.stdout)["stats"]["bytesFetched"]
    nars = 0
    for item in json.loads(rebuilt.info.read_text()):
        nar = subprocess.run(["nix-store", "--dump", rebuilt.store / Path(item["path"]).name], check=True, stdout=subprocess.PIPE)
        nars += len(lzma.compress(nar.stdout, preset=6))
    note = f"({fetched / 1e6:.1f} MB against {nars / 1e6:.1f})"
    return Figure("the closure after a rebuild, what is shared near", "its NARs with xz", fetched / nars, 0.3, note=note)
