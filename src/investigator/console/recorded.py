"""The list of what was asked: from the records and the store, each signature checked, each action with how it stands."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from investigator.broker.streams import stream_state
from investigator.console.records import Signatures, best_tally, entries
from investigator.console.render_records import Line, Standing
from investigator.console.rules import load_rules, rule_files
from investigator.console.sync import read_records
from investigator.console.verdict import known_names
from investigator.errors import BadInput, DeploymentError
from investigator.pgp.folder import KeyringFolder
from investigator.protocol.action import MAX_LIFE
from investigator.protocol.result import NOT_FOR_AGENTS
from investigator.protocol.subjects import RESULTS, results_of

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from investigator.broker.connection import Broker
    from investigator.console.records import Entry
    from investigator.console.store import Store
    from investigator.protocol.record import TallyRecord

RECENT: Final = timedelta(days=7)


async def recorded_actions(
    store: Store, broker: Broker, signatures: Signatures, *, now: datetime, everything: bool
) -> tuple[list[Line], list[str]]:
    """The actions that are on record, the oldest first: of the last seven days or still valid, or with `everything` all.

    Also a line for each thing that could not be read.

    Raises:
        BrokerError: the records cannot be read.
        DeploymentError: the store does not take them.
    """
    await read_records(store, broker)
    oldest = now - MAX_LIFE - RECENT  # an action that is valid still may have been recorded so long ago
    known, rubbish = entries(await store.records(since_s=0.0 if everything else oldest.timestamp()))
    wanted = [entry for entry in known if everything or _is_recent(entry, now)]
    here = {action for action, _ in await store.asked()}
    lines = [
        Line(
            entry,
            signatures.of(entry),
            _cancelled(entry, signatures),
            await _standing(entry, store, broker, signatures, asked_here=entry.id in here),
            now,
        )
        for entry in wanted
    ]
    return lines, [f"{rubbish:,} records cannot be read, and are left out"] if rubbish else []


def _is_recent(entry: Entry, now: datetime) -> bool:
    return entry.prepared.action.expireafter > now or entry.asked_s > (now - RECENT).timestamp()


def _cancelled(entry: Entry, signatures: Signatures) -> tuple[str, ...]:
    """The names of those whose signed cancels are on record; whether an agent obeyed is in its outcome."""
    names: dict[str, None] = {}
    for _, envelope, at_s in entry.cancels:
        judged = signatures.judge(envelope.signed_bytes, envelope.pgpsignatures, at_s=at_s)
        names |= dict.fromkeys(judged.names)
    return tuple(names)


async def _standing(
    entry: Entry, store: Store, broker: Broker, signatures: Signatures, *, asked_here: bool
) -> Standing:
    """A final tally first, then what this console knows itself, then any tally, then what can be seen from outside."""
    best = best_tally(entry, signatures)
    if best is not None and best[0].final:
        return _told(*best)
    if asked_here:
        states = Counter((await store.states(entry.id)).values())
        if states:
            silent = any(states[state] for state in NOT_FOR_AGENTS)
            return Standing(dict(states), final=not silent, source="here")
    if best is not None:
        return _told(*best)
    subjects = (await stream_state(broker, RESULTS, subjects_filter=results_of(entry.id))).subjects
    return Standing({}, source="answers", answered=len(subjects)) if subjects else Standing({})


def _told(tally: TallyRecord, signed: bool) -> Standing:
    states = {str(state): count for state, count in tally.states.items()}
    return Standing(states, final=tally.final, source="signed" if signed else "unsigned")


def load_signatures(home: Path, *, now_s: float) -> Signatures:
    """The deployment's own keyring, with the names that ACL and certificates give; without an ACL the certificates' alone.

    Raises:
        DeploymentError: there is no keyring.
    """
    try:
        rules = load_rules(home)
    except (DeploymentError, BadInput):
        keyring = KeyringFolder(rule_files(home)[1]).read()
        named = {one.fingerprint: one.user_ids[0] for one in keyring.certificates(int(now_s)) if one.user_ids}
        return Signatures(keyring, named, keyring.policy.max_age_s)
    return Signatures(rules.keyring, known_names(rules, now_s=now_s), rules.max_signature_age_s)
