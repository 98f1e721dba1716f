"""Asking the questions of a host's networks, and what came of it as MIG's JSON."""

from __future__ import annotations

import time
from socket import AF_INET, AF_INET6, inet_ntop
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from investigator.modules.durations import duration_text
from investigator.modules.findings import Findings
from investigator.modules.netstat.parameters import Questions, unmapped
from investigator.modules.netstat.rows import DEFAULT, Host, Network, Owner, Socket, Unreadable, is_listening
from investigator.protocol.result import Result

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from investigator.modules.interface import Context
    from investigator.modules.notes import Notes

KINDS: Final = ("localmac", "neighbormac", "neighborip", "localip", "connectedip", "listeningport")
_NO_MAC: Final = "00:00:00:00:00:00"
"""What the kernel's own table shows, and so MIG, for a neighbour that did not answer."""
_MARGIN_S: Final = 0.5
_ROWS_BETWEEN_LOOKS: Final = 4096
_ROOM_BYTES: Final = 1 << 20
_SMALLEST_ELEMENT_BYTES: Final = 100


class _Hit(NamedTuple):
    """A socket that an answer names; sorted by what is compared first."""

    remote: bytes
    remoteport: int
    local: bytes
    localport: int
    namespace: str
    socket: Socket
    value: str


class Survey:
    """One run over a host."""

    def __init__(self, host: Host, questions: Questions, context: Context, notes: Notes) -> None:
        self._host = host
        self._questions = questions
        self._notes = notes
        self._deadline_s = context.deadline_s - _MARGIN_S
        self._most_hits = max(context.result_bytes - _ROOM_BYTES, 0) // _SMALLEST_ELEMENT_BYTES
        self._examined = 0
        self._total = 0
        self._unreturned = 0
        self._findings = Findings(context, room_bytes=_ROOM_BYTES)
        self._slots = {
            kind: {value: self._findings.slot(kind, value) for value in questions.asked(kind)}
            for kind in KINDS
            if getattr(questions, kind) is not None
        }
        self._connected: list[_Hit] = []
        self._listening: list[_Hit] = []

    def run(self, *, all_namespaces: bool) -> Result:
        """Ask everywhere; what cannot be read is among the errors."""
        started_ns = time.monotonic_ns()
        failed = 0
        for number, opening in enumerate(self._host.networks(all_namespaces=all_namespaces)):
            if time.monotonic() >= self._deadline_s:
                self._notes.note("the time was up before every namespace was looked into")
                break
            try:
                with opening as network:
                    failed += self._ask(network, local=number == 0)
            except Unreadable as error:
                self._notes.error(f"could not read a namespace: {error}")
        self._report_sockets()
        if self._unreturned:
            self._notes.note(f"found {self._unreturned} more than a result can hold; they are counted, not returned")
        return Result(
            foundanything=self._total > 0,
            success=failed < len(self._slots),
            elements=self._findings.rest(),
            statistics={
                "examined": self._examined,
                "exectime": duration_text(time.monotonic_ns() - started_ns),
                "totalhits": self._total,
            },
            errors=self._notes.texts(),
        )

    def _ask(self, network: Network, *, local: bool) -> int:
        """All questions of one network, those about this host's own addresses if it is the host's; how many failed."""
        questions = self._questions
        parts = (
            (local and (questions.localmac or questions.localip), self._ask_interfaces, ("localmac", "localip")),
            (questions.neighbormac or questions.neighborip, self._ask_neighbours, ("neighbormac", "neighborip")),
            (questions.connectedip or questions.listeningport, self._ask_sockets, ("connectedip", "listeningport")),
        )
        failed = 0
        for wanted, ask, kinds in parts:
            if not wanted:
                continue
            try:
                ask(network)
            except Unreadable as error:
                asked = [kind for kind in kinds if kind in self._slots]
                where = "" if network.name == DEFAULT else f" in {network.name}"
                self._notes.error(f"could not read what {' and '.join(asked)} ask for{where}: {error}")
                failed += len(asked) if local else 0
        return failed

    def _ask_interfaces(self, network: Network) -> None:
        macs, networks = self._questions.localmac, self._questions.localip
        for each in self._counted(network.interfaces()):
            for value, regex in macs or ():
                if each.mac and regex.search(each.mac.encode()):
                    self._take("localmac", value, {"localmacaddr": each.mac, "interface": each.name})
            for address in sorted(set(each.addresses)) if networks else ():
                for value in networks.holding(address) if networks else ():
                    self._take("localip", value, {"localaddr": address_text(address), "interface": each.name})

    def _ask_neighbours(self, network: Network) -> None:
        macs, networks = self._questions.neighbormac, self._questions.neighborip
        rows = list(self._counted(network.neighbours()))
        for each in sorted(rows, key=lambda row: (len(row.address), row)):
            element = {
                "remotemacaddr": each.mac or _NO_MAC, "remoteaddr": address_text(each.address), "namespace": network.name,
                "interface": each.device, "state": each.state,
            }  # fmt: skip
            for value, regex in macs or ():
                if each.mac and regex.search(each.mac.encode()):
                    self._take("neighbormac", value, element)
            for value in networks.holding(each.address) if networks else ():
                self._take("neighborip", value, element)

    def _ask_sockets(self, network: Network) -> None:
        networks, ports = self._questions.connectedip, self._questions.listeningport
        name = network.name
        for each in self._counted(network.sockets(listening=networks is None)):
            if networks is not None:
                for value in networks.holding(each.remote):
                    self._remember(self._connected, name, each, value)
            if ports is not None and each.localport in ports and is_listening(each):
                for value in ports[each.localport]:
                    self._remember(self._listening, name, each, value)

    def _counted(self, rows: Iterable[Any]) -> Iterator[Any]:
        """The rows until the time is up, counted."""
        for row in rows:
            self._examined += 1
            if self._examined % _ROWS_BETWEEN_LOOKS == 0 and time.monotonic() >= self._deadline_s:
                self._notes.note("the time was up before everything was looked at")
                return
            yield row

    def _remember(self, hits: list[_Hit], namespace: str, socket: Socket, value: str) -> None:
        if len(hits) >= self._most_hits:
            self._total += 1
            self._unreturned += 1
            return
        remote, local = unmapped(socket.remote), unmapped(socket.local)
        hits.append(_Hit(remote, socket.remoteport, local, socket.localport, namespace, socket, value))

    def _report_sockets(self) -> None:
        """The sockets that answers name, with the processes that have them open."""
        hits = (*self._connected, *self._listening)
        owners = self._host.owners({hit.socket.owner for hit in hits}, deadline_s=self._deadline_s) if hits else {}
        for hit in sorted(self._connected):
            element = _local_part(hit) | {"remoteaddr": address_text(hit.remote)}
            if hit.remoteport:
                element["remoteport"] = hit.remoteport
            self._take("connectedip", hit.value, element | _rest(hit, owners))
        for hit in sorted(self._listening):
            self._take("listeningport", hit.value, _local_part(hit) | _rest(hit, owners))

    def _take(self, kind: str, value: str, element: dict[str, Any]) -> None:
        self._total += 1
        if not self._findings.add(self._slots[kind][value], element):
            self._unreturned += 1


def address_text(address: bytes) -> str:
    """The usual text; IPv4 within IPv6 as IPv4."""
    address = unmapped(address)
    return inet_ntop(AF_INET if len(address) == 4 else AF_INET6, address)


def _local_part(hit: _Hit) -> dict[str, Any]:
    part: dict[str, Any] = {"localaddr": address_text(hit.local)}
    if hit.localport:
        part["localport"] = hit.localport
    return part


def _rest(hit: _Hit, owners: dict[int, list[Owner]]) -> dict[str, Any]:
    """Where, and what MIG does not tell: protocol, state, user, and the processes that have it open."""
    socket = hit.socket
    rest: dict[str, Any] = {"namespace": hit.namespace, "protocol": socket.protocol, "state": socket.state}
    if socket.uid >= 0 and socket.owner:
        rest["uid"] = socket.uid
    if socket.owner in owners:
        rest["processes"] = [owner._asdict() for owner in owners[socket.owner]]
    return rest
