"""Stage 3: every NATS subject and stream name, and the tokens they are made of.

Subjects only route: what an agent obeys is inside the signed bytes. A token is `[A-Za-z0-9_-]+`; anything else is
encoded, so that a tag's value can never add a level or a wildcard to a subject.
"""

from __future__ import annotations

import base64
import re
from typing import Final

ACTIONS: Final = "MIG_ACTIONS"
RESULTS: Final = "MIG_RESULTS"
FACTS: Final = "MIG_FACTS"
HEARTBEATS: Final = "MIG_HB"
ALERTS: Final = "MIG_ALERTS"
RECORDS: Final = "MIG_RECORDS"

ALL_ACTIONS: Final = "mig.action.>"
ALL_RESULTS: Final = "mig.result.*.*"
ALL_FACTS: Final = "mig.facts.*"
ALL_HEARTBEATS: Final = "mig.hb.*"
ALL_ALERTS: Final = "mig.alert.*.*"
ALL_API: Final = "mig.api.*"
"""What scripts ask a gateway, and nobody else."""
SERVICES_STATUS: Final = "mig.status"
"""How the deployment's own services fare: asked by investigators, answered by each service; scripts have no business there."""
ALL_RECORDS: Final = "mig.record.>"
ALL_ACTION_RECORDS: Final = "mig.record.action.>"
"""The server's own copies of what `ALL_ACTIONS` carried; nobody may publish there."""
ALL_TALLIES: Final = "mig.record.tally.*.*"
ALL_STATEMENTS: Final = "mig.record.statement.*"

ENROL_REQUEST: Final = "mig.enrol.request"
"""Where whoever has no credentials of their own asks for some, and agents for new ones."""
ENROL_ADMIN: Final = "mig.enrol.admin"
"""Where investigators tell the enrolment what they decided."""

_PLAIN = re.compile(r"[A-Za-z0-9_-]{1,64}")
_ENCODED: Final = "_b32_"
_MAX_ENCODED_CHARACTERS: Final = 128


def token(text: str) -> str:
    """`text` as one token of a subject: itself where it can be, else `_b32_` and the base 32 of its UTF-8.

    What is longer than a subject should be is cut: two long texts may then share a subject, which only routes.
    """
    if _PLAIN.fullmatch(text) and not text.startswith(_ENCODED):
        return text
    encoded = base64.b32encode(text.encode("utf-8", "surrogatepass")).decode().rstrip("=").lower()
    return _ENCODED + encoded[:_MAX_ENCODED_CHARACTERS]


Route = tuple[str, ...]
"""Whom a subject reaches: `("all",)`, `("os", os)`, `("tag", key, value)` or `("agent", agent id)`."""


def route_subject(route: Route) -> str:
    """The subject of these agents, without the action's id at its end."""
    return ".".join(("mig", "action", route[0], *map(token, route[1:])))


def action_subject(route: Route, action_id: str) -> str:
    """Where an action for these agents is published."""
    return f"{route_subject(route)}.{token(action_id)}"


def agent_routes(agent_id: str, os: str, tags: dict[str, str]) -> tuple[Route, ...]:
    """Every route that leads to this agent."""
    return (("all",), ("os", os), *(("tag", key, value) for key, value in sorted(tags.items())), ("agent", agent_id))


def subscription(route: Route) -> str:
    """What an agent subscribes to, to hear the actions of this route."""
    return f"{route_subject(route)}.*"


def result_subject(action_id: str, agent_id: str) -> str:
    """Where an agent publishes its outcome of an action."""
    return f"mig.result.{token(action_id)}.{token(agent_id)}"


def results_of(action_id: str) -> str:
    """Every agent's outcome of one action."""
    return f"mig.result.{token(action_id)}.*"


def facts_subject(agent_id: str) -> str:
    """Where an agent publishes its facts."""
    return f"mig.facts.{token(agent_id)}"


def api_subject(method: str) -> str:
    """Where a gateway is asked for this."""
    return f"mig.api.{token(method)}"


def heartbeat_subject(agent_id: str) -> str:
    """Where an agent publishes its heartbeats."""
    return f"mig.hb.{token(agent_id)}"


def alert_subject(agent_id: str, module: str) -> str:
    """Where an agent publishes the alerts of one of its modules."""
    return f"mig.alert.{token(agent_id)}.{token(module)}"


def tally_subject(action_id: str, who: str) -> str:
    """Where whoever follows an action records how it stands; `who` is their key's fingerprint."""
    return f"mig.record.tally.{token(action_id)}.{token(who or 'nobody')}"


def statement_subject(digest: str) -> str:
    """Where a statement is kept, by SHA-256 of its signed bytes."""
    return f"mig.record.statement.{token(digest)}"
