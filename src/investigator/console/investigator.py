"""The library: ask a fleet from a Python program. The command line stands on it too.

from investigator import Investigator

async with Investigator("/srv/mig") as console:
    async for outcome in console.run(
        target="os='linux'", operations=[("file", {"searches": {"s1": {"paths": ["/etc"], "names": ["^passwd$"]}}})]
    ):
        print(outcome.name, outcome.state, [result.elements for result in outcome.results])
"""

from __future__ import annotations

import asyncio
import base64
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self
from weakref import WeakSet

from investigator.broker.connection import Broker
from investigator.config import default_home, load_console
from investigator.console.asking import Asked
from investigator.console.asking import operations as checked
from investigator.console.audience import Audience, Summary, Unmoved
from investigator.console.author import DEFAULT_TARGET, Author
from investigator.console.cancelling import Cancelling, find_action, publish_cancel
from investigator.console.condition import compile_target
from investigator.console.dispatch import Prepared
from investigator.console.fleet import clocks_off, earlier_outcomes, load_fleet
from investigator.console.following import Investigation
from investigator.console.investigation import investigate
from investigator.console.link import console_link
from investigator.console.not_collecting import not_collecting
from investigator.console.passphrase import Passphrase
from investigator.console.recorded import load_signatures, recorded_actions
from investigator.console.render_records import Line
from investigator.console.results import find_asked, follow_results
from investigator.console.session import Session
from investigator.console.stopping import Stopped, stop_and_follow
from investigator.console.store import Store
from investigator.protocol.action import DEFAULT_LIFE_S, Action, compressed, utc

FOLLOW_CANCEL_S: Final = 15.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Agent:
    """One agent as its own facts tell it."""

    id: str
    name: str
    status: str
    """`online`, `idle` or `offline`."""
    last_seen: datetime
    row: Mapping[str, Any]
    """Its row of the agents table, which targets are conditions over; and `enrolment`, whether it is proven to be ours."""


@dataclass(frozen=True, slots=True)
class RecordedAction:
    """One action that somebody asked, as it is on record."""

    id: str
    digest: str
    name: str
    target: str
    modules: tuple[str, ...]
    asked: datetime
    expireafter: datetime
    signers: tuple[str, ...]
    """Names of those whose signatures are good by this deployment's keyring; without one nobody knows who asked."""
    problem: str
    """Why a signature does not count; empty if all do."""
    cancelled: tuple[str, ...]
    """Who signed cancels of it."""
    states: Mapping[str, int]
    """How many agents came to which state, as far as that is known here."""
    final: bool
    """Whether that is how it ended."""


