"""A deployment for the fleet benches: broker, console and a token for everybody, in a scratch folder."""

from __future__ import annotations

import contextlib
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from investigator.agent.state import AgentState
from investigator.broker.operator import mint_agent
from investigator.config import AGENT_FILE, load_agent
from investigator.console.deployment import BROKER_FOLDER, SIGNING_KEY, create_deployment
from investigator.console.enrolling import make_token
from investigator.console.network import Network
from investigator.pgp.signer import KeyFileSigner
from investigator.program import own_command
from investigator.protocol.token import SecretToken, prove

AGENT_LIFE_S = 3600
MAX_AGENTS = 20_000


@dataclass(frozen=True, slots=True)
class Deployment:
    """Where it is, and which process serves it."""

    home: Path
    broker: int
    """Process id of `investigator broker`, whose child is nats-server."""
    token: SecretToken


@contextlib.contextmanager
def deployment(folder: Path, *, tls: bool) -> Iterator[Deployment]:
    """Made as `investigator init` makes one, with a token for so many agents, and its broker running."""
    home = folder / "home"
    create_deployment(home, port=0, passphrase=None, network=Network(plain_text=not tls))
    token = token_for_all(home)
    settings = home / AGENT_FILE
    settings.write_text(
        re.sub(r'^token = ".*"$', f'token = "{token.encode()}"', settings.read_text(), flags=re.MULTILINE)
    )
    os.environ["INVESTIGATOR_HOME"] = str(home)
    with process([*own_command(), "broker"], until="broker ready") as broker:
        yield Deployment(home, broker.pid, token)


def token_for_all(home: Path) -> SecretToken:
    """Signed by the deployment's own investigator, for more agents than there will be."""
    signer = KeyFileSigner((home / SIGNING_KEY).read_bytes(), lambda: "")
    token, _ = make_token(signer, count=MAX_AGENTS, life=timedelta(days=1), now_s=time.time())
    return token


def enlist(opened: AgentState, home: Path, token: SecretToken, *, name: str) -> None:
    """What an enrolment leaves with an agent: its own JWT, and the proof that a token vouched for it.

    How long it takes to enrol a thousand at once is not what is measured.
    """
    membership, identity = opened.membership, opened.identity
    user, now_s = membership.credentials.public_key, int(time.time())
    folder = home / BROKER_FOLDER
    membership.keep_jwt(mint_agent(folder, agent=identity.id, user_key=user, lives_s=AGENT_LIFE_S, now_s=now_s))
    membership.keep_proof(
        prove(token, key=identity.public_key, name=name, machine=membership.machine, now_s=now_s),
    )


def address(home: Path) -> str:
    """Of the broker."""
    return load_agent(home).broker.url


def make_tree(folder: Path) -> Path:
    """A small tree, one file of which is looked for."""
    for number in range(20):
        path = folder / f"d{number % 4}" / f"file-{number}.conf"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"setting = {number}\n" * 20)
    (folder / "d1" / "passwd").write_text("root:x:0:0\n")
    return folder


@contextlib.contextmanager
def process(words: list[str], *, until: str) -> Iterator[subprocess.Popen[bytes]]:
    """A program, once it has said that it is ready; it is ended at the end."""
    child = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    try:
        assert child.stdout is not None
        if not any(until in line.decode() for line in child.stdout):
            sys.exit(f"{words!r} ended without saying {until!r}")
        yield child
    finally:
        child.terminate()
        try:
            child.wait(20)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        if child.stdout is not None:
            child.stdout.close()


def fsync_ms(folder: Path, *, times: int = 50) -> float:
    """What one small durable write costs there, in milliseconds: the median."""
    took = []
    with tempfile.NamedTemporaryFile(dir=folder) as file:
        for _ in range(times):
            os.write(file.fileno(), bytes(500))
            started = time.perf_counter()
            os.fsync(file.fileno())
            took.append(time.perf_counter() - started)
    return 1000 * sorted(took)[times // 2]


def raise_open_files() -> None:
    """As many as this user may have: one connection each."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
