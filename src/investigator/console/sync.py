"""The console's store from the streams: what it lacks is added, nothing is ever taken away."""

from __future__ import annotations

import logging
from collections import Counter
from typing import TYPE_CHECKING, Final

from investigator.broker.streams import stream_state
from investigator.console.records import entries
from investigator.console.store import Record
from investigator.protocol import kinds
from investigator.protocol.kinds import claimed_kind
from investigator.protocol.subjects import ALL_RECORDS, ALL_RESULTS, RECORDS, RESULTS, results_of

if TYPE_CHECKING:
    from collections.abc import Collection

    from investigator.broker.connection import Broker, Stored
    from investigator.console.store import Store

BATCH: Final = 500
_KINDS: Final = ("action", "cancel", "revocation", "tally", "statement")
_log = logging.getLogger(__name__)


async def synchronize(store: Store, broker: Broker, *, sealtos: Collection[str | None]) -> list[str]:
    """Take the records, and the answers to actions whose results are sealed to one of `sealtos` (None: to nobody).

    Returns a line for each kind of thing that was added, and for each that could not be taken in.

    Raises:
        BrokerError: a stream cannot be read; what had arrived is kept.
        DeploymentError: the store does not take it.
    """
    added = await read_records(store, broker)
    lines = [f"{added[kind]:,} {kind} record{'s' * (added[kind] != 1)}" for kind in _KINDS if added[kind]]
    known, rubbish = entries(await store.records())
    if rubbish:
        lines.append(f"{rubbish:,} records that cannot be read are kept, and count for nothing")
    asked = {entry.id for entry in known}
    readable = {entry.id for entry in known if entry.prepared.action.sealto in sealtos}
    readable |= {action for action, _ in await store.asked()}
    there = Counter[str]()
    for subject, count in (await stream_state(broker, RESULTS, subjects_filter=ALL_RESULTS)).subjects.items():
        there[subject.split(".")[2]] += count
    answers = 0
    for action in sorted(readable & set(there)):
        answers += await _read_answers(store, broker, action)
    if answers:
        lines.append(f"{answers:,} answers")
    unknown = set(there) - asked - readable
    if unknown:
        count = sum(there[action] for action in unknown)
        lines.append(
            f"{count:,} answers to {len(unknown):,} actions that nobody is on record to have asked are left alone"
        )
    return lines


async def read_records(store: Store, broker: Broker) -> Counter[str]:
    """Take the records that came since they were read last; how many of each kind are new.

    Raises:
        BrokerError: the stream cannot be read.
        DeploymentError: the store does not take them.
    """
    state = await stream_state(broker, RECORDS)
    after = await store.read_up_to(RECORDS, state.made)
    added: Counter[str] = Counter()
    batch: list[Record] = []
    newest = after if after <= state.last_sequence else 0
    async for stored in broker.read_stream(RECORDS, ALL_RECORDS, after_seq=newest):
        newest = stored.sequence
        record = _record(stored)
        if record is not None:
            batch.append(record)
        if len(batch) >= BATCH:
            await _keep(store, batch, added)
    await _keep(store, batch, added)
    await store.keep_read_up_to(RECORDS, state.made, newest)
    return added


async def rebuild(store: Store, broker: Broker) -> list[str]:
    """Fill a store in whose place a damaged one was moved aside, with what is on record; else nothing."""
    if store.moved_aside is None:
        return []
    await read_records(store, broker)
    store.moved_aside = None
    known, _ = entries(await store.records())
    line = f"{store.path}: rebuilt from the records, with {len(known):,} action{'s' * (len(known) != 1)}"
    return [f"{line}; `investigator sync` fetches the answers that the broker still has"]


async def _keep(store: Store, batch: list[Record], added: Counter[str]) -> None:
    for kind in {record.kind for record in batch}:
        added[kind] += await store.keep_records([record for record in batch if record.kind == kind])
    batch.clear()


def _record(stored: Stored) -> Record | None:
    """By what the payload claims; whoever reads it believes none of it."""
    words = stored.subject.split(".")
    at_s = stored.time.timestamp()
    if words[2] == "statement":
        return Record("statement", "", stored.data, at_s)
    if words[2] == "tally":
        return Record("tally", words[3], stored.data, at_s)
    if words[2] == "action":
        kind = claimed_kind(stored.data)
        return Record(kind if kind != kinds.ACTION else "action", words[-1], stored.data, at_s)
    return None


async def _read_answers(store: Store, broker: Broker, action: str) -> int:
    added = 0
    batch: list[tuple[str, bytes]] = []
    async for stored in broker.read_stream(RESULTS, results_of(action)):
        batch.append((stored.subject.rpartition(".")[2], stored.data))
        if len(batch) >= BATCH:
            added += await store.keep_answers(action, batch)
            batch.clear()
    return added + await store.keep_answers(action, batch)
