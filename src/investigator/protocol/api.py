"""What scripts ask a gateway, and what it answers: JSON, checked against these shapes.

A request on `mig.api.<method>` is answered by many messages and an empty last one. Before that, what went wrong is one
`Failure`. The gateway believes none of what is signed: it reads it to tell what goes where, and agents decide.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Final, Literal, TypeVar

import msgspec
import orjson

from investigator.errors import InvestigatorError
from investigator.protocol.action import MAX_TARGET_CHARACTERS
from investigator.protocol.cancel import MAX_CANCEL_ENVELOPE_BYTES, CancelEnvelope
from investigator.protocol.codec import convert, one_line, strict_loads
from investigator.protocol.envelope import Envelope

MAX_REQUEST_BYTES: Final = MAX_CANCEL_ENVELOPE_BYTES + 8 * 1024
NONE: Final = "none"
"""What a script says that wants its results readable for everybody on their way."""


class Request(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What all have in common: no key that is not known."""


class Run(Request, frozen=True, kw_only=True):
    """`mig.api.run`: publish a signed action, and pass on what comes back."""

    envelope: Envelope
    """As `investigator run -s` or `investigator action new -envelope` print it, signed by those whom the agents' ACL asks for."""
    sealto: str
    """Once more the action's `sealto`; `none` for an action that has none, so that nobody's results are readable by mistake."""
    until: Literal["answered", "expired"] = "answered"
    """`answered`: until everybody who is there has answered; `expired`: to the end of the action's life."""


class Agents(Request, frozen=True, kw_only=True):
    """`mig.api.agents`: the agents that a target means."""

    target: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_TARGET_CHARACTERS)] = "all"


class Results(Request, frozen=True, kw_only=True):
    """`mig.api.results`: what came of an action, as it came."""

    action: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{32}\Z")]
    follow: bool = False
    """Whether to stay until the action expires, for agents that come later."""


class Actions(Request, frozen=True, kw_only=True):
    """`mig.api.actions`: what was asked, by everybody, of the last seven days or valid still."""

    everything: bool = False
    """Everything that is on record, however old."""


class Cancel(Request, frozen=True, kw_only=True):
    """`mig.api.cancel`: publish a signed cancel."""

    envelope: CancelEnvelope
    """As `investigator cancel --sign-only` prints it."""


METHODS: Final[Mapping[str, type[Request]]] = {
    "run": Run,
    "agents": Agents,
    "actions": Actions,
    "results": Results,
    "cancel": Cancel,
}

ApiState = Literal[
    "found", "notfound", "failed", "timeout", "refused", "cancelled", "expired", "offline", "answered", "working"
]
"""The states of a targeted agent, and two that only a gateway knows: `answered` is a sealed answer, which only whoever asked
can read; `working` has none yet."""


class Named(msgspec.Struct, frozen=True, kw_only=True):
    """An agent."""

    id: str
    name: str


class Reply(msgspec.Struct, frozen=True, kw_only=True, tag_field="type"):
    """One of the answers; `type` says which."""


class Started(Reply, frozen=True, kw_only=True, tag="started"):
    """The action was published."""

    action: str
    digest: str
    envelope: str
    """SHA-256 of the envelope as it was published: an agent's refusal names it."""
    targeted: int
    expected: int
    """Of how many an answer is awaited."""


class Payload(Reply, frozen=True, kw_only=True, tag="result"):
    """One payload of an agent, exactly as it came."""

    action: str
    agent: Named
    sealed: bool
    payload: str
    """Base64."""


class StateChange(Reply, frozen=True, kw_only=True, tag="state"):
    """An agent has come to this."""

    action: str
    agent: Named
    state: ApiState
    code: str = ""
    reason: str = ""


class TallyNow(Reply, frozen=True, kw_only=True, tag="tally"):
    """How it stands."""

    action: str
    targeted: int
    states: dict[str, int]
    elapsed_s: float


class Notice(Reply, frozen=True, kw_only=True, tag="warning"):
    """Something that whoever asks should know."""

    text: str


class Over(Reply, frozen=True, kw_only=True, tag="summary"):
    """The last word on an action."""

    action: str
    targeted: int = 0
    states: dict[str, int] = {}
    elapsed_s: float = 0.0
    dropped: int = 0
    """Answers that did not verify, as far as a gateway can tell."""
    cut_short: str = ""
    """Why not everybody was waited for, where that is so."""


class AgentRow(Reply, frozen=True, kw_only=True, tag="agent"):
    """One agent."""

    id: str
    name: str
    status: str
    last_seen: datetime
    row: dict[str, Any]


class Person(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody whose signature is good by the gateway's keyring."""

    name: str
    fingerprint: str


class ActionRow(Reply, frozen=True, kw_only=True, tag="recorded"):
    """One action that is on record, as `investigator actions --output ndjson` tells it."""

    action: str
    digest: str
    name: str
    target: str
    modules: list[str]
    asked: str
    expireafter: str
    by: list[Person]
    problem: str
    """Why a signature does not count."""
    sealto: str | None
    cancelled: list[str]
    """Who signed cancels of it."""
    standing: dict[str, Any]


class Cancelled(Reply, frozen=True, kw_only=True, tag="cancelled"):
    """The cancel was published."""

    action: str
    digest: str


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """Instead of anything more: what went wrong."""

    error: str
    code: str
    hint: str = ""


Replies = Started | Payload | StateChange | TallyNow | Notice | Over | AgentRow | ActionRow | Cancelled
R = TypeVar("R", bound=Request)


def read_request(raw: bytes, shape: type[R]) -> R:
    """A request from the wire; nothing at all is an empty object.

    Raises:
        BadInput: it is none, naming the place.
    """
    document = strict_loads(raw or b"{}", what="request", max_bytes=MAX_REQUEST_BYTES)
    return convert(document, shape, what="request")


def encode(reply: Reply | Failure) -> bytes:
    """For the wire."""
    return orjson.dumps(
        msgspec.to_builtins(reply, builtin_types=(datetime,)), option=orjson.OPT_UTC_Z | orjson.OPT_NON_STR_KEYS
    )


def failure(error: InvestigatorError) -> Failure:
    """An error of ours for the wire: it may quote what others wrote."""
    return Failure(error=one_line(str(error)), code=error.code, hint=error.hint)


def schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of every request and reply."""
    (*requests, replies, failed), components = msgspec.json.schema_components(
        [*METHODS.values(), Replies, Failure], ref_template="#/$defs/{name}"
    )
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "mig.api",
        "requests": dict(zip(METHODS, requests, strict=True)),
        "reply": {"anyOf": [replies, failed]},
        "$defs": components,
    }
