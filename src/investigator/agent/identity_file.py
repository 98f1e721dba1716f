"""The agent's own key as a file of its state folder: made at the first start, and anew where the state was copied to another machine."""

from __future__ import annotations

import base64
import logging
import os
import time
from typing import TYPE_CHECKING, Any, Final

import msgspec
import orjson

from investigator.agent.durable import write_private
from investigator.agent.membership import JWT_FILE, PROOF_FILE, SUCCESSION_FILE, USER_KEY_FILE
from investigator.agent.permissions import refuse_loose
from investigator.errors import DeploymentError
from investigator.protocol.identity import Identity
from investigator.protocol.token import known_of_both, same_machine, succeed

if TYPE_CHECKING:
    from pathlib import Path

KEY_FILE: Final = "agent.key"
_log = logging.getLogger(__name__)


def load_identity(folder: Path, machine: str) -> tuple[Identity, bool, str]:
    """The agent's key, whether there was none before, and the id of the former key where the state was another machine's.

    Two machines must not be one agent. The former key signs that the new one follows it, so that a console can say whose copy
    this is; ledger, audit and kept cancels stay, since an action that ran on this disk need not run again.

    Raises:
        DeploymentError: the file is damaged or open to others, or the folder cannot be written.
    """
    path = folder / KEY_FILE
    try:
        if not os.path.lexists(path):
            identity = Identity.generate()
            _write(path, identity, machine)
            return identity, True, ""
        refuse_loose(path, private=True)
        document = orjson.loads(path.read_bytes())
        identity = Identity(base64.b64decode(document["ed25519"], validate=True))
        made_on = _machine(document)
        if same_machine(made_on, machine):
            known = known_of_both(made_on, machine)
            if known != made_on:
                _write(path, identity, known)
            return identity, False, ""
        return _follow(folder, identity, machine), False, identity.id
    except OSError as error:
        raise DeploymentError(f"{path}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError):
        raise DeploymentError(f"{path}: this is no agent's key", hint="Without it the agent is a new one.") from None


def _follow(folder: Path, former: Identity, machine: str) -> Identity:
    """A new key for this machine. Its succession is on the disk before it is: a crash between leaves the former in place."""
    for name in (USER_KEY_FILE, JWT_FILE, PROOF_FILE):  # the former's, on its own machine
        (folder / name).unlink(missing_ok=True)
    identity = Identity.generate()
    word = succeed(former, identity, machine=machine, now_s=int(time.time()))
    write_private(folder / SUCCESSION_FILE, orjson.dumps(msgspec.to_builtins(word)))
    _write(folder / KEY_FILE, identity, machine)
    _log.warning("this state was made on another machine: %s is %s from now on", former.id, identity.id)
    return identity


def _machine(document: dict[str, Any]) -> str:
    machine = document.get("machine", "")
    return machine if isinstance(machine, str) else ""


def _write(path: Path, identity: Identity, machine: str) -> None:
    """Whole or not at all: a power cut half-way must not leave an agent that never starts again."""
    document = {"ed25519": base64.b64encode(identity.private_bytes).decode(), "machine": machine}
    write_private(path, orjson.dumps(document))
