"""The agent's state folder: its own key, its ledger and its outbox; one agent at a time."""

from __future__ import annotations

import base64
import fcntl
import os
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final, Self

import orjson

from investigator.agent.database import open_database
from investigator.agent.ledger import Ledger
from investigator.agent.outbox import Outbox
from investigator.agent.permissions import refuse_loose
from investigator.errors import DeploymentError
from investigator.protocol.identity import Identity

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

KEY_FILE: Final = "agent.key"
DATABASE_FILE: Final = "agent.sqlite"
LOCK_FILE: Final = "agent.lock"


class AgentState:
    """Key, ledger and outbox of one agent, opened together; use it as a context manager."""

    def __init__(self, folder: Path | None) -> None:
        """`folder` is made when opened; None keeps everything in memory, for simulated agents."""
        self.folder = folder
        self.identity: Identity
        self.ledger: Ledger
        self.outbox: Outbox
        self._closing = ExitStack()

    def __enter__(self) -> Self:
        """Open, or make at the first start.

        Raises:
            DeploymentError: another agent runs on this state, or the folder is damaged, open to others, unwritable or
                full.
        """
        with ExitStack() as opened:  # what fails half-way leaves nothing open
            if self.folder is None:
                self.identity, key_is_new = Identity.generate(), True
            else:
                opened.callback(os.close, _claim(self.folder))
                self.identity, key_is_new = _load_or_make_key(self.folder)
            database = open_database(None if self.folder is None else self.folder / DATABASE_FILE)
            opened.callback(database.close)
            self.ledger = Ledger(database, key_is_new=key_is_new, now_s=int(time.time()))
            self.outbox = Outbox(database)
            self._closing = opened.pop_all()
        return self

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


def _load_or_make_key(folder: Path) -> tuple[Identity, bool]:
    """The agent's key, and whether it was made just now."""
    path = folder / KEY_FILE
    try:
        if os.path.lexists(path):
            refuse_loose(path, private=True)
            document = orjson.loads(path.read_bytes())
            return Identity(base64.b64decode(document["ed25519"], validate=True)), False
        identity = Identity.generate()
        _write_key(folder, identity)
    except OSError as error:
        raise DeploymentError(f"{path}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError):
        raise DeploymentError(f"{path}: this is no agent's key", hint="Without it the agent is a new one.") from None
    return identity, True


def _write_key(folder: Path, identity: Identity) -> None:
    """Whole or not at all: a power cut half-way must not leave an agent that never starts again."""
    scratch = folder / f"{KEY_FILE}.new"
    scratch.unlink(missing_ok=True)
    descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(orjson.dumps({"ed25519": base64.b64encode(identity.private_bytes).decode()}))
        file.flush()
        os.fsync(file.fileno())
    scratch.rename(folder / KEY_FILE)
    entries = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(entries)
    finally:
        os.close(entries)
