"""What an investigator signs about who is who, and how it gets to the records and to the enrolment service."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

import orjson
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from investigator.errors import BadInput, BrokerError
from investigator.protocol.enrolment import Known, Told, decode_told
from investigator.protocol.envelope import Envelope
from investigator.protocol.statement import (
    Pin,
    Statement,
    Token,
    decode_statement_envelope,
    encode_statement,
    parse_statement,
)
from investigator.protocol.subjects import ENROL_ADMIN, statement_subject
from investigator.protocol.token import MAX_TOKEN_STATEMENT_BYTES, SecretToken

if TYPE_CHECKING:
    from investigator.broker.connection import Broker
    from investigator.console.inventory import Host
    from investigator.pgp.signer import Signer

SERVICE_WITHIN_S: Final = 10.0
MAX_LISTED: Final = 100_000
LEAST_ID_CHARACTERS: Final = 4


def make_token(
    signer: Signer, *, count: int, life: timedelta, now_s: float, names: str = "*"
) -> tuple[SecretToken, Token]:
    """A new token for so many agents, vouched for by one investigator.

    Raises:
        BadInput: a count, a life or a glob that is none.
        DeploymentError: the key does not sign.
    """
    private = Ed25519PrivateKey.generate()
    created = _moment(now_s)
    token = Token(
        key=base64.b64encode(private.public_key().public_bytes_raw()).decode(),
        count=count,
        created=created,
        expires=created + life,
        names=names,
    )
    return secret_token(private.private_bytes_raw(), sign_statement(token, signer)), token


def secret_token(private: bytes, envelope: Envelope) -> SecretToken:
    """A token's private half, with what vouches for it.

    Raises:
        BadInput: more signatures than agents carry around.
    """
    statement = envelope.encode()
    if len(statement) > MAX_TOKEN_STATEMENT_BYTES:
        raise BadInput(f"token: with its signatures {len(statement):,} bytes; {MAX_TOKEN_STATEMENT_BYTES:,} at most")
    return SecretToken(private, statement.decode())


def sign_statement(statement: Statement, signer: Signer) -> Envelope:
    """The statement in its envelope, with one signature.

    Raises:
        BadInput: it would be none to whoever reads it.
        DeploymentError: the key does not sign.
    """
    text = encode_statement(statement)
    parse_statement(text)
    return Envelope(action=text.decode(), pgpsignatures=(signer.sign(text),))


def add_signature(envelope: Envelope, signer: Signer) -> Envelope:
    """One more investigator's signature over the same bytes; raises as `sign_statement`."""
    signature = signer.sign(envelope.signed_bytes)
    both = Envelope(action=envelope.action, pgpsignatures=(*envelope.pgpsignatures, signature))
    return decode_statement_envelope(both.encode())


async def send_statement(broker: Broker, envelope: Envelope) -> str:
    """To the service, and into the records, where consoles and services read it for good; what the service says.

    Raises:
        BrokerError: the records did not take it.
        BadInput: the service says that it counts nothing; it is not recorded then.
    """
    raw = envelope.encode()
    said = await _tell_service(broker, raw)
    # unguessable, so that nobody uses the id up; whoever reads the same statement twice takes it as once
    message_id = f"{envelope.digest}.{secrets.token_hex(8)}"
    await broker.publish_acked(statement_subject(envelope.digest), raw, message_id=message_id)
    return said


async def _tell_service(broker: Broker, raw: bytes) -> str:
    """Before the records: what it hears from there shuts somebody out, and then the server forgets whom it may answer."""
    problem = ""
    for _ in range(2):
        try:
            told = decode_told(await broker.request(ENROL_ADMIN, raw, timeout_s=SERVICE_WITHIN_S / 2))
        except BrokerError as error:
            problem = str(error)
            continue
        if not told.ok:
            raise BadInput(f"the enrolment service does not take it: {told.said}")
        return told.said
    return f"recorded; the enrolment service did not answer, and hears of it when it reads the records ({problem})"


async def known_agents(broker: Broker, state: str = "") -> tuple[list[Known], str]:
    """Whom the service knows, by id, and its policy.

    Raises:
        BrokerError: no service answers.
        BadInput: its answer is none.
    """
    agents: list[Known] = []
    policy, more = "", True
    while more and len(agents) < MAX_LISTED:
        asked = orjson.dumps({"list": {"state": state, "after": agents[-1].agent if agents else ""}})
        told: Told = decode_told(await broker.request(ENROL_ADMIN, asked, timeout_s=SERVICE_WITHIN_S))
        if not told.ok:
            raise BadInput(told.said)
        more = told.more and bool(told.agents)
        agents += told.agents
        policy = told.policy
    return agents, policy


@dataclass(frozen=True, slots=True)
class Candidate:
    """An agent that an investigator may mean: as the service or the inventory knows it."""

    agent: str
    key: str
    name: str
    said: str
    """Where it is known from, and how it stands."""


def candidates(known: Sequence[Known], hosts: Sequence[Host]) -> dict[str, Candidate]:
    """All that can be meant, by id; the service's word about an agent comes first."""
    found = {
        host.id: Candidate(host.id, host.facts.key, host.name, str(host.judged.standing) if host.judged else "seen")
        for host in hosts
    }
    return found | {one.agent: Candidate(one.agent, one.key, one.name, one.state) for one in known}


def find_candidate(word: str, among: dict[str, Candidate]) -> Candidate:
    """The one that is meant by an id, the beginning of one, or a name that only one has.

    Raises:
        BadInput: none, or several.
    """
    if word in among:
        return among[word]
    named = [one for one in among.values() if one.name == word]
    begins = [one for one in among.values() if len(word) >= LEAST_ID_CHARACTERS and one.agent.startswith(word)]
    found = named or begins
    if len(found) == 1:
        return found[0]
    if not found:
        raise BadInput(
            f"no agent {word[:60]!r} is known here",
            hint="`investigator enrol list` and `investigator agents` list them.",
        )
    told = ", ".join(f"{one.agent} ({one.name}, {one.said})" for one in found[:10])
    raise BadInput(f"{word[:60]!r} can be {len(found)} agents: {told}", hint="Give the id.")


def write_pin(candidate: Candidate, *, name: str, replaces: str, now_s: float) -> Pin:
    """That this agent is called so, and which one is not any more."""
    return Pin(
        agent=candidate.agent,
        key=candidate.key,
        name=name or candidate.name,
        replaces=replaces,
        created=_moment(now_s),
    )


def _moment(now_s: float) -> datetime:
    return datetime.fromtimestamp(int(now_s), UTC)
