"""What an attacker of a deployment holds: an agent's whole state, or the broker with all its keys."""

from __future__ import annotations

import base64
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import orjson
from deployment import Deployment
from nats.aio.client import Client

from investigator import AgentOutcome, Investigator
from investigator.broker.connection import Broker, Stored, connect
from investigator.broker.credentials import Credentials
from investigator.broker.scopes import Scope
from investigator.config import load_console
from investigator.console.dispatch import Prepared, sign_action, write_action
from investigator.console.keys import load_sealing_key
from investigator.modules import get_module
from investigator.pgp.signer import KeyFileSigner
from investigator.protocol.action import Operation
from investigator.protocol.identity import Identity
from investigator.protocol.sealing import public_sealing_key

PASSWD = {"paths": ["/etc"], "names": ["^passwd$"], "options": {"matchall": True, "maxdepth": 0}}


@dataclass(frozen=True)
class Stolen:
    """Everything that makes an agent."""

    identity: Identity
    credentials: Credentials


def steal(fleet: Deployment, name: str) -> Stolen:
    state = fleet.home / "agents" / name
    identity = Identity(base64.b64decode(orjson.loads((state / "agent.key").read_bytes())["ed25519"]))
    user = Credentials(identity.id, (state / "agent.nk").read_text().strip())
    return Stolen(identity, user.with_jwt((state / "agent.jwt").read_text().strip()))


@contextlib.asynccontextmanager
async def without_manners(fleet: Deployment, credentials: Credentials) -> AsyncIterator[Client]:
    """A client of NATS that sends whatever it is told to."""

    async def ignore(_: Exception) -> None:
        pass

    link = load_console(fleet.home).broker
    assert link.tls is not None
    client = Client()
    await client.connect(
        link.url,
        tls=link.tls.context(),
        tls_handshake_first=True,
        signature_cb=credentials.sign,
        user_jwt_cb=credentials.jwt.encode,
        inbox_prefix=f"_INBOX.{credentials.name}",
        error_cb=ignore,
    )
    try:
        yield client
    finally:
        await client.close()


@contextlib.asynccontextmanager
async def broker_as(fleet: Deployment, who: Scope | Credentials) -> AsyncIterator[Broker]:
    """Whoever controls the broker is all of its users."""
    credentials = who if isinstance(who, Credentials) else Credentials.load(fleet.home / "broker" / f"{who}.creds")
    link = load_console(fleet.home).broker
    async with await connect(link.url, credentials, name="rogue", tls=link.tls) as broker:
        yield broker


async def ask_broker(fleet: Deployment, what: str, body: dict[str, Any]) -> dict[str, Any]:
    """One request of JetStream's API, in the name of the deployment's services."""
    async with broker_as(fleet, Scope.SERVICES) as broker:
        return dict(orjson.loads(await broker.request(f"$JS.API.{what}", orjson.dumps(body))))


async def stored(fleet: Deployment, stream: str, subject: str = ">") -> list[Stored]:
    async with broker_as(fleet, Scope.INVESTIGATOR) as broker:
        return [one async for one in broker.read_stream(stream, subject, after_seq=0)]


@dataclass
class Asked:
    """What one investigation told the investigator."""

    action: str
    outcomes: dict[str, AgentOutcome] = field(default_factory=dict)
    """By the agent's name."""
    warnings: list[str] = field(default_factory=list)
    dropped: int = 0

    @property
    def states(self) -> dict[str, str]:
        return {name: str(outcome.state) for name, outcome in self.outcomes.items()}


async def ask(fleet: Deployment, prepared: Prepared) -> Asked:
    """As `investigator run` does."""
    told = Asked(prepared.action.id)
    async with Investigator(fleet.home, on_warning=told.warnings.append) as console:
        following = console.send(prepared)
        told.outcomes = {outcome.name: outcome async for outcome in following}
        told.dropped = following.summary.dropped
    return told


async def look_again(fleet: Deployment, action: str) -> Asked:
    """As `investigator results` does: by what the store has and what the stream says now."""
    told = Asked(action)
    async with Investigator(fleet.home, on_warning=told.warnings.append) as console:
        following = await console.results(action)
        told.outcomes = {outcome.name: outcome async for outcome in following}
        told.dropped = following.summary.dropped
    return told


def signed(fleet: Deployment, *, target: str = "all", life_s: float = 120) -> Prepared:
    """An action of the fleet's investigator that was not sent yet; it is sealed to their console."""
    key = load_sealing_key(fleet.home / "secrets" / "sealing.pem", lambda: "")
    action = write_action(
        name="who has it",
        target=target,
        operations=[Operation(module="file", parameters=get_module("file").from_flags(PASSWD))],
        now_s=time.time(),
        life=timedelta(seconds=life_s),
        macros={},
        sealto=public_sealing_key(key),
    )
    return sign_action(action, KeyFileSigner((fleet.home / "secrets" / "investigator.asc").read_bytes()))


def admissions(fleet: Deployment, name: str) -> int:
    """How often an agent let an action run, by its audit."""
    return (fleet.home / "agents" / name / "audit.jsonl").read_bytes().count(b'"verdict":"admitted"')
