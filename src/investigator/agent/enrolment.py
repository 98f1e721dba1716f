"""How this agent gets its credential for the broker, keeps it, and gets another when the broker wants no more of it.

It starts before the broker or the enrolment service is there, and waits for them. The first time it comes with the deployment's
`enrol.creds`, which may ask and nothing else; later it renews over its own connection, a third of its credential's life ahead.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import math
import random
import time
from typing import TYPE_CHECKING, Final

from investigator.agent.membership import Membership, claim_of
from investigator.agent.permissions import refuse_loose
from investigator.agent.token_setting import TokenSetting
from investigator.broker import jwt
from investigator.broker.connection import connect
from investigator.broker.credentials import Credentials
from investigator.errors import BadInput, BrokerError, DeploymentError, InvestigatorError, Refused
from investigator.printable import printable
from investigator.protocol.enrolment import Request, decode_answer, encode_request
from investigator.protocol.subjects import ENROL_REQUEST
from investigator.protocol.token import Proof, prove

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from investigator.agent.state import AgentState
    from investigator.broker.connection import Broker
    from investigator.config import Link

FIRST_PAUSE_S: Final = 0.25
UNREACHABLE_PAUSE_S: Final = 10.0
WAITING_PAUSE_S: Final = 60.0
DENIED_PAUSE_S: Final = 300.0
"""The longest pause while there is nobody to ask, while an approval is awaited, and after a clear no: somebody may change their mind."""
LOOK_S: Final = 300.0
"""How often the time is looked at while a credential lasts: clocks jump."""
_log = logging.getLogger(__name__)


class Enrolment:
    """Of one agent."""

    def __init__(self, link: Link, state: AgentState, token: TokenSetting, *, name: str) -> None:
        """Nothing is asked yet.

        Args:
            link: the broker, and the credentials that may ask.
            state: the agent's, open.
            token: where agent.toml has one.
            name: the agent's.
        """
        self._link = link
        self._identity = state.identity
        self._membership: Membership = state.membership
        self._token = token
        self._name = name
        self._refused = asyncio.Event()
        self._told = ""

    @property
    def credentials(self) -> Credentials:
        """As they are now."""
        return self._membership.credentials

    def refused(self) -> None:
        """The broker did not let these credentials in: they expired, were revoked, or are another deployment's."""
        self._refused.set()

    async def first(self) -> None:
        """Return when there is a credential, as there is after the first time.

        Raises:
            DeploymentError: the credentials to ask with are not there, or open to others.
        """
        proof = self._fresh_proof()
        if self.credentials.jwt:
            if proof is not None:  # let in before without one; whoever reads the facts judges it
                self._keep_proof(proof)
            return
        self._asking_credentials()
        await self._until_enrolled(self._ask_with_enrol_credentials)

    async def anew(self) -> None:
        """Return with another credential, since the broker did not take this one; our key is known, so no token is needed."""
        await self._until_enrolled(self._ask_with_enrol_credentials)
        self._refused.clear()

    async def keep(self, broker: Broker) -> None:
        """Renew in time, over this connection; and when the broker refuses the credential, enrol anew."""
        while True:
            if self._refused.is_set():
                await self.anew()
                await broker.become(self.credentials)
            left_s = self._renew_in_s()
            if left_s > 0:
                await _sleep_unless(self._refused, min(left_s, LOOK_S))
            elif await self._renew(broker):
                await broker.become(self.credentials)
            else:
                await _sleep_unless(self._refused, _jittered(min(LOOK_S, max(1.0, self._left_s() / 10))))

    def _renew_in_s(self) -> float:
        claims = jwt.decode(self.credentials.jwt)
        return claims.exp - (claims.exp - claims.iat) / 3 - time.time() if claims.exp else LOOK_S

    def _left_s(self) -> float:
        return self.credentials.expires_s - time.time()

    async def _renew(self, broker: Broker) -> bool:
        async def ask(frame: bytes) -> bytes:
            return await broker.request(ENROL_REQUEST, frame)

        try:
            return await self._ask(ask) == "enrolled"
        except (BrokerError, BadInput, Refused, DeploymentError) as error:
            self._tell(logging.INFO, f"renewal: {error}")
            return False

    async def _until_enrolled(self, ask: Callable[[bytes], Awaitable[bytes]]) -> None:
        """Ask, with growing, jittered pauses, until the service says yes."""
        pause_s = FIRST_PAUSE_S
        while True:
            longest_s = UNREACHABLE_PAUSE_S
            try:
                state = await self._ask(ask)
                if state == "enrolled":
                    return
                if state != "busy":
                    longest_s = WAITING_PAUSE_S if state == "pending" else DENIED_PAUSE_S
                    pause_s = max(pause_s, 2.0)
            except InvestigatorError as error:
                self._tell(logging.WARNING, f"{error}; trying on")
            await asyncio.sleep(_jittered(pause_s))
            pause_s = min(pause_s * 2, longest_s)

    async def _ask(self, ask: Callable[[bytes], Awaitable[bytes]]) -> str:
        """One request, and what follows of its answer: the state that the service gives us."""
        membership, fresh = self._membership, self._fresh_proof()
        request = Request(
            key=base64.b64encode(self._identity.public_key).decode(),
            user=membership.credentials.public_key,
            name=self._name,
            machine=membership.machine,
            t=int(time.time()),
            proof=fresh or membership.proof,
            succession=membership.succession,
        )
        frame = encode_request(self._identity, request)
        answer = decode_answer(await ask(frame), to=frame)
        if answer.state != "enrolled":
            self._tell(logging.WARNING, f"{answer.state}{f': {answer.reason}' if answer.reason else ''}; asking again")
            return answer.state
        try:
            membership.keep_jwt(answer.jwt)
        except DeploymentError as error:
            _log.error("%s", error)
        if fresh is not None:
            self._keep_proof(fresh)
        self._told = ""
        _log.info("enrolled until %s", time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.credentials.expires_s)))
        return answer.state

    async def _ask_with_enrol_credentials(self, frame: bytes) -> bytes:
        broker = await connect(
            self._link.url,
            self._asking_credentials(),
            name=f"enrolling {self._identity.id}",
            tls=self._link.tls,
            give_up_after_s=math.inf,
        )
        async with broker:
            return await broker.request(ENROL_REQUEST, frame)

    def _asking_credentials(self) -> Credentials:
        refuse_loose(self._link.credentials, private=True)
        return Credentials.load(self._link.credentials)

    def _fresh_proof(self) -> Proof | None:
        """A proof by the token of agent.toml, unless the one that we have is by it, and of this name."""
        token = self._token.read()
        if token is None:
            return None
        held = self._membership.proof
        if held is not None and held.statement == token.statement and claim_of(held).name == self._name:
            return None
        return prove(
            token,
            key=self._identity.public_key,
            name=self._name,
            machine=self._membership.machine,
            now_s=int(time.time()),
        )

    def _keep_proof(self, proof: Proof) -> None:
        try:
            self._membership.keep_proof(proof)
            done = self._token.drop()
        except DeploymentError as error:
            _log.error("%s", error)
        else:
            if done:
                _log.warning("%s", done)

    def _tell(self, level: int, what: str) -> None:
        """What is new, once."""
        if what != self._told:
            self._told = what
            _log.log(level, "enrolment: %s", printable(what))


def _jittered(seconds: float) -> float:
    return seconds * random.uniform(0.5, 1.5)  # noqa: S311 - spreads load, hides nothing


async def _sleep_unless(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        pass
