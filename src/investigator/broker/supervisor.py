"""The supervision of a connection: whatever ends its link to a server, another one is made, with jitter (docs/adr/0010)."""

from __future__ import annotations

import asyncio
import logging
import math
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from investigator.broker.backoff import Backoff
from investigator.broker.problems import NotPermittedError, UnansweredError, readable, translated
from investigator.broker.states import State
from investigator.errors import BrokerError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from investigator.broker.credentials import Credentials
    from investigator.broker.dialer import Dialer
    from investigator.broker.link import Link

_CANCEL_AGAIN_AFTER_S: Final = 0.2
_STABLE_AFTER_S: Final = 10.0
_LEAST_ATTEMPT_S: Final = 0.5
"""For one attempt, where the time to give up is near."""
_LONGER_FOR_BUSY: Final = 3
"""How much longer than for one that is not there a server is tried that is there, and does not answer."""
_UNSENT_WITHIN_S: Final = 2.0
_log = logging.getLogger(__name__)


class Supervisor:
    """Keeps one link to one of the servers, from `start` to `close`."""

    def __init__(
        self,
        dialer: Dialer,
        credentials: Credentials,
        *,
        tell: Callable[[State], object],
        restore: Callable[[Link], Awaitable[None]],
    ) -> None:
        """Not connected yet.

        Args:
            dialer: opens the links.
            credentials: whom to be.
            tell: told when the connection comes and goes, in order.
            restore: puts on a new link what was on the one before, and returns when the server has it.
        """
        self.link: Link | None = None
        """The present one, which may be lost."""
        self.problem = ""
        """The last thing that went wrong, one line; empty if nothing did."""
        self._dialer = dialer
        self._credentials = credentials
        self._tell = tell
        self._restore = restore
        self._backoff = Backoff()
        self._up = asyncio.Event()
        self._changing = False
        """Whether `become` ended the link: nothing failed, and nothing is to be waited for."""
        self._task: asyncio.Task[None] | None = None

    @property
    def is_connected(self) -> bool:
        """Whether there is a link right now."""
        return self.link is not None and self.link.is_connected

    @property
    def inbox(self) -> str:
        """The subject under which answers are heard."""
        return self._dialer.options.inbox_of(self._credentials)

    def now(self) -> Link:
        """The link.

        Raises:
            BrokerError: there is none right now.
        """
        if self.link is None or not self.link.is_connected:
            raise BrokerError(self.problem or "not connected to the broker")
        return self.link

    async def within(self, timeout_s: float) -> Link:
        """The link, waiting for a reconnection that may be under way.

        Raises:
            BrokerError: there is still none.
        """
        if not self.is_connected and self._task is not None:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._up.wait(), timeout_s)
        return self.now()

    async def start(self, give_up_after_s: float | None) -> None:
        """Make the first link, and keep one from then on; raises as `connection.connect` does."""
        self._set_link(await self._new_link(give_up_after_s))
        self._tell(State.CONNECTED)
        self._task = asyncio.create_task(self._supervise(), name=f"broker connection {self._dialer.options.name}")
        self._task.add_done_callback(_supervised)

    async def become(self, credentials: Credentials) -> None:
        """Be this user from now on, on a new link: a server takes no other credentials on one that it has let in."""
        self._credentials = credentials
        self.problem = ""  # the old one's
        link = self.link
        if link is not None:
            await _send_unsent(link, "changing credentials")
            if link.is_connected:
                self._changing = True
                await link.shut()

    async def close(self) -> None:
        """Send what is unsent, within a bound, and end."""
        if self._task is not None:
            while not self._task.done():  # nats-py swallows a cancellation while it closes a connection
                self._task.cancel()
                await asyncio.wait({self._task}, timeout=_CANCEL_AGAIN_AFTER_S)
            self._task = None
        link, self.link = self.link, None
        self._up.clear()
        if link is not None:
            await _send_unsent(link, "closing")
            await link.shut()

    async def _supervise(self) -> None:
        """For as long as we are open: when the link is lost, make another, and restore what was on it."""
        loop = asyncio.get_running_loop()
        while True:
            assert self.link is not None
            since = loop.time()
            error = await asyncio.shield(self.link.lost)
            self._up.clear()
            changing, self._changing = self._changing, False
            if changing or loop.time() - since > _STABLE_AFTER_S:
                self._backoff.reset()
            if not changing:
                self._note(str(readable("the broker", error) or f"the broker: {error}"))
            self._tell(State.DISCONNECTED)
            await self.link.shut()
            if not changing:
                await asyncio.sleep(self._backoff.pause_s())
            self._set_link(await self._new_link(None))
            if await self._restored(self.link):
                self._tell(State.RECONNECTED)

    async def _new_link(self, give_up_after_s: float | None) -> Link:
        """Try one server after the other, until one lets us in."""
        loop = asyncio.get_running_loop()
        began, give_up_s = loop.time(), math.inf if give_up_after_s is None else give_up_after_s
        ends = began + give_up_s
        while True:
            credentials = self._credentials
            timeout_s = min(self._backoff.patience_s(), max(_LEAST_ATTEMPT_S, ends - loop.time()))
            try:
                link = await self._dialer.open(self._backoff.pauses, credentials, timeout_s=timeout_s)
            except BrokerError as error:
                if credentials is not self._credentials:
                    continue  # `become` came meanwhile
                is_busy = isinstance(error, UnansweredError)
                ends = began + give_up_s * (_LONGER_FOR_BUSY if is_busy else 1)
                self._backoff.failed(unanswered=is_busy)
                pause_s = self._backoff.pause_s()
                is_refused = isinstance(error, NotPermittedError)
                if give_up_after_s is not None and (is_refused or loop.time() + pause_s >= ends):
                    raise
                self._failed(error, is_refused=is_refused)
                await asyncio.sleep(pause_s)
            else:
                if credentials is self._credentials:
                    return link
                await link.shut()

    async def _restored(self, link: Link) -> bool:
        try:
            with translated("subscribing again"):
                await self._restore(link)
        except BrokerError as error:
            # It is lost again, or too slow to be of use.
            self._note(str(error))
            await link.shut()
            return False
        return True

    def _set_link(self, link: Link) -> None:
        self.link = link
        self._up.set()

    def _failed(self, error: BrokerError, *, is_refused: bool) -> None:
        """Tell what is news; that there is no link, whoever had one knows already."""
        if self._note(str(error)):
            if is_refused:
                self._tell(State.REFUSED)
            elif self._task is None:
                self._tell(State.DISCONNECTED)

    def _note(self, problem: str) -> bool:
        """Remember what is wrong; log it if it is news."""
        news = problem != self.problem
        self.problem = problem
        if news:
            _log.warning("%s; trying on", problem)
        return news


def _supervised(task: asyncio.Task[None]) -> None:
    if not task.cancelled():
        _log.critical("the supervision of the connection ended: a defect", exc_info=task.exception())


async def _send_unsent(link: Link, doing: str) -> None:
    """Where the link still lives, and within a bound."""
    if link.is_connected:
        with suppress(BrokerError), translated(doing):
            await link.round_trip(_UNSENT_WITHIN_S)
