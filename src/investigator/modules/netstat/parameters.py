"""What may be asked about a host's network: MIG's JSON names and flags, and the questions that they become."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Annotated, Any, Final

import msgspec

from investigator.errors import BadParameters, BadRegex
from investigator.modules.interface import flag
from investigator.protocol.regex import compile_regex

MAX_NETWORKS: Final = 10_000
"""Of each kind: lists of addresses that somebody warned of are long."""
MAX_REGEXES: Final = 100
MAX_PORTS: Final = 10_000
_MAX_VALUE_CHARACTERS: Final = 1000
_REGEX_BYTES: Final = 1 << 20
_MAX_KNOWN: Final = 4096
"""Addresses whose answer is remembered: many sockets have the same peer."""
_PORT: Final = re.compile(r"[0-9]{1,5}")
_NETWORK: Final = re.compile(r"[0-9A-Fa-f:.]{2,45}(/[0-9]{1,3})?")
MAPPED_PREFIX: Final = b"\0" * 10 + b"\xff\xff"
"""Before an IPv4 address in an IPv6 one (RFC 4291, 2.5.5.2)."""


class Parameters(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Independent questions: nothing is ANDed."""

    localmac: Annotated[
        list[str], flag("lm", "regex, in any case, on the hardware addresses of this host, as aa:bb:…", value="REGEX")
    ] = []
    localip: Annotated[list[str], flag("li", "IP or CIDR that holds an address of this host", value="IP")] = []
    neighbormac: Annotated[
        list[str], flag("nm", "regex, in any case, on the hardware addresses of neighbours", value="REGEX")
    ] = []
    neighborip: Annotated[
        list[str], flag("ni", "IP or CIDR that holds the address of a neighbour (ARP, NDP)", value="IP")
    ] = []
    connectedip: Annotated[
        list[str], flag("ci", "IP or CIDR that holds the remote address of a TCP or UDP socket", value="IP")
    ] = []
    listeningport: Annotated[
        list[str], flag("lp", "number of a local TCP or UDP port that something listens on", value="PORT")
    ] = []
    namespaces: Annotated[bool, flag("namespaces", "look into every network namespace (Linux)")] = False


class Networks:
    """Networks, to be asked which of them hold an address."""

    def __init__(self, values: list[str], where: str) -> None:
        """Raises BadParameters: a value that is neither an address nor a network."""
        self._by_family: dict[int, dict[int, dict[int, list[str]]]] = {4: {}, 16: {}}
        self._known: dict[bytes, list[str]] = {}
        for value in dict.fromkeys(values):
            network, mask, size = _network(value, where)
            self._by_family[size].setdefault(mask, {}).setdefault(network, []).append(value)

    def holding(self, address: bytes) -> list[str]:
        """The values whose network an address is in; one that is IPv4 within IPv6 counts as IPv4."""
        found = self._known.get(address)
        if found is None:
            if len(self._known) >= _MAX_KNOWN:
                self._known.clear()
            found = self._known[address] = self._find(unmapped(address))
        return found

    def _find(self, address: bytes) -> list[str]:
        number = int.from_bytes(address, "big")
        found: list[str] = []
        for mask, networks in self._by_family[len(address)].items():
            found += networks.get(number & mask, ())
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Questions:
    """The parameters, ready to be asked; what was not asked is None."""

    localmac: list[tuple[str, Any]] | None
    localip: Networks | None
    neighbormac: list[tuple[str, Any]] | None
    neighborip: Networks | None
    connectedip: Networks | None
    listeningport: dict[int, list[str]] | None
    values: dict[str, list[str]]
    """What was asked of each kind, each once."""

    def asked(self, kind: str) -> list[str]:
        """The values of one kind, in the order in which they were given."""
        return self.values[kind]


def questions_of(parameters: Parameters) -> Questions:
    """Compile them.

    Raises:
        BadParameters, BadRegex: nothing is asked, or a value is none of its kind; the message starts with its name.
    """
    kinds = ("localmac", "localip", "neighbormac", "neighborip", "connectedip", "listeningport")
    if not any(getattr(parameters, kind) for kind in kinds):
        raise BadParameters(
            f"netstat: nothing is asked; at least one of {', '.join(kinds)} is needed",
            hint="For example -ci 192.0.2.0/24, or -lp 22.",
        )
    return Questions(
        localmac=_regexes(parameters.localmac, "localmac"),
        localip=_networks(parameters.localip, "localip"),
        neighbormac=_regexes(parameters.neighbormac, "neighbormac"),
        neighborip=_networks(parameters.neighborip, "neighborip"),
        connectedip=_networks(parameters.connectedip, "connectedip"),
        listeningport=_ports(parameters.listeningport, "listeningport"),
        values={kind: list(dict.fromkeys(getattr(parameters, kind))) for kind in kinds},
    )


def unmapped(address: bytes) -> bytes:
    """An IPv6 address that holds an IPv4 one as the latter; any other as it is."""
    return address[12:] if len(address) == 16 and address.startswith(MAPPED_PREFIX) else address


def _networks(values: list[str], where: str) -> Networks | None:
    _limit(values, MAX_NETWORKS, where)
    return Networks(values, where) if values else None


def _network(value: str, where: str) -> tuple[int, int, int]:
    """Network and mask as numbers, and the bytes of an address; bits beyond the mask are dropped, as in MIG."""
    try:
        network = ipaddress.ip_network(value if _NETWORK.fullmatch(value) else "", strict=False)
    except ValueError:
        family = "IPv6" if ":" in value else "IPv4"
        raise BadParameters(f"{where}: invalid {family} {_shown(value)}. Must be an IP or a CIDR.") from None
    packed = network.network_address.packed
    if network.prefixlen >= 96 and unmapped(packed) != packed:
        network = ipaddress.ip_network((unmapped(packed), network.prefixlen - 96))
    return int(network.network_address), int(network.netmask), len(network.network_address.packed)


def _regexes(values: list[str], where: str) -> list[tuple[str, Any]] | None:
    _limit(values, MAX_REGEXES, where)
    compiled = []
    for value in dict.fromkeys(values):
        try:
            compiled.append((value, compile_regex(value, ignore_case=True, memory_bytes=_REGEX_BYTES)))
        except BadRegex as error:
            raise error.at(f"{where}: Invalid MAC regexp") from None
    return compiled or None


def _ports(values: list[str], where: str) -> dict[int, list[str]] | None:
    _limit(values, MAX_PORTS, where)
    ports: dict[int, list[str]] = {}
    for value in dict.fromkeys(values):
        if not (value.isascii() and value.isdecimal()):
            raise BadParameters(f"{where}: {_shown(value)} is not a valid port")
        if not _PORT.fullmatch(value) or not 1 <= int(value) <= 65_535:
            raise BadParameters(f"{where}: port {_shown(value)} out of range. must be between 1 and 65535")
        ports.setdefault(int(value), []).append(value)
    return ports or None


def _limit(values: list[str], most: int, where: str) -> None:
    if len(values) > most:
        raise BadParameters(f"{where}: {len(values):,} values; {most:,} at most")
    for value in values:
        if not value:
            raise BadParameters(f"{where}: an empty value")
        if len(value) > _MAX_VALUE_CHARACTERS:
            raise BadParameters(f"{where}: a value of {len(value):,} characters; {_MAX_VALUE_CHARACTERS:,} at most")


def _shown(value: str) -> str:
    return value if len(value) <= 60 and value.isprintable() else ascii(value[:60])
