"""The ping module: whether a destination can be reached from a host, by ICMP, TCP or UDP, over IPv4 and IPv6.

`resolving` finds the address, `probes` sends one ping. MIG's JSON, flags and printed lines.
"""

from __future__ import annotations

import socket
import time
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec

from investigator.errors import BadParameters
from investigator.modules.interface import MASK, Context, Need, Spec, flag
from investigator.modules.notes import Notes, note_lines
from investigator.modules.ping.probes import (
    FAILED,
    REFUSED,
    TIMED_OUT,
    IcmpPinger,
    NotPermitted,
    ProbeFailed,
    tcp_ping,
    udp_ping,
)
from investigator.modules.ping.resolving import Address, Unresolved, is_destination, is_ipv6, resolve
from investigator.protocol.result import Result

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

MAX_COUNT: Final = 1000
MAX_TIMEOUT_S: Final = 300
DEFAULT_COUNT: Final = 3
DEFAULT_TIMEOUT_S: Final = 5
PAUSE_S: Final = 0.1
_MARGIN_S: Final = 0.5
_KINDS: Final = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM, "icmp": socket.SOCK_DGRAM}
_MAX_PORT: Final = 65_535
_FAILURES: Final[dict[float, str]] = {
    REFUSED: "failed, target was unreachable",
    FAILED: "failed, reason unknown",
    TIMED_OUT: "failed, connection timed out",
}


