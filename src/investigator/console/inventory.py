"""The fleet as its own facts and heartbeats tell it: the agents table that targets are counted on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from investigator.console.heads import ChainHead
from investigator.errors import BadInput, Refused
from investigator.protocol.action import utc
from investigator.protocol.facts import Facts, Heartbeat, decode_facts, decode_heartbeat
from investigator.protocol.target import Condition, NoVerdict, judge

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from datetime import datetime

    from investigator.console.standing import Judged

ONLINE_HEARTBEATS: Final = 3
"""An agent counts as online while its last sign of life is younger than this many of its heartbeats."""
OFFLINE_AFTER_S: Final = 20 * 60
"""MIG's: silent for longer than this is offline; in between it is idle."""


MAX_DROPPED_TOLD: Final = 1000
AHEAD_S: Final = 120
"""How far an agent's clock may be before the broker's and still set the time that its next heartbeats must be after."""
CLOCK_OFF_S: Final = 60
"""An agent whose clock is off by more is named: it refuses actions that are not valid yet, or any more."""


_decoder: Final = msgspec.json.Decoder(Heartbeat)


class Beat(NamedTuple):
    """When an agent said by its own clock that it is there, and when that was heard."""

    told_s: float
    seen_s: float
    """By the broker's clock, or this console's."""
    stopped: bool = False
    """Whether it said that it stops."""

    @property
    def floor_s(self) -> float:
        """No later heartbeat says less. Of a clock that was ahead only so much counts, or putting it right would silence it."""
        return min(self.told_s, self.seen_s + AHEAD_S)


@dataclass(slots=True)
class Host:
    """One agent as the inventory knows it."""

    facts: Facts
    facts_seen: datetime
    beat: Beat | None = None
    """Its newest heartbeat, which may be known from earlier; facts prove no life: whoever has them can send them again."""
    heartbeat_seen: datetime | None = None
    judged: Judged | None = None
    """Its standing, once a `Register` has judged it."""
    id: str = field(init=False)
    """Derived from the key that signed the facts."""
    name: str = field(init=False)
    """What the agent calls itself."""
    _heartbeat: Heartbeat | None = None
    _kept: bytes = b""

    def __post_init__(self) -> None:
        """Take id and name from the facts."""
        self.renew(self.facts, self.facts_seen)

    def renew(self, facts: Facts, seen: datetime) -> None:
        """Take newer facts; they are to be judged anew."""
        self.facts, self.facts_seen, self.judged = facts, seen, None
        self.id = str(facts.row["id"])
        self.name = str(facts.row.get("name") or self.id)

    @property
    def heartbeat(self) -> Heartbeat | None:
        """The newest that was taken. One that was kept from earlier is decoded when somebody asks: of most hosts nobody does."""
        if self._heartbeat is None and self._kept:
            self._heartbeat = _decoder.decode(self._kept)
        return self._heartbeat

    def hear(self, heartbeat: Heartbeat, seen: datetime) -> None:
        """Take one that was verified."""
        self._heartbeat, self.heartbeat_seen = heartbeat, seen

    def remember(self, heartbeat: bytes, seen: datetime) -> None:
        """Take the JSON of one that was verified and taken earlier."""
        self._kept, self.heartbeat_seen = heartbeat, seen

    @property
    def last_seen(self) -> datetime:
        """When the broker first stored its newest heartbeat, by the broker's clock; its facts, where none is known."""
        return self.facts_seen if self.beat is None else utc(self.beat.seen_s)

    @property
    def stopped(self) -> bool:
        """Whether its last word was that it stops."""
        return self.beat is not None and self.beat.stopped

    @property
    def clock_off_s(self) -> int:
        """By how much its clock is before (+) or behind (-) the broker's; 0 within what nobody needs to know."""
        if self.heartbeat is None or self.heartbeat_seen is None:
            return 0
        off_s = int(self.heartbeat.t - self.heartbeat_seen.timestamp())
        return off_s if abs(off_s) > CLOCK_OFF_S else 0

    def is_online(self, now: datetime) -> bool:
        """Seen within three of its heartbeats: an answer is expected from it."""
        age_s = (now - self.last_seen).total_seconds()
        return not self.stopped and age_s < ONLINE_HEARTBEATS * self.facts.heartbeat_s

    def row(self, now: datetime) -> dict[str, Any]:
        """Its row of the agents table, with the two columns that only the inventory can fill."""
        seen = self.last_seen
        age_s, online_s = (now - seen).total_seconds(), ONLINE_HEARTBEATS * self.facts.heartbeat_s
        silent = self.stopped or age_s >= max(OFFLINE_AFTER_S, online_s)
        status = "offline" if silent else "online" if age_s < online_s else "idle"
        return {**self.facts.row, "status": status, "heartbeattime": seen}


