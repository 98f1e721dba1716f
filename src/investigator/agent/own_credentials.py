"""This agent's own credentials for the broker: a user key of its own, beside its identity, and a token for it.

The broker chooses the nonce that a user key signs, so the identity's key, whose signatures mean something else, is never
that key. The token is minted from the deployment's own keys, and so only where those are at hand.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Final

from investigator.agent.durable import write_private
from investigator.agent.permissions import refuse_loose
from investigator.broker import nkeys
from investigator.broker.credentials import Credentials
from investigator.broker.operator import MAX_AGENT_LIFE_S, mint_agent
from investigator.errors import DeploymentError

if TYPE_CHECKING:
    from pathlib import Path

USER_KEY_FILE: Final = "agent.nk"
_MAX_SEED_BYTES: Final = 4096


def own_credentials(state: Path | None, broker_folder: Path, *, agent: str) -> Credentials:
    """The credentials of the agent with this id and state folder (None: kept in memory).

    Raises:
        DeploymentError: the deployment's keys are not on this machine, or the state folder cannot be used.
    """
    if not (broker_folder / "keys").is_dir():
        raise DeploymentError(
            f"agent {agent} has no credentials for the broker, and {broker_folder} no keys to make some with",
            hint="It runs on the machine that `investigator init` ran on.",
        )
    mine = Credentials.generate(agent) if state is None else load_or_make_user_key(state, agent=agent)
    token = mint_agent(
        broker_folder, agent=agent, user_key=mine.public_key, lives_s=MAX_AGENT_LIFE_S, now_s=int(time.time())
    )
    return mine.with_jwt(token)


def load_or_make_user_key(state: Path, *, agent: str) -> Credentials:
    """The agent's user key, without a token.

    Raises:
        DeploymentError: its file is open to others or holds no such key, or the folder cannot be written.
    """
    path = state / USER_KEY_FILE
    try:
        if not os.path.lexists(path):
            made = Credentials.generate(agent)
            write_private(path, made.seed.encode() + b"\n")
            return made
        refuse_loose(path, private=True)
        with path.open("rb") as file:
            seed = file.read(_MAX_SEED_BYTES).decode("ascii", "replace").strip()
        kind, _ = nkeys.decode_seed(seed)
    except OSError as error:
        raise DeploymentError(f"{path}: {error.strerror}") from None
    except ValueError as error:
        raise DeploymentError(f"{path}: {error}", hint="Without it the agent makes a new one.") from None
    if kind is not nkeys.Kind.USER:
        raise DeploymentError(f"{path}: the seed of another kind of key than a user's")
    return Credentials(agent, seed)
