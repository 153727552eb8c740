"""Where the time of an update goes, by the events that the program itself tells."""

import datetime
import json
import statistics


def told(bench):
    """Seconds of each effect of the session's plan, in order, from what the last run said."""
    marks = []
    for line in (bench.scratch / "talk").read_text().splitlines():
        if not line.startswith("{"):
            continue
        event = json.loads(line)
        kind = event["event"]
        if kind in ("begin", "effect", "end"):
            marks.append((event.get("effect", kind), datetime.datetime.fromisoformat(event["time"])))
    return {name: (after - at).total_seconds() for (name, at), (_, after) in zip(marks, marks[1:])}


def measure(bench, name, row, one_run, runs):
    """Prints the median of each effect, and what the row would take beside the floor without its read-back."""
    rounds = []
    for _ in range(runs + 1):
        floor = one_run(bench, "floor")["wall"]
        command = row.command(bench)
        command[command.index("none")] = "json"
        rounds.append((floor, one_run(bench, name, command)["wall"], told(bench)))
    del rounds[0]
    effects = ", ".join(f"{effect} {statistics.median(effects[effect] for _, _, effects in rounds):.2f}"
                        for effect in rounds[0][2])
    without = [(wall - effects["read_back"]) / floor for floor, wall, effects in rounds]
    print(f"{name}: seconds of {effects}\n{name} without read-back, divided by the floor: "
          f"{statistics.median(without):.2f} ({min(without):.2f}-{max(without):.2f})")
