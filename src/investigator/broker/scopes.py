"""Who may do what on the broker: three accounts, the scopes of their users, and what crosses between them.

MIG is the investigators' account and owns the streams; AGENTS is the agents'; SYS is the servers' own. What crosses is
exported and imported by name, because permissions alone are not enough: the server itself publishes to whatever reply
subject a message carries, so that in one account an agent could have it write into another agent's results. Across
accounts an answer goes back to the one who asked, and nowhere else.

A scope is a signing key of an account with a template of permissions. A user's token that it signed carries no
permissions at all: the server puts the token's name where the template says `{{name()}}`, and refuses a token that brings
permissions of its own. So an agent is tied to its own subjects by the account, and whoever holds a scope's key can mint
users of that scope and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from investigator.protocol import subjects

MAX_AGENT_MESSAGE_BYTES: Final = 320 << 10
"""Headers included. The largest is a sealed part of a result: 256 KiB, and less than a KiB around them."""
_MAX_ENROL_MESSAGE_BYTES: Final = 64 << 10
MAX_REQUEST_LIFE_S: Final = 3600
"""How long a gateway answers one request."""
API_GROUP: Final = "q"
"""Of several gateways one answers a request; the group's name is that of NATS's micro services (ADR-32)."""
_NO_LIMIT: Final = -1
_SECOND_NS: Final = 10**9


class Account(StrEnum):
    """The accounts; also the names of their files."""

    SYS = "SYS"
    MIG = "MIG"
    AGENTS = "AGENTS"


class Scope(StrEnum):
    """The kinds of users; also the names of their signing keys' files."""

    AGENT = "agent"
    ENROL = "enrol"
    """Whoever has no credentials of their own yet: may ask for some."""
    INVESTIGATOR = "investigator"
    SERVICES = "services"
    """The deployment's own services: make the streams, purge, enrol. Agents and investigators cannot."""
    GATEWAY = "gateway"
    """Answers scripts: may do what an investigator's console does, but acknowledge and admit."""
    SCRIPT = "script"
    """Asks a gateway, and hears its answers; may do nothing else."""
    LEAF = "leaf"
    """A NATS server at another site, for the agents there: can do no more than all agents together."""
    SYSTEM = "system"
    """Tells servers of changed accounts, and asks them how they are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Template:
    account: Account
    publish: tuple[str, ...]
    subscribe: tuple[str, ...]
    answers: int = 0
    """How often it may also publish to the reply subject of a message that it hears; -1: without limit."""
    answers_within_s: int = 60
    """For how long after it heard it."""
    payload_bytes: int = _NO_LIMIT
    subscriptions: int = _NO_LIMIT
    connections: str = "STANDARD"


_INBOX: Final = "_INBOX.{{name()}}.>"
_DIRECT_GET_ACTIONS: Final = f"$JS.API.DIRECT.GET.{subjects.ACTIONS}"
DOMAIN: Final = "mig"
_HUB_GET_ACTIONS: Final = f"$JS.{DOMAIN}.API.DIRECT.GET.{subjects.ACTIONS}"
"""What agents ask as `$JS.API…` is imported as the hub's, by its domain: it passes a leaf node, which stops `$JS.API`."""
_STREAMS: Final = (
    subjects.ACTIONS,
    subjects.RESULTS,
    subjects.FACTS,
    subjects.HEARTBEATS,
    subjects.ALERTS,
    subjects.RECORDS,
)
_RECORD: Final = (subjects.ALL_TALLIES, subjects.ALL_STATEMENTS)
"""What investigators record themselves; what they ask is recorded by the server."""
_FORGET: Final = tuple(f"$JS.API.STREAM.MSG.DELETE.{stream}" for stream in (subjects.FACTS, subjects.HEARTBEATS))
"""A host that is no more is taken out of the inventory; an agent that is there comes back with its next facts."""
_ACKNOWLEDGE: Final = f"$JS.API.STREAM.MSG.DELETE.{subjects.ALERTS}"
"""An alert is acknowledged by taking it out of its stream: all consoles see the same, whoever did it."""

