"""An action's answers, later or elsewhere: the same that `run` gave, from the store, the stream and the records.

The console that asked knows whom it asked. Any other reckons it from the inventory: the agents that the target means, each
taken as it was last seen, at the time when the action was recorded. Both believe only agents that are enrolled now.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from investigator.console.cancelling import read_action
from investigator.console.concluding import conclude
from investigator.console.expecting import awaited, placed_for
from investigator.console.fleet import earlier_outcomes, load_fleet
from investigator.console.full_stream import warn_of_full_stream
from investigator.console.opening import open_collection
from investigator.console.records import Entry, entries
from investigator.console.sync import read_records
from investigator.console.waiting import wait_for_answers
from investigator.errors import BadInput
from investigator.protocol.action import is_action_id, utc
from investigator.protocol.subjects import ACTIONS

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Collection as AnyOf

    from investigator.broker.connection import Broker
    from investigator.console.audience import Audience, Summary
    from investigator.console.collect import Collection
    from investigator.console.counting import Relay
    from investigator.console.dispatch import Prepared
    from investigator.console.fleet import Fleet
    from investigator.console.inventory import Host, Inventory
    from investigator.console.recording import Recorder
    from investigator.console.session import Session
    from investigator.console.store import Store, Targeted
    from investigator.protocol.result import Outcome

LAST: Final = "last"
LEAST_DIGITS: Final = 4
MAX_LISTED: Final = 10
_START: Final = re.compile(r"[0-9a-f]{4,32}")


@dataclass(frozen=True, slots=True)
class Asked:
    """An action that somebody asked."""

    prepared: Prepared
    asked_s: float
    """When it was published from here, else when it was recorded."""
    entry: Entry | None = None
    """What is on record of it."""


async def find_asked(word: str, store: Store, broker: Broker, *, own: AnyOf[str] = ()) -> Asked:
    """The action that is meant: an id, the start of one, or `last`, the last one that was asked from here.

    `own`: the `sealto` of this console; where the store does not know what was asked from here, `last` is the last
    action whose results are sealed to it.

    Raises:
        BadInput: there is none, or several.
        BrokerError, DeploymentError: the records cannot be read, or kept.
    """
    await read_records(store, broker)
    here = dict(await store.asked())
    action_id = await _chosen(word, store, here, own)
    raw = await store.action(action_id)
    known = {entry.digest: entry for entry in entries(await store.records(action=action_id))[0]}
    if raw is not None:
        prepared = read_action(raw, action_id)[0]
        return Asked(prepared, here[action_id], known.get(prepared.envelope.digest))
    if len(known) > 1:
        raise BadInput(
            f"{len(known)} different actions claim the id {action_id}: digests {', '.join(sorted(known))}",
            hint="`investigator actions` says who signed which; only one of them was asked by somebody you trust.",
        )
    for entry in known.values():
        return Asked(entry.prepared, entry.asked_s, entry)
    raise BadInput(f"there is no action {action_id}: nobody is on record to have asked it")


async def _chosen(word: str, store: Store, here: dict[str, float], own: AnyOf[str]) -> str:
    text = word.strip().lower()
    if is_action_id(text):
        return text
    if text == LAST:
        if here:
            return next(reversed(here))
        ours = [entry.id for entry in entries(await store.records())[0] if entry.prepared.action.sealto in own]
        if not ours:
            raise BadInput("nothing was asked from here yet", hint="`investigator actions` lists what others asked.")
        return ours[-1]
    if not _START.fullmatch(text):
        raise BadInput(f"{word[:60]!r} is no action: an id, the first {LEAST_DIGITS} or more digits of one, or `last`")
    ids = {*here, *await store.recorded_ids()}
    means = sorted(one for one in ids if one.startswith(text) and is_action_id(one))
    if len(means) == 1:
        return means[0]
    if not means:
        raise BadInput(f"no action begins with {text!r}", hint="`investigator actions --all` lists them.")
    more = f" and {len(means) - MAX_LISTED} more" if len(means) > MAX_LISTED else ""
    raise BadInput(f"{text!r} means {len(means)} actions: {', '.join(means[:MAX_LISTED])}{more}")


async def follow_results(
    asked: Asked,
    session: Session,
    audience: Audience,
    *,
    private_key: bytes | None,
    follow: bool,
    stop: asyncio.Event,
    recorder: Recorder | None = None,
    relay: Relay | None = None,
) -> Summary:
    """Tell everything that came of an action, each agent once; with `follow` also who comes until its time is over.

    Agents that are there and have not ended are still working, unless the action's time is over. What is sealed to
    another key than `private_key` is counted in the summary's `sealed`. `relay` is told every payload. Agents that are not
    enrolled by the session's rules and policy are not believed.

    Raises:
        BrokerError: the broker went away for good; the audience has the summary of what had arrived.
        DeploymentError: the store cannot be read.
    """
    began = time.monotonic()
    collection = await _open(asked, session, audience, private_key)
    collection.relay = relay
    try:
        expected = await _read(asked, collection, audience, listen=follow)
        problem = None
        if follow and not collection.is_over:
            problem = await wait_for_answers(collection, audience, awaited=expected, wait=True, began=began, stop=stop)
        await collection.finish()
        await warn_of_full_stream(session.broker, audience)
        summary = conclude(
            collection,
            audience,
            working=set() if collection.is_over else collection.tally.waiting(expected),
            elapsed_s=time.monotonic() - began,
            interrupted=follow and stop.is_set(),
        )
    finally:
        await collection.close()
    failure = problem or collection.store_problem
    if failure is not None:
        raise failure
    if recorder is not None and not _is_on_record(asked, summary, recorder, final=collection.is_over):
        await recorder.record(collection, summary, audience, asked_s=asked.asked_s)
    return summary


async def _open(asked: Asked, session: Session, audience: Audience, private_key: bytes | None) -> Collection:
    """For the agents that were asked from here, or that were meant as far as the inventory knows."""
    fleet = await load_fleet(session)
    for line in fleet.warnings:
        audience.warn(line)
    known = await session.store.targeted(asked.prepared.action.id)
    hosts = fleet.inventory.hosts
    if known:
        targeted = [hosts[one.agent] for one in known if one.agent in hosts]
        placed = {one.agent: one.sequence for one in known if one.sequence}
    else:
        targeted = await _reckoned(asked, session, fleet, audience)
        placed = placed_for(targeted, await _sequences(asked.prepared, session.broker))

    def tell(agent: str, name: str, outcome: Outcome) -> None:
        audience.outcome(agent, name, outcome.state, outcome)

    collection = open_collection(
        asked.prepared,
        session,
        fleet,
        targeted,
        private_key=private_key,
        on_outcome=tell,
        audience=audience,
        names={one.agent: one.name or one.agent for one in known},
    )
    collection.vouched = {one.agent for one in known}
    collection.on_piece = audience.piece
    collection.placed = placed
    collection.seen_since |= _seen_since(known, fleet.inventory, asked.asked_s)
    return collection


async def _reckoned(asked: Asked, session: Session, fleet: Fleet, audience: Audience) -> list[Host]:
    """Whom the action must have meant when it was asked."""
    condition = asked.prepared.condition
    came_to = await earlier_outcomes(session.store, condition)
    matching = fleet.inventory.matching(condition, utc(asked.asked_s), came_to)
    for line in fleet.standings(matching):
        audience.warn(line)
    return fleet.counted(matching)


async def _read(asked: Asked, collection: Collection, audience: Audience, *, listen: bool) -> set[str]:
    """Take what store and stream have; the agents that are there, and may be working on it still."""
    expected = awaited(collection.targeted, utc(time.time()))
    audience.started(asked.prepared.action, targeted=len(collection.tally.targeted), expected=len(expected))
    if listen:
        await collection.listen()
    await collection.read_store()
    await collection.read_stream()
    return expected


def _seen_since(known: list[Targeted], inventory: Inventory, asked_s: float) -> set[str]:
    """As `run` saw it, and as the inventory tells now."""
    now = {host.id for host in inventory.hosts.values() if host.last_seen.timestamp() > asked_s and not host.stopped}
    return now | {one.agent for one in known if one.state == "expired"}


async def _sequences(prepared: Prepared, broker: Broker) -> dict[str, int]:
    """Where the action stands in its stream, by subject, as long as it is there."""
    action_id, digest = prepared.action.id, prepared.envelope.digest
    found: dict[str, int] = {}
    for route in ("all", "os.*", "tag.*.*", "agent.*"):
        async for stored in broker.read_stream(ACTIONS, f"mig.action.{route}.{action_id}"):
            if any(each.envelope.digest == digest for each in read_action(stored.data, action_id)):
                found.setdefault(stored.subject, stored.sequence)
    return found


def _is_on_record(asked: Asked, summary: Summary, recorder: Recorder, *, final: bool) -> bool:
    """Whether nothing new would be recorded."""
    told = [tally for tally, _, _ in asked.entry.tallies] if asked.entry is not None else []
    return any(
        tally.by == recorder.by
        and tally.states == summary.states
        and tally.final >= final
        and tally.working == summary.working
        for tally in told
    )
