"""One agent in memory, a runner that runs nothing, and what the agent has to say: for tests of what it hears."""

from __future__ import annotations

import asyncio
import base64
import time
from dataclasses import dataclass, field
from typing import Any

from investigator.agent.actions import Actions
from investigator.agent.runner import Ran
from investigator.agent.state import AgentState
from investigator.agent.trust import Trust
from investigator.protocol.answer import Assembly, Head, unpack
from investigator.protocol.result import Outcome, Result
from investigator.protocol.sealing import public_sealing_key
from investigator.protocol.subjects import result_subject
from signed import ACTION_ID, ALICE, ROW, FakeKeyring, sealed_in, sign, weights, written

PRIVATE = bytes(range(2, 34))
SEALTO = base64.b64encode(public_sealing_key(PRIVATE)).decode()
ALL, LINUX = f"mig.action.all.{ACTION_ID}", f"mig.action.os.linux.{ACTION_ID}"
FOUND = Ran(state="done", code="", result=Result(success=True, foundanything=True, elements=["x"]))


@dataclass
class FakeRunner:
    """Runs what is asked: `ends` says how each module ends; a module that it does not name runs until it is stopped."""

    ends: dict[str, Any] = field(default_factory=lambda: {"netstat": FOUND})
    ran: list[tuple[str, Any]] = field(default_factory=list)
    deadlines_s: list[float] = field(default_factory=list)

    async def run(
        self, module: str, parameters: Any, *, deadline_s: float, take: Any = None, limits: Any = None
    ) -> Ran:
        self.ran.append((module, parameters))
        self.deadlines_s.append(deadline_s)
        if module not in self.ends:
            await asyncio.Event().wait()
        end = self.ends[module]
        if isinstance(end, Exception):
            raise end
        return end  # type: ignore[no-any-return]


class Scene:
    """One agent in memory, and what it has to say."""

    def __init__(self, state: AgentState) -> None:
        self.state = state
        self.runner = FakeRunner()
        self.posted = 0
        self.trust = Trust(FakeKeyring(), weights(alice=1, bob=1, carol=0), ())
        self.actions = self.restarted()

    def restarted(self) -> Actions:
        return Actions(
            self.state, self.trust, self.runner, name="web-1", row=lambda: ROW, module_timeout_s=30, posted=self._count
        )

    def _count(self) -> None:
        self.posted += 1

    async def hear(self, raw: bytes, subject: str = ALL, *, live: bool = True) -> None:
        self.actions.heard(subject, raw, live=live)
        await self.settle()

    async def settle(self) -> None:
        for _ in range(10):
            await asyncio.sleep(0)

    def answers(self, action: str = ACTION_ID, key: bytes | None = None) -> list[tuple[Head, Outcome]]:
        """What waits in the outbox for this action, put together."""
        agent, assembly = self.state.identity.id, Assembly()
        told = []
        for letter in self.state.outbox.pending(at_most=10_000):
            if letter.subject == result_subject(action, agent):
                head, piece = unpack(letter.payload, action=action, agent=agent, private_key=key)
                outcome = assembly.add(head, piece)
                if isinstance(outcome, Outcome):
                    told.append((head, outcome))
        return told

    def said(self, action: str = ACTION_ID) -> list[tuple[str, str]]:
        """State and code of each answer."""
        return [(outcome.state, outcome.code) for _, outcome in self.answers(action)]


def action(**changes: Any) -> bytes:
    return written(**{"now_s": time.time(), **changes})


def signed(text: bytes | None = None, *signers: str) -> bytes:
    text = text if text is not None else action()
    return sealed_in(text, *(sign(text, signer, time.time()) for signer in signers or (ALICE,)))


def operations(*modules: str) -> list[dict[str, Any]]:
    return [{"module": module, "parameters": {}} for module in modules]
