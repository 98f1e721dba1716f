"""The chain of an agent's decisions: each line carries its number and the SHA-256 of the line before. Pure.

    {"n": 17, "prev": "64 hex", "time": "2026-11-24T03:00:00.123Z", "agent": ID, "kind": "decision", …}

Number and hash of the newest line (a *head*) leave the host in every signed heartbeat. Whoever has root there can write the whole
chain anew, and then the heads that a console heard no longer stand in it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Final

import msgspec
import orjson

from investigator.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_LINE_BYTES: Final = 64 << 10
MAX_COUNT: Final = 2**53
"""The largest whole number that every JSON reader has exactly."""
HEAD_DIGITS: Final = 24
"""96 bits of the newest line's SHA-256 in a heartbeat, which has little room: too many to find another line for."""
NOTHING: Final = "0" * 64
"""What the first line has for the hash of the line before."""
HARMLESS: Final = frozenset(("first", "torn", "replaced"))
"""Codes of lines of kind "chain" that leave the chain whole."""


class ChainBroken(Refused):
    """The lines are not what was written; the message starts with the first place where that shows."""

    code = "audit"


class Entry(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    """What one line says. What is empty is not written.

    `kind` is one of these.

    - chain: why the chain starts here, or what the agent found wrong with it (`code`, `reason`)
    - decision: on a signed thing of a `type` ("action", "cancel", "revocation"): `verdict` ("admitted", "refused") and `code`
    - end: how the run of an admitted action ended: `state` and `code`
    - skipped: nothing but `unwritten`
    """

    kind: str
    type: str = ""
    verdict: str = ""
    state: str = ""
    code: str = ""
    reason: str = ""
    action: str = ""
    """The action's id; for a refused one, that of the subject it came under."""
    name: str = ""
    digest: str = ""
    signers: tuple[str, ...] = ()
    """Full fingerprints of those whose signatures are good."""
    operations: tuple[str, ...] = ()
    """The operations' modules, in order."""
    unwritten: int = 0
    """Decisions before this line that have no line of their own: floods are counted."""


class Line(Entry, kw_only=True, frozen=True):
    """An entry in its place."""

    n: Annotated[int, msgspec.Meta(ge=1, le=MAX_COUNT)]
    prev: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}\\Z")]
    time: str
    agent: str


@dataclass(frozen=True, slots=True)
class Head:
    """The newest line at some time: its number, and its SHA-256 or the first digits of it. Nothing yet: 0, and zeros."""

    count: int
    digest: str
    said: str = ""
    """Who knows it, and since when, for messages."""


def write_line(entry: Entry, after: Head, *, time: str, agent: str) -> bytes:
    """The next line, without its line feed."""
    place = {"n": after.count + 1, "prev": after.digest, "time": time, "agent": agent}
    return orjson.dumps({**place, **msgspec.to_builtins(entry)})


def read_line(raw: bytes) -> Line | None:
    """A line, without its line feed; None if it is none. Of unknown keys only the hash takes notice."""
    if len(raw) > MAX_LINE_BYTES:
        return None
    try:
        return msgspec.convert(orjson.loads(raw), Line)
    except (orjson.JSONDecodeError, msgspec.ValidationError):
        return None


def line_digest(raw: bytes) -> str:
    """What the next line has as `prev`: SHA-256 of the line without its line feed, 64 hexadecimal digits."""
    return hashlib.sha256(raw).hexdigest()


@dataclass(slots=True)
class Verified:
    """A chain that holds: its first and last line, and how many heads were found in it."""

    first: int = 0
    last: Head = field(default_factory=lambda: Head(0, NOTHING))
    agent: str = ""
    compared: int = 0
    older: int = 0
    """Heads of lines that are not kept any more."""
    notes: list[str] = field(default_factory=list)
    """What the agent itself noted about the chain."""


def verify(lines: Iterable[tuple[str, bytes]], *, heads: Iterable[Head] = (), start: int = 1) -> Verified:
    """Check a chain, oldest line first, each with its place for messages; lines before number `start` are passed over.

    A chain that starts later than with line 1 is accepted: whether it may is for whoever knows how many lines are kept.

    Raises:
        ChainBroken: at the first line that does not follow, is not as a head says, or is missing at the end.
    """
    known: dict[int, list[Head]] = {}
    for head in heads:
        if head.count >= start:
            known.setdefault(head.count, []).append(head)
    chain = Verified()
    for where, raw in lines:
        line = read_line(raw)
        if line is None:
            raise ChainBroken(f"{where}: this is no line of an audit")
        if line.n < start:
            continue
        accepted = 1 < start == line.n
        if line.kind == "chain" and line.code not in HARMLESS and not accepted:
            raise ChainBroken(f"{where}: line {line.n}, {line.time}: the agent itself says that {line.reason}")
        if chain.first:
            _follows(line, where, chain)
        else:
            chain.first, chain.agent = line.n, line.agent
            if line.n == 1 and (line.kind != "chain" or line.prev != NOTHING):
                raise ChainBroken(f"{where}: line 1 is no beginning of a chain")
            _compare(Head(line.n - 1, line.prev), where, known, chain)
        chain.last = Head(line.n, line_digest(raw))
        _compare(chain.last, where, known, chain)
        if line.kind == "chain" and line.n > 1:
            chain.notes.append(f"line {line.n}, {line.time}: {line.reason}")
    _ends(known, chain)
    return chain


def _follows(line: Line, where: str, chain: Verified) -> None:
    before = chain.last
    if line.n != before.count + 1:
        gone = f": lines {before.count + 1} to {line.n - 1} are missing" if line.n > before.count else ""
        raise ChainBroken(f"{where}: line {line.n} stands after line {before.count}{gone}")
    if line.prev != before.digest:
        raise ChainBroken(f"{where}: line {line.n} does not follow from line {before.count}: one of them was altered")
    if line.agent != chain.agent:
        raise ChainBroken(
            f"{where}: line {line.n} is of agent {line.agent[:64]!r}, the lines before of {chain.agent[:64]!r}"
        )


def _compare(here: Head, where: str, known: dict[int, list[Head]], chain: Verified) -> None:
    for head in known.pop(here.count, ()):
        if not here.digest.startswith(head.digest):
            raise ChainBroken(
                f"{where}: line {here.count} is not the one that {head.said} has: the chain was rewritten at or before it"
            )
        chain.compared += 1


def _ends(known: dict[int, list[Head]], chain: Verified) -> None:
    beyond = [head for count, heads in known.items() for head in heads if count > chain.last.count]
    if beyond:
        head = max(beyond, key=lambda head: head.count)
        raise ChainBroken(
            f"line {chain.last.count + 1} is missing: {head.said} has {head.count:,} lines, and "
            f"the chain here ends with line {chain.last.count:,}: its end was cut off, or it was begun anew"
        )
    chain.older = sum(map(len, known.values()))
