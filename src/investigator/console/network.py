"""How agents and consoles reach a deployment's broker, as `investigator init` lays it down: address, CA, certificates."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from investigator.broker import certificates
from investigator.broker.tls import ENCRYPTED, PLAIN, is_loopback
from investigator.errors import BadInput

if TYPE_CHECKING:
    from collections.abc import Sequence

EVERYWHERE: Final = "0.0.0.0"


@dataclass(frozen=True, slots=True)
class OwnFiles:
    """A certificate that somebody else's CA made, in PEM."""

    certificate: Path
    key: Path
    ca: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """What `init` was asked for; the default is this machine alone, encrypted."""

    hosts: tuple[str, ...] = ()
    """By which the broker is called; agents and consoles use the first. None: 127.0.0.1."""
    plain_text: bool = False
    verify: bool = False
    """Whether the broker asks everybody for a certificate."""
    own: OwnFiles | None = None

    def check(self) -> None:
        """Raise `BadInput` or `DeploymentError` for what cannot be, before anything is made."""
        for host in self.hosts:
            certificates.canonical_host(host)
        if self.plain_text and (self.verify or self.own):
            raise BadInput("plain text has no certificates")
        if self.plain_text and not all(map(is_loopback, self.hosts)):
            raise BadInput("plain text is spoken on this machine's loopback addresses only")
        if self.own is not None:
            certificates.check_pair(self.own.certificate, self.own.key)
            certificates.read_certificates(self.own.ca)
            if self.verify:
                raise BadInput("a broker that asks for certificates needs the CA that `init` makes, which makes them")

    def url(self, port: int) -> str:
        """The broker's address."""
        host = self.hosts[0] if self.hosts else "127.0.0.1"
        scheme = PLAIN if self.plain_text else ENCRYPTED
        return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"

    @property
    def listens_on(self) -> str:
        """One loopback address, or everywhere: a name may have several addresses, and others than this machine knows."""
        host = self.hosts[0] if self.hosts else "127.0.0.1"
        if not all(map(is_loopback, self.hosts)):
            return EVERYWHERE
        return "127.0.0.1" if host == "localhost" else host


def make_certificates(folder: Path, network: Network, *, now_s: float) -> None:
    """What agents pin, and what the broker and clients show, into the broker's folder.

    Raises:
        DeploymentError: a file is there already, or cannot be written.
    """
    if network.plain_text:
        return
    if network.own is not None:
        ca = network.own.ca.read_bytes()
        (folder / certificates.CA).write_bytes(ca)
        return
    certificates.make_authority(folder, name=network.hosts[0] if network.hosts else "localhost", now_s=now_s)
    certificates.make_server(folder, network.hosts, now_s=now_s)
    if network.verify:
        certificates.save_client(folder, "agents and console", now_s=now_s)


def link_table(*, url: str, credentials: str, ca: str = "", certificate: str = "", key: str = "") -> str:
    """The table [broker] of agent.toml and console.toml; its values stay texts whatever they hold."""
    given = {"url": url, "credentials": credentials, "ca": ca, "certificate": certificate, "key": key}
    return "[broker]\n" + "".join(f"{name} = {quoted(value)}\n" for name, value in given.items() if value)


def links_of(network: Network, folder: str) -> dict[str, str]:
    """What `link_table` says of certificates; `folder` is the broker's, as the configuration calls it."""
    if network.plain_text:
        return {}
    files = {"ca": certificates.CA}
    if network.verify:
        files |= {"certificate": certificates.CLIENT, "key": certificates.CLIENT_KEY}
    return {name: f"{folder}/{file}" for name, file in files.items()}


def tls_table(network: Network) -> str:
    """The table [tls] of broker.toml; empty for plain text."""
    if network.plain_text:
        return ""
    lines = ["", "[tls]                               # without this table: plain text, on loopback only"]
    if network.own is not None:
        own = network.own
        lines += [
            f"{name} = {quoted(str(path.absolute()))}"
            for name, path in (("certificate", own.certificate), ("key", own.key), ("ca", own.ca))
        ]
        lines.append("# the broker takes them anew whenever they change")
    else:
        names = ", ".join(map(quoted, network.hosts))
        lines.append(
            f"names = [{names}]{' ' * max(1, 26 - len(names))}# beside localhost; the broker renews its certificate by itself"
        )
    lines.append(
        f"verify = {'true' if network.verify else 'false'}".ljust(36)
        + "# true: who connects must show a certificate too"
    )
    return "\n".join(lines) + "\n"


def quoted(text: str) -> str:
    """A basic string of TOML, which is JSON's, but for one control character and for what lies beyond 16 bits."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def hosts_of(words: Sequence[str]) -> tuple[str, ...]:
    """`a,b` and `a` `b` alike."""
    return tuple(dict.fromkeys(host.strip() for word in words for host in word.split(",") if host.strip()))
