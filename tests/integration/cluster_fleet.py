"""The same fleet on three clustered NATS servers, and what becomes of it when the one that leads a stream dies."""

from __future__ import annotations

import asyncio
import contextlib
import re
import signal
import socket
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import orjson
from bell import Bell, until
from fault_fleet import Count, Fleet

from investigator.broker import binary
from investigator.broker.connection import connect
from investigator.broker.credentials import Credentials
from investigator.broker.server_tls import services_address
from investigator.config import AGENT_FILE, BROKER_FILE, CONSOLE_FILE, load_broker
from investigator.errors import BrokerError
from investigator.protocol.subjects import RESULTS

NAMES = ("one", "two", "three")


@dataclass
class ClusterFleet(Fleet):
    """Three servers as `investigator broker config` writes them, by the user's own command line."""

    servers: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """Where each server has its own."""
        return self.home / "servers"

    def start_server(self, name: str) -> None:
        """As its README says."""
        program = binary.find(self.home)
        self.servers[name] = subprocess.Popen(
            [str(program), "-c", "nats-server.conf"],
            cwd=self.folder / name,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def end_servers(self) -> None:
        """All of them."""
        for server in self.servers.values():
            server.kill()
            server.wait()

    def leader(self, stream: str) -> str:
        """The name of the server that leads a stream; empty while there is none."""

        async def ask() -> str:
            config = load_broker(self.home)
            url, tls = services_address(config)
            credentials = Credentials.load(config.credentials)
            async with await connect(url, credentials, name="test", tls=tls) as broker:
                answer = orjson.loads(await broker.request(f"$JS.API.STREAM.INFO.{stream}", b""))
            return str(answer.get("cluster", {}).get("leader", ""))

        with contextlib.suppress(BrokerError):
            return asyncio.run(ask())
        return ""

    def _start_brokers(self, opened: contextlib.ExitStack) -> None:
        opened.callback(self.end_servers)
        ports = iter(_free_ports(2 * len(NAMES)))
        servers = {name: (next(ports), next(ports)) for name in NAMES}
        words = ",".join(f"{name}=127.0.0.1:{client}:{route}" for name, (client, route) in servers.items())
        done = self.deployment.call("broker", "config", "--cluster", words, "--out", str(self.folder))
        assert done.returncode == 0, done.stderr
        url = ",".join(f"tls://127.0.0.1:{client}" for client, _ in servers.values())
        for name in (AGENT_FILE, CONSOLE_FILE):
            path = self.home / name
            path.write_text(re.sub(r'(?m)^url = ".*"', f'url = "{url}"', path.read_text()))
        with (self.home / BROKER_FILE).open("a") as file:
            file.write(f'\n[cluster]\nurl = "{url}"\nreplicas = 3\n')
        for name in NAMES:
            self.start_server(name)
        until(lambda: self.deployment.call("broker", "streams").returncode == 0, "the cluster has its streams")


def leader_of_three_brokers_killed(fleet: ClusterFleet) -> Count:
    """SIGKILL of the server that leads the stream of results, while all agents run; the others choose another."""
    with Bell() as bell:
        asked = fleet.ask(bell)
        bell.until(fleet.size)
        leader = fleet.leader(RESULTS)
        fleet.servers[leader].send_signal(signal.SIGKILL)
        fleet.servers[leader].wait()
        bell.let_go()
        count = fleet.finish(asked)
        fleet.start_server(leader)
        until(lambda: bool(fleet.leader(RESULTS)), "a server leads")
        return count


def _free_ports(number: int) -> list[int]:
    with contextlib.ExitStack() as opened:
        probes = [opened.enter_context(socket.socket()) for _ in range(number)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