class Investigator:
    """An investigator's console: the deployment's keys, its broker, and its store of what was asked and answered.

    An async context manager. Every method raises `InvestigatorError`s and nothing else of its own: `BadInput` for what
    cannot be asked, `BrokerError` without a broker, `DeploymentError` where this machine lacks something, `Refused` where
    a check of trust says no.
    """

    def __init__(
        self,
        home: Path | str | None = None,
        *,
        may_prompt: bool = False,
        on_warning: Callable[[str], None] | None = None,
        author: Author | None = None,
    ) -> None:
        """Nothing is read before it is entered.

        Args:
            home: the deployment's folder; None: `$INVESTIGATOR_HOME`, else the folder `investigator` where XDG keeps data.
            may_prompt: whether a person may be asked for a passphrase, on the terminal or by gpg. Without it, it comes from
                `passphrase_command` in console.toml, the descriptor `INVESTIGATOR_PASSPHRASE_FD`, or gpg's agent.
            on_warning: told, in one line each, what the asker should know: answers that did not verify, agents that cannot
                run a module, a broker that went away for a moment. None: to the log `investigator.console.investigator`.
            author: settings and keys that are loaded already, instead of those in `home`.
        """
        self._home = Path(home).absolute() if home is not None else default_home()
        self._may_prompt = may_prompt
        self._warn = on_warning or _log.warning
        self._given = author
        self._author: Author
        self._broker: Broker
        self._store: Store
        self._open = AsyncExitStack()
        self._investigations: WeakSet[Investigation] = WeakSet()

    async def __aenter__(self) -> Self:
        """Connect, and open the store.

        Raises:
            DeploymentError: no deployment, or no usable store.
            BadInput: console.toml is none.
            BrokerError: there is no broker within five seconds.
        """
        self._author = self._given or self._load()
        async with AsyncExitStack() as opening:
            self._broker = await opening.enter_async_context(console_link(self._author.config))
            self._store = await opening.enter_async_context(Store(self._author.config.store))
            self._open = opening.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End what is being followed, and let go of store and broker."""
        try:
            for investigation in list(self._investigations):
                await investigation.aclose()
        finally:
            await self._open.aclose()

    def run(
        self,
        *,
        operations: Sequence[Asked],
        target: str = DEFAULT_TARGET,
        name: str = "",
        life: timedelta = timedelta(seconds=DEFAULT_LIFE_S),
        wait: bool = False,
        compress: bool = False,
        found: str | None = None,
        notfound: str | None = None,
    ) -> Investigation:
        """Ask these operations of the agents that the target means. Nothing is signed or sent before the first step.

        Args:
            operations: (module, parameters) each, where parameters are JSON's object, the struct that the module declares, or
                a list of MIG's flags; or `Operation`s.
            target: a condition over the agents table, `all`, or one of console.toml's macros.
            name: for people; empty: the modules' names.
            life: how long agents may start with it, and work on it.
            wait: stay until the action expires, also for agents that are away.
            compress: send the parameters compressed, as MIG does.
            found: only agents where the action with this id found something.
            notfound: only agents where the action with this id found nothing.

        Raises:
            BadInput: what cannot be asked; `BadTarget`, `BadParameters` and `BadRegex` say where.
        """
        asked = [compressed(one) if compress else one for one in checked(operations)]
        action = self._author.write(
            name=name or ", ".join(dict.fromkeys(one.module for one in asked)),
            target=target,
            operations=asked,
            life=life,
            found=found,
            notfound=notfound,
        )
        return self._investigation(action, lambda: self._author.sign(action), wait=wait)

    def send(self, prepared: Prepared, *, wait: bool = False) -> Investigation:
        """Follow an action that is signed already: `dispatch.prepare` reads its envelope."""
        return self._investigation(prepared.action, lambda: prepared, wait=wait)

    async def results(
        self, action: str, *, follow: bool = False, key: Callable[[Action], bytes | None] | None = None
    ) -> Investigation:
        """An action's answers again, later or elsewhere; `sealed` in the summary counts those that nothing here opens.

        Args:
            action: its id, the start of one, or `last`, the last one that was asked from here.
            follow: stay until the action expires, also for agents that are away.
            key: gives the private key that opens them, where it is not this console's own.

        Raises:
            BadInput: there is none, or several.
            BrokerError: the records cannot be read.
        """
        sealto = self._author.sealto()
        own = () if sealto is None else (base64.b64encode(sealto).decode(),)
        asked = await find_asked(action, self._store, self._broker, own=own)

        async def tell(prepared: Prepared, audience: Audience, stop: asyncio.Event) -> Summary:
            return await follow_results(
                asked,
                await self._session(),
                audience,
                private_key=await asyncio.to_thread(key or self._author.key_for, prepared.action),
                follow=follow,
                stop=stop,
                recorder=self._author.recorder(self._broker),
            )

        return self._followed(Investigation(asked.prepared.action, lambda: asked.prepared, tell, self._warn))

    async def actions(self, *, everything: bool = False) -> list[RecordedAction]:
        """What was asked, by everybody, oldest first: of the last seven days and what is valid still, or everything on record.

        Raises:
            BrokerError: the records cannot be read.
            DeploymentError: there is no keyring to tell who signed.
        """
        now_s = time.time()
        signatures = await asyncio.to_thread(load_signatures, self._author.home, now_s=now_s)
        lines, problems = await recorded_actions(
            self._store, self._broker, signatures, now=utc(now_s), everything=everything
        )
        for problem in problems:
            self._warn(problem)
        return [_recorded(line) for line in lines]

    async def agents(self, target: str | None = None) -> list[Agent]:
        """The agents that a target means, by name; None: all.

        Raises:
            BadTarget: it is no condition over the agents table.
            BrokerError: the broker does not answer.
        """
        condition = None if target is None else compile_target(target, self._author.config.targets)[1]
        fleet = await load_fleet(await self._session())
        now = utc(time.time())
        came_to = await earlier_outcomes(self._store, condition)
        with not_collecting():
            hosts = fleet.inventory.matching(condition, now, came_to)
        for line in [*fleet.enrolled.problems, *fleet.warnings, *fleet.standings(hosts), *clocks_off(hosts)]:
            self._warn(line)
        with not_collecting():
            rows = [(host, fleet.enrolled.row(host, now)) for host in hosts]
            return [Agent(host.id, host.name, str(row["status"]), host.last_seen, row) for host, row in rows]

    async def cancel(
        self, action: str, *, reason: str = "", digest: str | None = None, follow_s: float = FOLLOW_CANCEL_S
    ) -> Stopped:
        """Stop an action: where it runs, and before it starts where it was not heard of yet.

        Args:
            action: its id.
            reason: for people; agents say it in their answers.
            digest: the action's, where neither this console nor the stream has it.
            follow_s: how long to wait for the agents that run it; 0 waits for none.

        Raises:
            BadInput: there is no such action, or it has expired.
            BrokerError: the stream did not take it.
        """
        written = await self.write_cancel(action, reason=reason, digest=digest)
        signed = await asyncio.to_thread(self._author.sign_cancel, written)
        return await self.send_cancel(signed, follow_s=follow_s)

    async def write_cancel(self, action: str, *, reason: str = "", digest: str | None = None) -> Cancelling:
        """What is to be signed to stop an action; raises as `cancel`."""
        known = await find_action(action, self._store, self._broker, digest=digest)
        return self._author.write_cancel(action, known, digest=digest, reason=reason)

    async def send_cancel(
        self,
        signed: Cancelling,
        *,
        follow_s: float = FOLLOW_CANCEL_S,
        audience: Audience | None = None,
        started: Callable[[Stopped], None] = lambda _: None,
        stop: asyncio.Event | None = None,
    ) -> Stopped:
        """Publish a signed cancel, and follow how the agents end where that can be told here; raises as `cancel`.

        `started` is called once it is published and followed, `stop` ends the following.
        """
        unfollowed = ""
        if signed.action is None:
            unfollowed = "the action is not known here, so nobody can say who ran it"
        elif not follow_s:
            unfollowed = "nobody asked to wait for it"
        elif not await asyncio.to_thread(self._author.can_read, signed.action.action):
            unfollowed = "its results are sealed to another console, which hears how its agents end"
        if signed.action is None or unfollowed:
            await publish_cancel(signed, self._broker, now_s=time.time())
            return Stopped(0, 0, unfollowed=unfollowed)
        return await stop_and_follow(
            signed,
            signed.action,
            await self._session(),
            audience or Unmoved(self._warn),
            private_key=self._author.key_for(signed.action.action),
            started=started,
            follow_s=follow_s,
            stop=stop or asyncio.Event(),
        )

    async def _session(self) -> Session:
        rules = await asyncio.to_thread(self._author.rules, self._warn)
        return Session(self._broker, self._store, rules, self._author.config.enrolment)

    def _load(self) -> Author:
        config = load_console(self._home)
        passphrase = Passphrase("the investigator's key", config.passphrase_command, may_prompt=self._may_prompt)
        return Author(self._home, config, passphrase, may_prompt=self._may_prompt)

    def _investigation(self, action: Action, prepare: Callable[[], Prepared], *, wait: bool) -> Investigation:
        async def follow(prepared: Prepared, audience: Audience, stop: asyncio.Event) -> Summary:
            await asyncio.to_thread(self._author.refuse_unreadable, prepared.action)
            return await investigate(
                prepared,
                await self._session(),
                audience,
                private_key=self._author.key_for(prepared.action),
                wait=wait,
                stop=stop,
                recorder=self._author.recorder(self._broker),
            )

        return self._followed(Investigation(action, prepare, follow, self._warn))

    def _followed(self, made: Investigation) -> Investigation:
        self._investigations.add(made)
        return made


def _recorded(line: Line) -> RecordedAction:
    action = line.entry.prepared.action
    return RecordedAction(
        id=action.id,
        digest=line.entry.digest,
        name=action.name,
        target=action.target,
        modules=tuple(operation.module for operation in action.operations),
        asked=utc(line.entry.asked_s),
        expireafter=action.expireafter,
        signers=line.signed.names,
        problem=line.signed.problem,
        cancelled=line.cancelled,
        states=line.standing.states,
        final=line.standing.final,
    )
