"""How the time grows with the fleet: the cost of one more agent, which should stay what it is, as JSON and as a picture.

python bench/fleet.py --growth                              every size that fits into memory; about ten minutes
python bench/fleet.py --growth coroutines:1000,real:300     these sizes; the others stay as they were recorded
"""

from __future__ import annotations

import argparse
import itertools
import statistics
from pathlib import Path
from typing import Any

import orjson

from figures import figure
from fleet import measure
from fleet_cost import available_bytes

HERE = Path(__file__).resolve().parent
RECORDED = HERE / "fleet-growth.json"
PICTURE = HERE.parent / "docs" / "fleet-growth.svg"
SIZES = {"real": (100, 300, 1000, 3000), "coroutines": (1000, 3000, 10_000)}
BYTES = {"real": 20 << 20, "coroutines": 1 << 20}
"""That an agent needs, its worker and its share of the broker included."""
FLAT = 1.5
COLOURS = {"real": "#b03a2e", "coroutines": "#1f618d", "floor": "#7f8c8d"}
NAMES = {"real": "real processes", "coroutines": "coroutines", "floor": "bare echo clients"}
WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 720, 440, 70, 60, 40, 20
Points = list[tuple[int, float]]


def growth(options: argparse.Namespace) -> int:
    """Measure, record, draw; 1 if the cost of one more agent is not flat."""
    wanted = sizes(options.growth)
    known: dict[str, dict[str, Any]] = orjson.loads(RECORDED.read_bytes()) if RECORDED.exists() else {}
    for kind, agents in wanted:
        if agents * BYTES[kind] > available_bytes():
            print(f"{kind} {agents:,}: left out, {available_bytes() / (1 << 30):.0f} GiB are free")
            continue
        found = measure(
            options,
            agents,
            real=kind == "real",
            runs=1 if agents > 3000 else 2 if kind == "real" and agents >= 1000 else 3,
        )
        if found.missing:
            return 1
        known[f"{kind}:{agents}"] = {
            "kind": kind,
            "agents": agents,
            "last_s": statistics.median(found.times.last),
            "stored_s": found.stored_s,
            "floor_s": statistics.median(found.floor),
        }
        RECORDED.write_bytes(orjson.dumps(known, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS) + b"\n")
    series = {kind: points(known, kind, "stored_s") for kind in SIZES}
    series["floor"] = points(known, "coroutines", "floor_s")
    PICTURE.write_text(picture(series))
    print(f"{RECORDED}\n{PICTURE}")
    flat = [told(kind, series[kind]) for kind in SIZES]
    return 0 if all(flat) else 1


def sizes(words: str) -> list[tuple[str, int]]:
    """All, or those that were asked for."""
    if words == "all":
        return [(kind, agents) for kind, several in SIZES.items() for agents in several]
    return [(kind, int(agents)) for kind, _, agents in (word.partition(":") for word in words.split(","))]


def points(known: dict[str, dict[str, Any]], kind: str, what: str) -> Points:
    """By the number of agents."""
    return sorted((one["agents"], one[what]) for one in known.values() if one["kind"] == kind)


def told(kind: str, found: Points) -> bool:
    """Say what one more agent costs from size to size; whether it is the same everywhere."""
    if len(found) < 3:
        return True
    costs = [(b[1] - a[1]) / (b[0] - a[0]) for a, b in itertools.pairwise(found)]
    steps = ", ".join(
        f"{a[0]:,} to {b[0]:,}: {1000 * cost:.2f} ms"
        for (a, b), cost in zip(itertools.pairwise(found), costs, strict=True)
    )
    ratio = max(costs) / min(costs) if min(costs) > 0 else float("inf")
    figure(f"fleet.{kind}.marginal", ratio, against="the cheapest step", goal=FLAT, note=f"one more agent, {steps}")
    return ratio <= FLAT


def picture(series: dict[str, Points]) -> str:
    """Time against agents, both axes logarithmic: what grows in proportion is a straight line of slope one."""
    import math

    everything = [point for one in series.values() for point in one]
    if not everything:
        return ""
    low = [math.floor(math.log10(min(axis))) for axis in zip(*everything, strict=True)]
    high = [math.ceil(math.log10(max(axis))) for axis in zip(*everything, strict=True)]

    def place(agents: float, seconds: float) -> tuple[float, float]:
        x = (math.log10(agents) - low[0]) / (high[0] - low[0])
        y = (math.log10(seconds) - low[1]) / (high[1] - low[1])
        return LEFT + x * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - y * (HEIGHT - BOTTOM - TOP)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<text x="{LEFT}" y="20" font-size="14">From the publication of an action until all results are stored</text>',
    ]
    for power in range(low[0], high[0] + 1):
        x, y = place(10.0**power, 10.0 ** low[1])
        parts.append(f'<path d="M{x:.1f} {TOP}V{y:.1f}" stroke="#ddd"/>')
        parts.append(f'<text x="{x:.1f}" y="{y + 18:.1f}" text-anchor="middle">{10**power:,}</text>')
    for power in range(low[1], high[1] + 1):
        x, y = place(10.0 ** low[0], 10.0**power)
        parts.append(f'<path d="M{x:.1f} {y:.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>')
        parts.append(f'<text x="{x - 8:.1f}" y="{y + 4:.1f}" text-anchor="end">{10.0**power:g} s</text>')
    parts.append(f'<text x="{WIDTH / 2}" y="{HEIGHT - 15}" text-anchor="middle">agents</text>')
    for number, (kind, found) in enumerate(series.items()):
        places = [place(agents, seconds) for agents, seconds in found]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{COLOURS[kind]}" stroke-width="2"/>')
        for (x, y), (_, seconds) in zip(places, found, strict=True):
            parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{COLOURS[kind]}"/>')
            parts.append(f'<text x="{x - 6:.1f}" y="{y - 8:.1f}" text-anchor="end">{seconds:.2g} s</text>')
        parts.append(f'<text x="{LEFT + 20}" y="{TOP + 20 + 18 * number}" fill="{COLOURS[kind]}">{NAMES[kind]}</text>')
    return "\n".join([*parts, "</svg>", ""])
