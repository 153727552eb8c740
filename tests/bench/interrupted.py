"""An update that is killed at a random moment and run again: what both runs fetch together."""

import contextlib
import os
import pathlib
import random
import signal
import statistics
import subprocess
import time


def sent(bench):
    """Bytes that the server sent since the log was emptied, of requests that were broken off too."""
    # A request is logged when its connection is closed.
    time.sleep(0.3)
    return sum(int(line.split(maxsplit=1)[0]) for line in bench.log.read_text().splitlines())


def crossed():
    """Bytes that the loopback device carried so far, those of whatever else runs here among them."""
    line = next(line for line in pathlib.Path("/proc/net/dev").read_text().splitlines() if line.strip().startswith("lo:"))
    return int(line.split(":")[1].split()[0])


def killed_after(bench, command, seconds):
    """Whether the run was killed before it ended."""
    with (bench.scratch / "talk").open("w") as out:
        child = subprocess.Popen(command, stdout=out, stderr=out, stdin=subprocess.DEVNULL, cwd=bench.scratch,
                                 start_new_session=True, env={**os.environ, "TMPDIR": str(bench.scratch)})
    try:
        child.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        return True
    return False


def measure(bench, name, row, one_run, points):
    """Prints the ratio of both runs' bytes to those of a run that nothing happens to: those that crossed the network,
    and those that the server gave to its kernel, which may have thrown them away when the client was gone."""
    chance = random.Random(1)
    # What is published once is there after it.
    one_run(bench, name)
    command = row.command(bench)
    bench.ready(row.before)
    before = crossed()
    clean = bench.timed(name, command)
    clean["crossed"] = crossed() - before
    ratios = {"crossed": [], "bytes": []}
    while len(ratios["bytes"]) < points:
        command = row.command(bench)
        bench.ready(row.before)
        bench.log.write_text("")
        before = crossed()
        if not killed_after(bench, command, chance.uniform(0.05, clean["wall"])):
            continue
        first = sent(bench)
        second = bench.timed(name, command)["bytes"]
        ratios["crossed"].append((crossed() - before) / clean["crossed"])
        ratios["bytes"].append((first + second) / clean["bytes"])
        bench.expect_v2(row.kinds)
    print(f"{name}, killed at {points} random moments and run again: both runs together take, of what one run does,")
    for key, what in (("crossed", "over the network"), ("bytes", "from the server")):
        print(f"    {statistics.median(ratios[key]):.3f} {what} (at most {max(ratios[key]):.3f})")