TEMPLATES: Final[Mapping[Scope, _Template]] = {
    Scope.AGENT: _Template(
        account=Account.AGENTS,
        publish=(
            "mig.result.*.{{name()}}",
            "mig.hb.{{name()}}",
            "mig.facts.{{name()}}",
            "mig.alert.{{name()}}.*",
            subjects.ENROL_REQUEST,
            _DIRECT_GET_ACTIONS,
        ),
        subscribe=(
            "mig.action.all.*",
            "mig.action.os.*.*",
            "mig.action.tag.*.*.*",
            "mig.action.agent.{{name()}}.*",
            _INBOX,
        ),
        payload_bytes=MAX_AGENT_MESSAGE_BYTES,
        subscriptions=1000,  # one for each of its tags, and a few
    ),
    Scope.ENROL: _Template(
        account=Account.AGENTS,
        publish=(subjects.ENROL_REQUEST,),
        subscribe=(_INBOX,),
        payload_bytes=_MAX_ENROL_MESSAGE_BYTES,
        subscriptions=4,
    ),
    Scope.INVESTIGATOR: _Template(
        account=Account.MIG,
        publish=(
            subjects.ALL_ACTIONS,
            *_RECORD,
            subjects.ENROL_ADMIN,
            *(f"$JS.API.DIRECT.GET.{stream}" for stream in _STREAMS),
            *(f"$JS.API.STREAM.INFO.{stream}" for stream in _STREAMS),
            _ACKNOWLEDGE,
            *_FORGET,
            subjects.SERVICES_STATUS,
            "$SRV.STATS",  # of gateways
        ),
        subscribe=(
            subjects.ALL_RESULTS,
            subjects.ALL_HEARTBEATS,
            subjects.ALL_FACTS,
            subjects.ALL_ALERTS,
            _INBOX,
        ),
    ),
    Scope.SERVICES: _Template(
        account=Account.MIG,
        # Snapshots: each piece of one that is made is acknowledged, those of one that is read back are sent.
        publish=("$JS.API.>", "$JS.SNAPSHOT.ACK.>", "$JS.SNAPSHOT.RESTORE.>", subjects.ALL_RECORDS),
        subscribe=(
            subjects.ENROL_REQUEST,
            subjects.ENROL_ADMIN,
            subjects.ALL_ACTIONS,
            subjects.ALL_RESULTS,
            subjects.ALL_HEARTBEATS,
            subjects.ALL_FACTS,
            subjects.ALL_ALERTS,
            subjects.ALL_RECORDS,
            subjects.SERVICES_STATUS,
            _INBOX,
        ),
        answers=1,
    ),
    Scope.GATEWAY: _Template(
        account=Account.MIG,
        publish=(
            subjects.ALL_ACTIONS,
            *(f"$JS.API.DIRECT.GET.{stream}" for stream in _STREAMS),
            *(f"$JS.API.STREAM.INFO.{stream}" for stream in _STREAMS),
        ),
        subscribe=(
            subjects.ALL_API,
            "$SRV.>",
            subjects.ALL_RESULTS,
            subjects.ALL_HEARTBEATS,
            _INBOX,
        ),
        answers=_NO_LIMIT,
        answers_within_s=MAX_REQUEST_LIFE_S + 60,
    ),
    Scope.SCRIPT: _Template(
        account=Account.MIG,
        publish=(subjects.ALL_API, "$SRV.>"),
        subscribe=(_INBOX,),
        subscriptions=100,
    ),
    Scope.LEAF: _Template(
        account=Account.MIG,
        publish=(
            subjects.ALL_RESULTS,
            subjects.ALL_HEARTBEATS,
            subjects.ALL_FACTS,
            subjects.ALL_ALERTS,
            subjects.ENROL_REQUEST,
            _HUB_GET_ACTIONS,
        ),
        subscribe=(subjects.ALL_ACTIONS, "_R_.>"),  # answers to what crossed from its account AGENTS
        connections="LEAFNODE",
    ),
    Scope.SYSTEM: _Template(
        account=Account.SYS,
        publish=("$SYS.REQ.CLAIMS.UPDATE", "$SYS.REQ.ACCOUNT.*.CLAIMS.UPDATE", "$SYS.REQ.SERVER.PING.*"),
        subscribe=(_INBOX,),
    ),
}

_SERVICES: Final = (
    subjects.ALL_RESULTS,
    subjects.ALL_HEARTBEATS,
    subjects.ALL_FACTS,
    subjects.ALL_ALERTS,
    subjects.ENROL_REQUEST,
    _HUB_GET_ACTIONS,
)
"""What agents ask of the account MIG; each answer goes to who asked."""

_NOTHING: Final = {"pub": {"deny": [">"]}, "sub": {"deny": [">"]}}
_UNLIMITED: Final = {
    **dict.fromkeys(("subs", "data", "payload", "imports", "exports", "conn", "leaf"), _NO_LIMIT),
    "wildcards": True,
}
_STREAMS_ALLOWED: Final = dict.fromkeys(("mem_storage", "disk_storage", "streams", "consumer"), _NO_LIMIT)
"""How much the streams may hold is the server's limit; an account without these limits has no streams at all."""


def account_claims(account: Account, *, signing_keys: Mapping[Scope, str], mig: str) -> dict[str, Any]:
    """The `nats` claims of an account, but for its revocations.

    Args:
        account: which.
        signing_keys: the public key of each scope.
        mig: the public key of the account MIG, which AGENTS imports from.
    """
    claims: dict[str, Any] = {
        "type": "account",
        "limits": {**_UNLIMITED, **(_STREAMS_ALLOWED if account is Account.MIG else {})},
        "default_permissions": _NOTHING,
        "signing_keys": [
            _scope(scope, key) for scope, key in signing_keys.items() if TEMPLATES[scope].account is account
        ],
    }
    if account is Account.MIG:
        claims["exports"] = [
            {"name": subjects.ALL_ACTIONS, "subject": subjects.ALL_ACTIONS, "type": "stream"},
            *({"name": one, "subject": one, "type": "service", "response_type": "Stream"} for one in _SERVICES),
        ]
    if account is Account.AGENTS:
        crossing = [("stream", subjects.ALL_ACTIONS), *(("service", one) for one in _SERVICES)]
        claims["imports"] = [
            {"name": one, "subject": one, "account": mig, "type": kind}
            | ({"local_subject": _DIRECT_GET_ACTIONS} if one == _HUB_GET_ACTIONS else {})
            for kind, one in crossing
        ]
    return claims


def _scope(scope: Scope, key: str) -> dict[str, Any]:
    template = TEMPLATES[scope]
    permissions: dict[str, Any] = {
        "pub": {"allow": list(template.publish)},
        "sub": {"allow": list(template.subscribe)},
        "subs": template.subscriptions,
        "data": _NO_LIMIT,
        "payload": template.payload_bytes,
        "allowed_connection_types": [template.connections],
    }
    if template.answers:
        permissions["resp"] = {"max": template.answers, "ttl": template.answers_within_s * _SECOND_NS}
    return {"kind": "user_scope", "key": key, "role": scope.value, "template": permissions}
