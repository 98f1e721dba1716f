"""A deployment on three clustered NATS servers, and with leaf nodes, each a real process with the files that we write."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

from deployment import Deployment, Process

from investigator.broker import binary, guardian

NAMES = ("a", "b", "c")


class NatsServer:
    """One server, in the folder that `broker config` filled for it; it ends with us."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.start()

    def start(self) -> None:
        program = [str(binary.find(self.folder)), "-c", "nats-server.conf", "-l", "nats-server.log"]
        self.process = subprocess.Popen(
            [sys.executable, "-I", "-S", guardian.__file__, "exec", str(os.getpid()), *program],
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
        )

    def end(self, number: signal.Signals = signal.SIGTERM) -> None:
        if self.process.poll() is None:
            self.process.send_signal(number)
        self.process.wait(20)


def free_ports(number: int) -> list[int]:
    with contextlib.ExitStack() as held:
        probes = [held.enter_context(socket.socket()) for _ in range(number)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]


@dataclass
class Clustered(Deployment):
    """As `Deployment`; `broker` starts the cluster, and the service beside it that enrols agents."""

    servers: dict[str, NatsServer] = field(default_factory=dict)
    urls: dict[str, str] = field(default_factory=dict)
    words: list[str] = field(default_factory=list)
    """What `--cluster` is given, and `--leaf`."""
    leaf: str = ""

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)
        for server in self.servers.values():
            server.end()

    def configure(self, *words: str) -> subprocess.CompletedProcess[bytes]:
        """`investigator broker config` for three servers and a leaf node."""
        if not self.urls:
            ports = iter(free_ports(10))
            self.words = [f"{name}=127.0.0.1:{next(ports)}:{next(ports)}:{next(ports)}" for name in NAMES]
            self.leaf = f"site=127.0.0.1:{next(ports)}"
            for word in (*self.words, self.leaf):
                name, _, place = word.partition("=")
                self.urls[name] = "tls://" + ":".join(place.split(":")[:2])
        cluster = ",".join(self.words)
        return self.call("broker", "config", "--cluster", cluster, "--leaf", self.leaf, "--out", str(self.out), *words)

    @property
    def out(self) -> Path:
        return self.home.parent / "servers"

    @property
    def url(self) -> str:
        return ",".join(self.urls[name] for name in NAMES)

    @property
    def leaf_urls(self) -> list[str]:
        """Where leaf nodes call the cluster."""
        return [f"tls://127.0.0.1:{word.rpartition(':')[2]}" for word in self.words]

    def broker(self) -> Process:
        """The cluster, with its streams; as the README that was written says."""
        done = self.configure()
        assert done.returncode == 0, done.stderr
        readme = (self.out / "README").read_text()
        (table,) = re.findall(r"^  (\[cluster\]\n(?:  .*\n)+)", readme, re.MULTILINE)
        with (self.home / "broker.toml").open("a") as file:
            file.write("\n" + table)
        for name in ("console.toml", "agent.toml"):
            self.point(self.home / name, self.url)
        self.servers = {name: NatsServer(self.out / name) for name in (*NAMES, "site")}
        streams = self.start("broker", "streams")
        streams.until("made stream MIG_ALERTS")
        assert streams.wait() == 0
        service = self.start("enrol", "serve")
        service.until("enrolment service ready")
        return service

    def point(self, file: Path, url: str) -> None:
        """Have a configuration file say another address."""
        file.write_text(re.sub(r'^url = ".*"$', f'url = "{url}"', file.read_text(), count=1, flags=re.MULTILINE))

    def behind_leaf(self, host: str) -> Deployment:
        """The same deployment for a host at the other site, which has files of its own; end what it starts before this one."""
        home = self.home.parent / f"home-of-{host}"
        if not home.exists():
            (home / "broker").mkdir(parents=True)
            for path in ("agent.toml", "acl.json", "broker/ca.pem", "broker/enrol.creds"):
                (home / path).write_bytes((self.home / path).read_bytes())
                (home / path).chmod(0o600)
            (home / "keyring").symlink_to(self.home / "keyring")
            self.point(home / "agent.toml", self.urls["site"])
        there = Deployment(home)
        there.running = self.running  # ended with ours
        return there
