"""The agent's state folder: its own key, audit, ledger, outbox and alerts, what stops actions and keys; one agent at a time."""

from __future__ import annotations

import fcntl
import hashlib
import os
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Final, Self

from investigator import __version__
from investigator.agent import processes
from investigator.agent.alerts import AlertBox
from investigator.agent.audit import Audit
from investigator.agent.audit_reading import admitted_digests
from investigator.agent.cancels import Cancels
from investigator.agent.database import open_database, transaction
from investigator.agent.identity_file import KEY_FILE, load_identity
from investigator.agent.ledger import Ledger
from investigator.agent.membership import Membership
from investigator.agent.outbox import Outbox
from investigator.agent.permissions import refuse_loose
from investigator.agent.revocations import Revocations
from investigator.errors import DeploymentError
from investigator.modules.agentdestroy.presence import LOCK_FILE, presence_of, write_presence
from investigator.program import archive_path
from investigator.protocol.identity import Identity

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator
    from pathlib import Path
    from types import TracebackType

DATABASE_FILE: Final = "agent.sqlite"
REVOCATIONS_FOLDER: Final = "revocations"


class AgentState:
    """Key, audit, ledger, outbox, kept cancels and revocations of one agent, opened together; use it as a context manager."""

    def __init__(self, folder: Path | None, *, machine: str = "") -> None:
        """`folder` is made when opened; None keeps everything in memory, for simulated agents.

        `machine` is where this runs (`machine.this_machine`): a state that was made on another one gets a new key.
        """
        self.folder = folder
        self._machine = machine
        self.identity: Identity
        self.membership: Membership
        self.audit: Audit
        self.ledger: Ledger
        self.outbox: Outbox
        self.alerts: AlertBox
        self.cancels: Cancels
        self.revocations: Revocations
        self._database: sqlite3.Connection
        self._closing = ExitStack()

    @property
    def mark(self) -> str:
        """What this agent's processes are known by, and those of its earlier lives: its id, and where its state lies.

        By the id alone two agents on one host, one with a copy of the other's state, would end each other's workers.
        """
        place = b"" if self.folder is None else os.fsencode(self.folder.resolve())
        return f"{self.identity.id}-{hashlib.sha256(place).hexdigest()[:8]}"

    def __enter__(self) -> Self:
        """Open, or make at the first start.

        Raises:
            DeploymentError: another agent runs on this state, or the folder is damaged, open to others, unwritable or
                full.
        """
        with ExitStack() as taken_back, ExitStack() as opened:  # what fails half-way leaves nothing open
            former = ""
            if self.folder is None:
                self.identity, key_is_new = Identity.generate(), True
            else:
                lock = _claim(self.folder)
                opened.callback(os.close, lock)
                self.identity, key_is_new, former = load_identity(self.folder, self._machine)
                if key_is_new:  # a key beside no ledger would say at the next start that the ledger was lost
                    taken_back.callback((self.folder / KEY_FILE).unlink, missing_ok=True)
                _say_who(lock, self.folder, self.identity.id)
            self.membership = Membership(self.folder, self.identity, self._machine)
            database = open_database(None if self.folder is None else self.folder / DATABASE_FILE)
            opened.callback(database.close)
            self._database = database
            self.ledger = Ledger(database, key_is_new=key_is_new, now_s=int(time.time()), recall=self._recall)
            audit = Audit(self.folder, agent=self.identity.id, key_is_new=key_is_new)
            self.audit = opened.enter_context(audit)
            self.outbox = Outbox(database)
            self.alerts = AlertBox(database, self.identity)
            if former:  # what the former key had to say is for its own machine to deliver
                self.outbox.clear()
                self.alerts.clear()
            self.cancels = Cancels(database)
            self.revocations = Revocations(None if self.folder is None else self.folder / REVOCATIONS_FOLDER)
            self._closing = opened.pop_all()
            taken_back.pop_all()
        return self

    def _recall(self) -> set[str]:
        return set() if self.folder is None else admitted_digests(self.folder)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """What is written to ledger and outbox within is there whole or not at all.

        Raises:
            NotStored: the disk did not take it.
        """
        with transaction(self._database, "the agent's database"):
            yield

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close everything and let another agent have the folder."""
        self._closing.close()


def _claim(folder: Path) -> int:
    """The open lock of this folder, which nobody else holds."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        refuse_loose(folder)
        lock = os.open(folder / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise DeploymentError(f"{folder}: {error.strerror}") from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(lock)
        if not isinstance(error, BlockingIOError):
            raise DeploymentError(f"{folder}: {error.strerror}") from None
        raise DeploymentError(
            f"{folder}: another agent runs with this state",
            hint="Give each agent a --name or a --state of its own.",
        ) from None
    return lock


def _say_who(lock: int, folder: Path, agent: str) -> None:
    """Write into the held lock which process holds it, so that who is to end this agent ends nothing else."""
    process = processes.look(os.getpid())
    if process is None:  # no /proc: nobody could recognise it
        return
    presence = presence_of(
        pid=process.pid,
        started_ticks=process.started_ticks,
        version=__version__,
        agent=agent,
        program=archive_path(),
    )
    try:
        write_presence(lock, presence)
    except OSError as error:
        raise DeploymentError(f"{folder / LOCK_FILE}: {error.strerror}") from None
