"""How an investigation ended: what is told of agents that said nothing, or nothing final, and the sum."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

import msgspec

from investigator.console.audience import Summary
from investigator.logs import about
from investigator.protocol.tally import count

if TYPE_CHECKING:
    from investigator.console.audience import Audience
    from investigator.console.collect import Collection
    from investigator.protocol.result import State

MAX_NAMED: Final = 20
_log = logging.getLogger(__name__)


def conclude(
    collection: Collection, audience: Audience, *, working: set[str], elapsed_s: float, interrupted: bool
) -> Summary:
    """Tell the agents that said nothing, or nothing final, and sum up; those that still work have no state yet.

    Nor have those whose answers are sealed to somebody else.
    """
    states = collection.states()
    sealed = collection.sealed - collection.tally.said.keys()
    for agent in sorted(states, key=lambda agent: (collection.name_of(agent), agent)):
        if not collection.tally.is_final(agent) and agent not in sealed:
            _tell_unfinished(collection, audience, agent, states[agent], works=agent in working)
    withheld = collection.withheld()
    if withheld:
        audience.warn(_withheld(withheld))
    stateless = working | sealed
    summary = Summary(
        action=collection.action.id,
        targeted=len(states.keys() | sealed),
        states=count(state for agent, state in states.items() if agent not in stateless),
        working=len(working - sealed),
        elapsed_s=elapsed_s,
        interrupted=interrupted,
        dropped=collection.dropped,
        sealed=len(sealed),
    )
    _log_tallied(summary, collection.digest)
    audience.summary(summary)
    return summary


def _tell_unfinished(collection: Collection, audience: Audience, agent: str, state: State, *, works: bool) -> None:
    """An agent without a final answer; one that still works only if some of its answer came."""
    name, outcome, lacks = collection.name_of(agent), collection.unshown(agent), collection.lacking(agent)
    has_said_all = agent in collection.tally.said
    unfinished = bool(lacks) or (outcome is not None and not has_said_all)
    if not works:
        audience.outcome(agent, name, state, outcome, unfinished=unfinished)
    elif outcome is not None and unfinished:
        if not has_said_all:
            outcome = msgspec.structs.replace(outcome, reason="it began to answer, and had not ended yet")
        audience.outcome(agent, name, "working", outcome, unfinished=True)
    if lacks:
        audience.warn(f"{name}: {lacks}")


def _withheld(names: list[str]) -> str:
    """They signed it themselves, so either they broke, or the broker keeps what they said."""
    shown = ", ".join(names[:MAX_NAMED]) + (f" and {len(names) - MAX_NAMED:,} more" if len(names) > MAX_NAMED else "")
    if len(names) == 1:
        return f"{shown} has the action, as its own heartbeat says, and its result never came"
    return f"{len(names):,} agents have the action, as their own heartbeats say, and their results never came: {shown}"


def _log_tallied(summary: Summary, digest: str) -> None:
    _log.info(
        "action %s: %d of %d agents have a final state",
        summary.action,
        sum(summary.states.values()),
        summary.targeted,
        extra=about(
            "tallied",
            action=summary.action,
            digest=digest,
            targeted=summary.targeted,
            states=summary.states,
            working=summary.working,
            dropped=summary.dropped,
            elapsed_s=round(summary.elapsed_s, 3),
        ),
    )
