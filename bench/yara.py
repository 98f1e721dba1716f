"""The yara module against a plain loop over YARA-X's own scanner on the same files, in the same run: medians, ratio, memory.

    .venv/bin/python bench/yara.py [--runs 5] [--tree /usr/lib/x86_64-linux-gnu] [--rules 20]

Both run in fresh processes that report their own time, without the interpreter's start, imports and compiling of rules.
The plain loop has YARA-X open each file itself, by its path. One unmeasured round warms the page cache.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys

from figures import figure

SCAN = """
import os, resource, sys, time
tree, count, who = sys.argv[1], int(sys.argv[2]), sys.argv[3]
rules = "\\n".join(
    f'rule r{n} {{ strings: $a = "secret_key_number_{n}" $b = {{ 4D 5A {n:02x} ?? 90 00 13 37 }} '
    f'$c = /evil[a-z]{{3,9}}payload{n}/ nocase condition: any of them }}'
    for n in range(count)
)
if who == "ours":
    from investigator.modules.interface import Context, load_parameters
    from investigator.modules.yara import MODULE
    search = f"-path {tree} -name . -matchlimit 0"
    parameters = load_parameters(MODULE, {"yara": rules, "filesearch": search})
    started = time.perf_counter()
    result = MODULE.run(parameters, Context())
    hits = len((result.elements or {}).get("Matches", ()))
else:
    import yara_x
    scanner = yara_x.Scanner(yara_x.compile(rules))
    started = time.perf_counter()
    hits = 0
    for folder, _, names in os.walk(tree):
        for name in names:
            path = os.path.join(folder, name)
            if os.path.isfile(path):
                hits += bool(scanner.scan_file(path).matching_rules)
print(time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, hits)
"""


def measured(who: str, tree: str, rules: int) -> tuple[float, int, int]:
    """Seconds, peak KiB, files that matched."""
    command = [sys.executable, "-c", SCAN, tree, str(rules), who]
    elapsed_s, peak_kib, hits = subprocess.run(command, capture_output=True, check=True).stdout.split()
    return float(elapsed_s), int(peak_kib), int(hits)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--tree", default="/usr/lib/x86_64-linux-gnu")
    parser.add_argument("--rules", type=int, default=20)
    arguments = parser.parse_args()
    rounds: dict[str, list[tuple[float, int, int]]] = {"plain loop": [], "ours": []}
    for number in range(arguments.runs + 1):  # alternating, so that what else the machine does meets both
        for who, taken in rounds.items():
            one = measured(who, arguments.tree, arguments.rules)
            if number:
                taken.append(one)
    medians = {who: statistics.median(one[0] for one in taken) for who, taken in rounds.items()}
    peaks_mb = {who: max(one[1] for one in taken) / 1000 for who, taken in rounds.items()}
    figure(
        "yara: rules over a tree",
        medians["ours"] / medians["plain loop"],
        against="a plain loop of YARA-X",
        goal=1.3,
        note=f"{medians['ours']:.3f} s of {medians['plain loop']:.3f} s, peak {peaks_mb['ours']:.0f} MB of "
        f"{peaks_mb['plain loop']:.0f} MB, medians of {arguments.runs}",
    )


if __name__ == "__main__":
    main()
