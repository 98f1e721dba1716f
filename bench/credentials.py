"""What tokens cost: minting one, letting a thousand users in with them, and shutting one out.

    python bench/credentials.py [--users 1000] [--runs 5]

Letting in is measured against as many nkey users of a plain configuration, by the same client, in the same run. Shutting
out is from the revocation to the moment at which the user's connection ends: pushed through the system account, and by
the deployment's files as `investigator broker` reads them.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import resource
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from nats.aio.client import Client

from figures import figure
from investigator.broker import nkeys, operator
from investigator.broker.claims import push_claims
from investigator.broker.connection import Broker, State, connect
from investigator.broker.credentials import Credentials
from investigator.broker.scopes import Account
from investigator.broker.server import EmbeddedServer

LIFE_S = 3600
AT_A_TIME = 50


class NkeyServer(EmbeddedServer):
    """Users as a plain configuration knows them: by their keys, with an agent's permissions written out for each."""

    users: Sequence[Credentials] = ()

    def _settings(self) -> dict[str, Any]:
        settings = super()._settings()
        for key in ("operator", "system_account", "resolver", "resolver_preload"):
            del settings[key]
        settings["authorization"]["users"] = [
            {
                "nkey": user.public_key,
                "permissions": {
                    "publish": [f"mig.result.*.{user.name}", f"mig.hb.{user.name}", f"mig.facts.{user.name}"],
                    "subscribe": ["mig.action.all.*", f"mig.action.agent.{user.name}.*", f"_INBOX.{user.name}.>"],
                },
            }
            for user in self.users
        ]
        return settings


def mint(folder: Path, user: Credentials) -> str:
    now_s = int(time.time())
    return operator.mint_agent(folder, agent=user.name, user_key=user.public_key, lives_s=LIFE_S, now_s=now_s)


async def let_in(server: EmbeddedServer, users: Sequence[Credentials]) -> float:
    """Seconds until all are connected, so many at a time, by a bare client."""
    places, open_ = asyncio.Semaphore(AT_A_TIME), []

    async def one(user: Credentials) -> None:
        client = Client()
        client._public_nkey = user.public_key  # noqa: SLF001 - it takes no seed but through another library
        async with places:
            await client.connect(
                server.url,
                allow_reconnect=False,
                connect_timeout=60,
                signature_cb=user.sign,
                user_jwt_cb=user.jwt.encode if user.jwt else None,
            )
        open_.append(client)

    started = time.perf_counter()
    await asyncio.gather(*map(one, users))
    took = time.perf_counter() - started
    await asyncio.gather(*(client.close() for client in open_))
    return took


async def shut_out(server: EmbeddedServer, folder: Path, tell: Callable[[], Awaitable[None]]) -> float:
    """Seconds from the revocation to the end of the connection."""
    thief, events = Credentials.generate("thief"), {state: asyncio.Event() for state in State}
    user = thief.with_jwt(mint(folder, thief))
    async with await connect(server.url, user, name="thief", on_state=lambda state: events[state].set()):
        started = time.perf_counter()
        operator.revoke_user(folder, account=Account.AGENTS, user_key=user.public_key, now_s=int(time.time()))
        await tell()
        await events[State.DISCONNECTED].wait()
        took = time.perf_counter() - started
        await events[State.REFUSED].wait()
    return took


async def measure(scratch: Path, users: int, runs: int) -> None:
    folder, plain = scratch / "tokens", scratch / "plain"
    for one in (folder, plain):
        operator.create(one, now_s=int(time.time()))
    strangers = [Credentials.generate(f"a{number}") for number in range(users)]
    started = time.perf_counter()
    tokens = [mint(folder, user) for user in strangers]
    print(f"minting, files read each time: {(time.perf_counter() - started) / users * 1e6:.0f} us a token")
    minted = [user.with_jwt(token) for user, token in zip(strangers, tokens, strict=True)]
    seed = (folder / "keys" / "agent.nk").read_text().strip()
    _, private = nkeys.decode_seed(seed)
    started = time.perf_counter()
    for _ in range(users):
        private.sign(bytes(500))
    print(f"  the signature alone: {(time.perf_counter() - started) / users * 1e6:.0f} us")

    reference = NkeyServer(plain, port=0)
    reference.users = strangers
    async with EmbeddedServer(folder, port=0) as server, reference:
        took = [(await let_in(server, minted), await let_in(reference, strangers)) for _ in range(runs)]
        with_tokens, with_keys = map(statistics.median, zip(*took, strict=True))
        print(f"{users} connections with tokens: median {with_tokens:.2f} s, {users / with_tokens:,.0f}/s")
        print(f"{users} connections with nkeys:  median {with_keys:.2f} s, {users / with_keys:,.0f}/s")
        figure("credentials: connecting with tokens", with_tokens / with_keys, against="nkeys of a plain configuration")
        await measure_shutting_out(server, folder, runs)


async def measure_shutting_out(server: EmbeddedServer, folder: Path, runs: int) -> None:
    system = Credentials.load(folder / "system.creds")

    async def nothing() -> None:
        """The server's own supervision sees it."""

    async with await connect(server.url, system, name="system") as teller:
        pushed = [await shut_out(server, folder, lambda: push(teller, folder)) for _ in range(runs)]
    watching = asyncio.create_task(server.wait())
    read = [await shut_out(server, folder, nothing) for _ in range(runs)]
    watching.cancel()
    for how, took_s in (("pushed", pushed), ("by files", read)):
        note = f"maximum {max(took_s) * 1e3:.1f} ms"
        figure(f"credentials: shut out, {how}", statistics.median(took_s) * 1e3, unit="ms", note=note)


async def push(teller: Broker, folder: Path) -> None:
    await push_claims(teller, folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=1000)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    logging.getLogger("investigator.broker").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory(prefix="investigator-bench-") as scratch:
        asyncio.run(measure(Path(scratch), options.users, options.runs))


if __name__ == "__main__":
    main()
