"""An update that is killed at a random moment and run again: what both runs fetch together."""

import contextlib
import os
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
    """Prints the ratio of both runs' bytes to those of a run that nothing happens to."""
    chance = random.Random(1)
    clean = one_run(bench, name)
    ratios = []
    while len(ratios) < points:
        command = row.command(bench)
        bench.ready(row.before)
        bench.log.write_text("")
        if not killed_after(bench, command, chance.uniform(0.05, clean["wall"])):
            continue
        first = sent(bench)
        second = bench.timed(name, command)["bytes"]
        bench.expect_v2(row.kinds)
        ratios.append((first + second) / clean["bytes"])
    print(f"{name}, killed at {points} random moments and run again: both together fetch "
          f"{statistics.median(ratios):.3f} times what one run does (at most {max(ratios):.3f})")
