"""Mounts a store at /nix/store and runs a program out of it, cold and then warm: `python cold_start.py REQUEST`, in namespaces.

REQUEST is JSON: `mount` is the command that mounts, `wait` the seconds between the mount and the first start, `command` what is
run, `path` where it looks for programs, `warm` how often it is run again. The answer is a line of JSON, all times in seconds.
"""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
import time


def timed(command: list[str], path: str) -> float:
    """Seconds that the program takes; it must succeed."""
    null = os.open(os.devnull, os.O_RDWR)
    actions = [(os.POSIX_SPAWN_DUP2, null, 0), (os.POSIX_SPAWN_DUP2, null, 1)]
    start = time.perf_counter()
    pid = os.posix_spawn(command[0], command, {"PATH": path, "HOME": "/"}, file_actions=actions)
    _, status = os.waitpid(pid, 0)
    seconds = time.perf_counter() - start
    os.close(null)
    if status:
        sys.exit(f"{command[0]} ended with wait status {status}")
    return seconds


def cpu_seconds(pid: int) -> float:
    """What a process has used so far."""
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main(request: dict[str, object]) -> dict[str, object]:
    """See above."""
    subprocess.run(["mount", "-t", "tmpfs", "nix", "/nix"], check=True)
    os.mkdir("/nix/store")
    started = time.perf_counter()
    with subprocess.Popen([*request["mount"], "/nix/store"], stdout=subprocess.PIPE) as mount:  # type: ignore[misc]
        assert mount.stdout is not None
        assert mount.stdout.readline().startswith(b"READY")
        mounted = time.perf_counter() - started
        time.sleep(request.get("wait", 0))  # type: ignore[arg-type]  # what is measured is a start that comes so much later
        command: list[str] = request["command"]  # type: ignore[assignment]
        path = str(request.get("path", "/bin:/usr/bin"))
        cold = timed(command, path)
        cpu = cpu_seconds(mount.pid)
        stats = json.loads(os.getxattr("/nix/store", "user.tvix.stats"))
        warm = [timed(command, path) for _ in range(request.get("warm", 3))]  # type: ignore[call-overload]
        mount.send_signal(signal.SIGTERM)
        mount.wait()
    return {"cold": cold, "warm": statistics.median(warm or [0.0]), "mounted": mounted, "cpu": cpu, "stats": stats}


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))))
