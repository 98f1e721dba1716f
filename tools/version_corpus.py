"""Write tests/corpus/versions/*.tsv: pairs of versions with the verdicts of dpkg, rpm and pacman themselves.

    .venv/bin/python tools/version_corpus.py [--seed 5]

A line is `left<TAB>right<TAB>verdict`: -1, 0, 1, or `refused` where the tool takes one of them for no version. The pairs
are fixed by the seed and by the versions of the packages that this system has and could have; needs Debian's packages
dpkg, rpm and pacman-package-manager.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import tempfile
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).parents[1] / "tests/corpus/versions"
PAIRS: Final = 3600
ATOMS: Final = (
    "0", "00", "1", "01", "9", "10", "010", "18446744073709551616", "a", "A", "b", "z", "rc", "beta", "git", "dfsg", "el7",
    "fc40", "~", "~~", "^", "^^", "+", "+b", ".", "..", "-", "_", ":", "~rc", "~bpo", "^git", "ubuntu", "+deb12u",
)  # fmt: skip
CHOSEN: Final = (
    ("1.0", "1.0-0"), ("1.0", "1.0-~1"), ("1.0~rc1", "1.0"), ("1.0^git1", "1.0"), ("1.0^git1", "1.0.1"), ("1:1.0", "2.0"),
    ("0:1.0", "1.0"), ("1.0-1", "1.0-1.el7"), ("1.0a", "1.0"), ("1.0a", "1.0.a"), ("00", "0"), ("1.00", "1.0"), ("1.", "1"),
    ("1.0-1", "1.0"), ("2.12-1.166.el6_7.7", "2.12-1.166.el6_7.1"), ("1:9.9.5.dfsg-4.3", "1:9.9.5.dfsg-4.10"), ("a", "1"),
    ("1.0-1~bpo1", "1.0-1"), ("1-", "1"), ("x:1", "1"), (":1", "1"), ("-1", "1"), ("1:", "1"), ("1 2", "1"), ("2147483648:1", "1"),
    ("1:2:3", "1:2:4"), ("1-2-3", "1-2-4"), ("4.3-11", "4.3-9"), ("2.6.32-504.12.2.el6.x86_64", "2.6.32-573.8.1.el6.x86_64"),
)  # fmt: skip


def real_versions() -> list[str]:
    """Those of the packages that apt and dpkg know of here."""
    command = ["/usr/bin/dpkg-query", "-W", "-f", "${Version}\n"]
    known = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    dumped = subprocess.run(["/usr/bin/apt-cache", "dumpavail"], capture_output=True, text=True, check=False).stdout
    known += [line.removeprefix("Version: ") for line in dumped.splitlines() if line.startswith("Version: ")]
    return sorted(set(known))


def mutated(version: str, chance: random.Random) -> str:
    """A neighbour of a version: something cut out, put in or replaced."""
    at = chance.randrange(len(version) + 1)
    kind = chance.randrange(4)
    if kind == 0 and len(version) > 1:
        return version[:at] + version[at + 1 :]
    if kind == 1:
        return version[:at] + chance.choice(ATOMS) + version[at:]
    if kind == 2:
        return version[:at] + chance.choice(ATOMS) + version[at + 1 :]
    return version + chance.choice(ATOMS) + chance.choice(("", "1", "2"))


def pairs(seed: int, real: list[str]) -> list[tuple[str, str]]:
    """Real ones, neighbours and inventions, no pair twice; nothing empty, nothing that starts like an option."""
    chance = random.Random(seed)  # noqa: S311 - the same pairs each time are what is wanted
    found = dict.fromkeys(CHOSEN)
    while len(found) < PAIRS:
        kind = chance.randrange(10)
        one = chance.choice(real)
        if kind < 2:
            place = chance.randrange(len(real) - 3)
            pair = (real[place], real[place + chance.randrange(1, 4)])
        elif kind < 7:
            pair = (one, mutated(one, chance))
        else:
            made = "".join(chance.choices(ATOMS, k=chance.randrange(1, 6)))
            pair = (
                made,
                mutated(made, chance) if kind < 9 else "".join(chance.choices(ATOMS, k=chance.randrange(1, 6))),
            )
        if all(pair):
            found[pair if chance.random() < 0.5 else pair[::-1]] = None
    return list(found)


def by_dpkg(left: str, right: str) -> str:
    """Of dpkg --compare-versions: exit status 0 true, 1 false, 2 refused."""
    for verdict, operator in (("-1", "lt"), ("0", "eq"), ("1", "gt")):
        command = ["/usr/bin/dpkg", "--compare-versions", "--", left, operator, right]
        status = subprocess.run(command, capture_output=True, check=False).returncode
        if status == 0:
            return verdict
        if status != 1:
            return "refused"
    raise ValueError(f"dpkg holds {left!r} and {right!r} neither less, equal nor greater")


def by_rpm(asked: list[tuple[str, str]]) -> list[str]:
    """Of rpm's own labels (`rpm.ver` in its Lua, rpmverCmp in its library), many in one process.

    On some that are no label at all rpm aborts: halving the pairs finds these, which count as refused.
    """
    quoted = ",\n".join(f"{{[[{left}]],[[{right}]]}}" for left, right in asked)
    script = f"""for _, pair in ipairs({{{quoted}}}) do
        local a, b = rpm.ver(pair[1]), rpm.ver(pair[2])
        print(a < b and "-1" or a == b and "0" or "1", "\\n")
    end"""
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as file:
        file.write(script)
        file.flush()
        command = ["/usr/bin/rpm", "--eval", f'%{{lua: dofile("{file.name}")}}']
        said = subprocess.run(command, capture_output=True, text=True, check=False)
    verdicts = said.stdout.split()
    if said.returncode == 0 and len(verdicts) == len(asked):
        return verdicts
    if len(asked) == 1:
        return ["refused"]
    half = len(asked) // 2
    return by_rpm(asked[:half]) + by_rpm(asked[half:])


def by_pacman(left: str, right: str) -> str:
    """Of vercmp."""
    return subprocess.run(["/usr/bin/vercmp", left, right], capture_output=True, text=True, check=True).stdout.strip()


def main() -> None:
    """Ask all three about the same pairs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seed", type=int, default=5)
    asked = pairs(parser.parse_args().seed, real_versions())
    FOLDER.mkdir(parents=True, exist_ok=True)
    verdicts = {
        "dpkg": [by_dpkg(*pair) for pair in asked],
        "rpm": by_rpm(asked),
        "pacman": [by_pacman(*pair) for pair in asked],
    }
    for tool, said in verdicts.items():
        lines = [f"{left}\t{right}\t{verdict}\n" for (left, right), verdict in zip(asked, said, strict=True)]
        (FOLDER / f"{tool}.tsv").write_text("".join(lines))
        print(tool, {verdict: said.count(verdict) for verdict in sorted(set(said))})


if __name__ == "__main__":
    main()