class Parameters(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What to reach, and how."""

    destination: Annotated[str, flag("d", "address or name to ping, resolved on each host", value="HOST")] = ""
    protocol: Annotated[str, flag("p", "icmp, tcp or udp", value="PROTOCOL", default="icmp")] = "icmp"
    destinationport: Annotated[
        int, msgspec.Meta(ge=-1, le=_MAX_PORT), flag("dp", "port, for tcp and udp", value="PORT")
    ] = 0
    count: Annotated[
        int, msgspec.Meta(ge=0, le=MAX_COUNT), flag("c", f"how many pings, at most {MAX_COUNT}", value="N", default=3)
    ] = 0
    timeout: Annotated[
        float, msgspec.Meta(ge=0, le=MAX_TIMEOUT_S), flag("t", "seconds to wait for each", value="SECONDS", default=5)
    ] = 0


class PingModule:
    """See the package's docstring; stateless."""

    spec = Spec(
        name="ping",
        summary="try to reach a destination by icmp, tcp or udp",
        parameters=Parameters,
        flags=Parameters,
        needs=(
            Need(
                kind="capability",
                name="CAP_NET_RAW",
                why="ping by icmp where net.ipv4.ping_group_range does not allow it",
                essential=False,
            ),
        ),
        details=(
            "Each host resolves the name by itself; the first address, IPv4 or IPv6, is pinged and reported. Found means: some "
            "ping was answered, or by udp, where silence is usual, not refused. There are 100 ms between pings.\n\n"
            "tcp takes the time of a connection, udp that of any answer from the port, icmp that of an echo with its own "
            "identifier, sequence number and random content. Latencies are milliseconds; -1 is refused, 9999999 is no "
            "answer in time, 0 is another failure, whose reason is given.\n\n"
            "icmp takes an unprivileged socket where the system has them (macOS; Linux for the groups in "
            "net.ipv4.ping_group_range), else a raw one, for root or CAP_NET_RAW."
        ),
        examples=(
            ("can the SSH port of this host be reached", "-d 127.0.0.1 -p tcp -dp 22 -c 1"),
            ("one datagram to a port, over IPv6, and half a second for an answer", "-d ::1 -p udp -dp 9 -c 1 -t 0.5"),
        ),
    )

    def check(self, parameters: Parameters, *, local: bool) -> None:  # noqa: ARG002 - the same everywhere
        """Raise `BadParameters`, starting with the parameter's name."""
        protocol, port = parameters.protocol, parameters.destinationport
        if protocol not in _KINDS:
            raise BadParameters(f"protocol: {protocol[:40]!r} is not a supported ping protocol; icmp, tcp and udp are")
        if not parameters.destination:
            raise BadParameters("destination: there is none", hint="-d HOST says what to ping.")
        if not is_destination(parameters.destination):
            raise BadParameters(f"destination: {parameters.destination[:80]!r} is neither an address nor a host's name")
        if protocol != "icmp" and port <= 0:
            raise BadParameters(
                f"destinationport: {protocol} ping requires a valid destination port between 1 and {_MAX_PORT}, got {port}",
                hint="-dp PORT says which.",
            )
        if protocol == "icmp" and port > 0:
            raise BadParameters(f"destinationport: icmp has no ports, got {port}", hint="-p tcp or -p udp has.")

    def from_flags(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The flags are the parameters."""
        return dict(values)

    def run(self, parameters: Parameters, context: Context) -> Result:
        """Ping as often as asked, or until the time is up."""
        deadline_s = context.deadline_s - _MARGIN_S
        protocol, destination, port = parameters.protocol, parameters.destination, max(parameters.destinationport, 0)
        try:
            address = resolve(destination, port, kind=_KINDS[protocol], deadline_s=deadline_s)
        except Unresolved as error:
            return Result.failed(f"{protocol} ping of {destination} failed: cannot resolve it: {error}")
        shown = _target(destination, port, address)
        with ExitStack() as stack:
            try:
                ping = _pinger(protocol, address, stack)
            except NotPermitted:
                return Result.failed(
                    f"icmp ping of {shown} failed: it needs root, CAP_NET_RAW, or a group in net.ipv4.ping_group_range"
                )
            except ProbeFailed as error:
                return Result.failed(f"{protocol} ping of {shown} failed: {error}")
            return _series(parameters, ping, shown, deadline_s)

    def lines(self, result: Mapping[str, Any], *, everything: bool) -> Iterator[str]:
        """Whether it was reached; with `everything` also each ping, and errors."""
        elements = result.get("elements")
        if elements:
            yield from _result_lines(elements, found=result["foundanything"], everything=everything)
        yield from note_lines(result, everything=everything, prefix="error: ")

    def masked(self, result: Mapping[str, Any], parameters: Parameters) -> dict[str, Any]:  # noqa: ARG002
        """The result for extra privacy mode: no host's name or address, no failure's text."""
        elements = result.get("elements")
        shown = elements and {
            **elements,
            "resolvedhost": MASK,
            "failures": elements["failures"] and [MASK for _ in elements["failures"]],
        }
        errors = result.get("errors")
        return {**result, "elements": shown, "errors": errors and [MASK for _ in errors]}


def _pinger(protocol: str, address: Address, stack: ExitStack) -> Callable[[float], float]:
    """What pings once, given seconds to wait."""
    if protocol == "icmp":
        return stack.enter_context(IcmpPinger(address)).ping
    return partial(tcp_ping if protocol == "tcp" else udp_ping, address)


def _series(parameters: Parameters, ping: Callable[[float], float], shown: str, deadline_s: float) -> Result:
    notes = Notes()
    latencies: list[float] = []
    failures: list[str] = []
    count = parameters.count or DEFAULT_COUNT
    timeout_s = parameters.timeout or DEFAULT_TIMEOUT_S
    for number in range(1, count + 1):
        if number > 1:
            time.sleep(PAUSE_S)
        left_s = deadline_s - time.monotonic()
        if left_s < min(timeout_s, 1.0):
            notes.note(f"the time was up after {number - 1} of {count} pings")
            break
        if left_s < timeout_s:
            notes.note(f"ping #{number} had {left_s:.1f} s instead of {timeout_s:g}, for the time was up")
        try:
            latencies.append(ping(min(timeout_s, left_s)))
        except ProbeFailed as error:
            latencies.append(FAILED)
            failures.append(f"ping #{number} failed with error: {error}")
    found = any(_is_measured(each) for each in latencies)
    if parameters.protocol == "udp":
        found = found or TIMED_OUT in latencies
    elements = {
        "latencies": latencies or None,
        "protocol": parameters.protocol,
        "resolvedhost": shown,
        "failures": failures or None,
    }
    return Result(foundanything=found, success=True, elements=elements, errors=notes.texts())


def _target(destination: str, port: int, address: Address) -> str:
    """`HOST:PORT (IP)`, or `HOST (IP)` where there is no port."""
    host = f"[{destination}]" if port and is_ipv6(destination) else destination
    return f"{host}:{port} ({address.text})" if port else f"{host} ({address.text})"


def _is_measured(latency: float) -> bool:
    return latency not in _FAILURES


def _result_lines(elements: Mapping[str, Any], *, found: bool, everything: bool) -> Iterator[str]:
    what = f"{elements['protocol']} ping of {elements['resolvedhost']}"
    if found:
        yield f"{what} succeeded. Target is reachable."
    elif everything:
        yield f"{what} failed. Target is no reachable."  # as MIG has it
    if everything:
        reasons = dict(_reason(text) for text in elements["failures"] or ())
        for number, latency in enumerate(elements["latencies"] or (), 1):
            yield f"ping #{number} {_outcome(elements['protocol'], latency)}{reasons.get(number, '')}"


def _outcome(protocol: str, latency: float) -> str:
    if protocol == "udp" and latency == TIMED_OUT:
        return "may have succeeded (no udp response)"
    if not _is_measured(latency):
        return _FAILURES[latency]
    return f"succeeded in {latency:.0f}ms" if latency >= 10 else f"succeeded in {latency:g}ms"


def _reason(text: str) -> tuple[int, str]:
    """The number and the reason within `ping #N failed with error: REASON`."""
    number, _, why = text.removeprefix("ping #").partition(" failed with error: ")
    return (int(number) if number.isdecimal() else 0), f": {why}"


MODULE = PingModule()
