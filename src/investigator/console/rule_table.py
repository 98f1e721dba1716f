"""An ACL as a table: who may do what alone, and who together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from investigator.console.coalitions import Coalitions, coalitions
from investigator.console.rules import Rules
from investigator.modules import MODULES
from investigator.pgp import Listed
from investigator.printable import printable
from investigator.protocol.acl import CANCEL, DEFAULT, HIGHEST, Weighing


@dataclass(frozen=True, slots=True)
class Row:
    """One investigator of an entry."""

    name: str
    fingerprint: str
    weight: int
    problem: str
    """Why their signatures count nothing now, or nothing."""


@dataclass(frozen=True, slots=True)
class EntryTable:
    """One entry."""

    name: str
    minimum: int
    rules: tuple[str, ...]
    """The modules that it rules, and `cancel`."""
    rows: tuple[Row, ...]
    ways: Coalitions
    """Of those whose signatures count now."""

    def lines(self) -> Iterator[str]:
        """For people."""
        yield f"{self.name}: minimum weight {self.minimum}; rules {', '.join(self.rules) or 'nothing that there is'}"
        width = max((len(printable(row.name)) for row in self.rows), default=0)
        for row in self.rows:
            problem = f"  COUNTS NOTHING: {printable(row.problem)}" if row.problem else ""
            yield f"  {printable(row.name):<{width}}  weight {row.weight}  {row.fingerprint}{problem}"
        alone = [names[0] for names in self.ways.sets if len(names) == 1]
        yield f"  alone:    {', '.join(map(printable, alone)) or 'nobody'}"
        yield f"  together: {self._together()}"

    def _together(self) -> str:
        if not self.ways.sets and not self.ways.more:
            return f"nobody: {self.minimum} cannot be reached now"
        able = [row for row in self.rows if row.weight and not row.problem]
        size = -(-self.minimum // able[0].weight)
        if len({row.weight for row in able}) == 1 and 1 < size < len(able):
            return f"any {size} of {', '.join(printable(row.name) for row in able)}"
        return told_ways(Coalitions(tuple(w for w in self.ways.sets if len(w) > 1), self.ways.more))

    def document(self) -> dict[str, Any]:
        """For programs."""
        return {
            "entry": self.name,
            "minimumweight": self.minimum,
            "rules": self.rules,
            "investigators": [
                {
                    "name": row.name,
                    "fingerprint": row.fingerprint,
                    "weight": row.weight,
                    "counts": not row.problem,
                    "problem": row.problem,
                }
                for row in self.rows
            ],
            "alone": [names[0] for names in self.ways.sets if len(names) == 1],
            "together": [names for names in self.ways.sets if len(names) > 1],
            "more": self.ways.more,
        }


def rule_tables(rules: Rules, *, now_s: float) -> list[EntryTable]:
    """A table for each entry, in the ACL's order, and for each module that needs all of `default`."""
    problems = _problems(rules, now_s=now_s)
    entries = rules.acl.entries
    highest = sorted(HIGHEST.difference(entries).intersection(MODULES)) if DEFAULT in entries else []
    return [_table(name, rules, problems) for name in (*entries, *highest)]


def without_weight(rules: Rules, *, now_s: float) -> list[Listed]:
    """Certificates of the keyring that no entry gives a weight: what they sign is refused, whatever it is."""
    named = {
        person.fingerprint
        for entry in rules.acl.entries.values()
        for person in entry.investigators.values()
        if person.weight
    }
    return [one for one in rules.keyring.certificates(int(now_s)) if one.fingerprint not in named]


def ways_to_complete(weighing: Weighing, signers: frozenset[str], rules: Rules, *, now_s: float) -> Coalitions:
    """Who else could sign, so that this operation may run."""
    if not weighing.entry or not weighing.missing:
        return Coalitions((), more=False)
    people = rules.acl.entries[weighing.entry].investigators
    problems = _problems(rules, now_s=now_s)
    others = {
        name: person.weight
        for name, person in people.items()
        if person.fingerprint not in signers and not problems[person.fingerprint]
    }
    return coalitions(others, weighing.missing)


def told_ways(ways: Coalitions) -> str:
    """Sets of people in one line."""
    sets: Sequence[str] = [" + ".join(map(printable, names)) for names in ways.sets]
    return "; ".join([*sets, *(["and more"] if ways.more else [])]) or "nobody else"


def _table(name: str, rules: Rules, problems: Mapping[str, str]) -> EntryTable:
    entry, minimum = rules.acl.entries.get(name) or rules.acl.entries[DEFAULT], rules.acl.minimum(name)
    rows = tuple(
        Row(person_name, person.fingerprint, person.weight, problems[person.fingerprint])
        for person_name, person in sorted(entry.investigators.items(), key=lambda item: (-item[1].weight, item[0]))
    )
    able = {row.name: row.weight for row in rows if not row.problem}
    elsewhere = HIGHEST.union(rules.acl.entries)
    ruled = (name,) if name != DEFAULT else tuple(n for n in (*sorted(MODULES), CANCEL) if n not in elsewhere)
    return EntryTable(name, minimum, ruled, rows, coalitions(able, minimum))


def _problems(rules: Rules, *, now_s: float) -> dict[str, str]:
    """Of each certificate, why its signatures count nothing now; of a good one, nothing."""
    return {one.fingerprint: _problem(one, now_s) for one in rules.keyring.certificates(int(now_s))}


def _problem(one: Listed, now_s: float) -> str:
    if one.revoked:
        return f"revoked {one.revoked}"
    if one.expires is not None and one.expires <= now_s:
        return "expired"
    return "" if one.signing_keys else "no key of the certificate may sign now"
