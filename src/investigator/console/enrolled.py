"""The fleet's agents by their standing: read what investigators signed, judge who is there, and say who is not asked, and why."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from investigator.console.not_collecting import not_collecting
from investigator.console.standing import Judged, Policy, Register, Standing
from investigator.console.statements import Statements
from investigator.protocol.subjects import ALL_STATEMENTS, RECORDS

if TYPE_CHECKING:
    from investigator.console.inventory import Host
    from investigator.console.session import Session
    from investigator.console.store import Store

MAX_TOLD: Final = 8
MAX_NAMES: Final = 5
_UNJUDGED: Final = Judged(Standing.UNPROVEN, "nothing is known of it")


class Enrolled:
    """Who is who, for one command; made by `load_enrolled`."""

    def __init__(self, register: Register, statements: Statements, store: Store) -> None:
        self.policy: Policy = register.policy
        self.problems: list[str] = []
        """Statements that nobody entitled signed, one line each."""
        self._register = register
        self._statements = statements
        self._store = store

    async def judge(self, hosts: Iterable[Host]) -> None:
        """Set the standing of hosts, and keep who had which name first.

        Raises:
            DeploymentError: the store's disk does not take it.
        """
        with not_collecting():
            self._register.judge(hosts, now_s=time.time())
        learned, self._register.learned = self._register.learned, []
        if learned:
            await self._store.keep_pins(learned)
        changed, self._statements.changed = self._statements.changed, {}
        if changed:
            await self._store.keep_statements(list(changed.values()))

    def owner(self, name: str) -> str:
        """The id of the agent that has a name here; empty: nobody."""
        return self._register.owner(name)

    def counts(self, host: Host) -> bool:
        """Whether this host is asked, and its answers are taken."""
        return (host.judged or _UNJUDGED).counts(self.policy)

    def row(self, host: Host, now: datetime) -> dict[str, Any]:
        """Its row of the agents table, with its standing beside the columns."""
        judged = host.judged or _UNJUDGED
        enrolment = {"standing": str(judged.standing), "why": judged.why, "formerly": self._register.former(host)}
        return {**host.row(now), "enrolment": enrolment}

    def why_not(self, host: Host | None) -> str:
        """Why it is not; empty if it is."""
        judged = _UNJUDGED if host is None else host.judged or _UNJUDGED
        return "" if judged.counts(self.policy) else f"{judged.standing}: {judged.why}"

    def warnings(self, matching: Sequence[Host], everyone: Collection[Host]) -> list[str]:
        """What to know before these are asked: conflicts of their names, who has no proof, who speaks from elsewhere."""
        names = {host.name for host in matching}
        concerned = [host for host in everyone if host.name in names]
        lines = _conflicts(concerned)
        left_out = [host for host in matching if not self.counts(host) and _standing(host) is not Standing.CONFLICT]
        if left_out:
            are, they = ("is", "its") if len(left_out) == 1 else ("are", "their")
            lines.append(
                f"{_agents(left_out)} {are} not asked, and {they} answers do not count: {_named(left_out)}; "
                f"such as {left_out[0].name}: {(left_out[0].judged or _UNJUDGED).why}"
            )
        marked = [host for host in matching if self.counts(host) and _standing(host) is not Standing.PROVEN]
        if marked:
            lines.append(f"{_agents(marked)} of those that are asked: {_named(marked)}")
        return [*lines, *(note for host in matching if (note := self._register.note(host)))][: 2 * MAX_TOLD]


async def load_enrolled(session: Session) -> Enrolled:
    """Read the statements of stream and store, and the pins of the store.

    Raises:
        BrokerError: the broker does not answer, or has no such stream.
        DeploymentError: the store cannot be read.
    """
    store = session.store
    statements = Statements(session.rules, await store.statements(), now_s=time.time())
    async for stored in session.broker.read_stream(RECORDS, ALL_STATEMENTS):
        statements.hear(stored.data)
    register = Register(
        statements.rulings(),
        await store.pins(),
        await store.vouched(),
        policy=session.policy,
        token_of=statements.token_of,
    )
    enrolled = Enrolled(register, statements, store)
    enrolled.problems = statements.problems()[:MAX_TOLD]
    return enrolled


def _conflicts(hosts: Iterable[Host]) -> list[str]:
    found = [host for host in hosts if _standing(host) is Standing.CONFLICT]
    lines = [
        f"conflict: {host.name} is also what {host.id} calls itself: {(host.judged or _UNJUDGED).why}; "
        f"`investigator enrol approve {host.id}` gives it the name"
        for host in sorted(found, key=lambda host: (host.name, host.id))[:MAX_TOLD]
    ]
    more = len(found) - len(lines)
    return [*lines, *([f"conflict: {more} more; `investigator agents` lists them"] if more > 0 else [])]


def _standing(host: Host) -> Standing:
    return (host.judged or _UNJUDGED).standing


def _agents(hosts: Sequence[Host]) -> str:
    kinds = sorted({str(_standing(host)) for host in hosts})
    return f"{len(hosts)} {' or '.join(kinds)} agent{'' if len(hosts) == 1 else 's'}"


def _named(hosts: Sequence[Host]) -> str:
    names = [f"{host.name} ({host.id})" for host in hosts[:MAX_NAMES]]
    more = len(hosts) - len(names)
    return ", ".join(names) + (f" and {more} more" if more else "")