class Inventory:
    """Every agent whose facts the streams hold, by id."""

    def __init__(self, beats: Mapping[str, Beat] | None = None) -> None:
        """`beats`: the newest heartbeat that is known of each agent; an older one was played back by somebody."""
        self.hosts: dict[str, Host] = {}
        self.dropped: list[str] = []
        """What did not verify, one line each."""
        self.beats: dict[str, Beat] = dict(beats or {})
        self.fresh: set[str] = set()
        """Agents of which a heartbeat was taken that is not kept from earlier."""
        self.set_back: set[str] = set()
        """Agents in whose name heartbeats came that are older than one heard before."""

    def matching(
        self, condition: Condition | None, now: datetime, came_to: Collection[tuple[str, str, str]] = ()
    ) -> list[Host]:
        """The agents that a target means (None: all), by name, as far as the inventory can tell.

        `came_to`: (action id, agent id, state) of earlier outcomes, for targets that ask for these.
        """
        if not asks_ledger(condition):
            came_to = ()
        hosts = sorted(self.hosts.values(), key=lambda host: (host.name, host.id))
        return [host for host in hosts if condition is None or _is_meant(condition, host, now, came_to)]

    def heads(self, agents: Iterable[str] | None = None) -> list[ChainHead]:
        """What the last heartbeat of each of these agents (None: of all) says of its host's audit, where it says something."""
        among = self.hosts if agents is None else [agent for agent in agents if agent in self.hosts]
        return [
            ChainHead(host.id, host.heartbeat.n, host.heartbeat.h, host.heartbeat.t, host.heartbeat_seen.timestamp())
            for host in map(self.hosts.__getitem__, among)
            if host.heartbeat is not None and host.heartbeat_seen is not None and host.heartbeat.h
        ]

    def hear_facts(self, agent: str, frame: bytes, seen: datetime) -> None:
        """Take an agent's facts if it signed them itself."""
        try:
            facts, _ = decode_facts(frame, agent=agent)
        except (BadInput, Refused) as error:
            self.drop(str(error))
            return
        self.take_facts(agent, facts, seen)

    def take_facts(self, agent: str, facts: Facts, seen: datetime) -> None:
        """Take facts that this agent signed, as somebody has verified."""
        known = self.hosts.get(agent)
        if known is None:
            self.hosts[agent] = Host(facts, seen, self.beats.get(agent))
        else:
            known.renew(facts, seen)

    def hear_heartbeat(self, agent: str, frame: bytes, seen: datetime) -> bool:
        """Take a heartbeat if the agent that it speaks for signed it; true if so."""
        host = self.hosts.get(agent)
        if host is None:
            return False
        try:
            heartbeat = decode_heartbeat(frame, host.facts.public_key)
        except (BadInput, Refused) as error:
            self.drop(f"{host.name}: {error}")
            return False
        return self.take_heartbeat(host, heartbeat, seen)

    def drop(self, line: str) -> None:
        """Remember what did not verify, up to a bound."""
        if len(self.dropped) < MAX_DROPPED_TOLD:
            self.dropped.append(line)

    def take_heartbeat(self, host: Host, heartbeat: Heartbeat, seen: datetime) -> bool:
        """Take a heartbeat that this host signed, as somebody has verified: only what is newer by the agent's own clock: a broker that plays old ones back makes nobody look alive."""
        known, new = self.beats.get(host.id), Beat(heartbeat.t, seen.timestamp(), heartbeat.x)
        if known is not None and heartbeat.t < known.floor_s:
            if host.id not in self.set_back:
                self.drop(
                    f"{host.name}: its heartbeats are older than one that was heard before, and count for nothing: "
                    "its clock was set back, or somebody plays them back"
                )
            self.set_back.add(host.id)
            return False
        if known is not None and heartbeat.t == known.told_s:
            if host.heartbeat is not None and (heartbeat == host.heartbeat or heartbeat.n < host.heartbeat.n):
                return False
            new = Beat(heartbeat.t, min(new.seen_s, known.seen_s), heartbeat.x)
        host.beat = self.beats[host.id] = new
        host.hear(heartbeat, utc(new.seen_s))
        self.fresh.add(host.id)
        return True


def _is_meant(condition: Condition, host: Host, now: datetime, came_to: Collection[tuple[str, str, str]]) -> bool:
    """A host whose facts allow no verdict (a cast that fails on them) counts as meant: it will refuse, and say why."""

    def ledger(action: str, found: bool) -> bool:
        return (action, host.id, "found" if found else "notfound") in came_to

    try:
        return judge(condition, host.row(now), now, ledger if came_to else None) is True
    except NoVerdict:
        return True


def asks_ledger(condition: Condition | None) -> bool:
    """Whether the condition asks what an earlier action found: it is then bound anew for every host, which costs."""
    return condition is not None and _has_ledger(condition.tree)


def _has_ledger(node: object) -> bool:
    if not isinstance(node, list):
        return False
    return (len(node) == 2 and node[0] in ("found", "notfound")) or any(_has_ledger(item) for item in node)
