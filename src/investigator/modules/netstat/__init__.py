"""The netstat module: whom a host is connected to, what it listens on, its addresses and its neighbours.

`parameters` is what may be asked, `rows` what a network consists of, `survey` asks. Linux tells through `linux` (by
`netlink`, `namespaces` and `procnet`), other systems through `portable`. MIG's JSON, flags and printed lines.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from investigator.modules.interface import MASK, Context, Need, Spec
from investigator.modules.netstat.lines import result_lines
from investigator.modules.netstat.parameters import Parameters, questions_of
from investigator.modules.netstat.survey import Survey
from investigator.modules.notes import Notes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from investigator.modules.netstat.rows import Host
    from investigator.protocol.result import Result

_MASKED: dict[str, tuple[str, ...]] = {
    "connectedip": ("remoteaddr",),
    "neighbormac": ("remoteaddr", "remotemacaddr"),
    "neighborip": ("remoteaddr", "remotemacaddr"),
}


class NetstatModule:
    """See the package's docstring; stateless."""

    spec = Spec(
        name="netstat",
        summary="find connections, listening ports, neighbours and local addresses",
        parameters=Parameters,
        flags=Parameters,
        needs=(
            Need(
                kind="capability",
                name="CAP_SYS_PTRACE",
                why="name the processes that own others' sockets",
                essential=False,
            ),
            Need(kind="capability", name="CAP_SYS_ADMIN", why="look into all network namespaces", essential=False),
        ),
        details=(
            "Each value is a question of its own; nothing is combined. An address that is IPv4 within IPv6 (::ffff:192.0.2.1) "
            "counts as IPv4, in questions and in answers.\n\n"
            "-ci looks at the remote address of every TCP and UDP socket in any state. A socket that listens has the remote "
            "address 0.0.0.0 or ::, so 0.0.0.0/0 lists it too. -lp finds TCP sockets that listen and UDP sockets without a peer.\n\n"
            "Each socket comes with its protocol, state, user id and the processes that have it open (at most 8), where the "
            "agent may look at them. A socket that is being closed belongs to no process any more.\n\n"
            "Linux: sockets, neighbours (ARP and NDP) and addresses come from the kernel through netlink; -namespaces looks "
            "into every network namespace that a process is in or that is mounted under /run. -lm and -li are about the "
            "namespace of the agent. macOS and Windows: no neighbours and no namespaces; macOS lists sockets to root alone."
        ),
        examples=(
            ("who talks to these networks", "-ci 203.0.113.0/24 -ci 2001:db8::/32"),
            ("which process listens on the port of SSH", "-lp 22"),
            ("is this address or this network card here, or next to here", "-li 192.0.2.7 -lm ^8c:70:5a -nm ^8c:70:5a"),
            ("all connections, those within containers too", "-ci 0.0.0.0/0 -ci ::/0 -namespaces"),
        ),
    )

    def check(self, parameters: Parameters, *, local: bool) -> None:  # noqa: ARG002 - the same everywhere
        """Raise `BadParameters` or `BadRegex`, starting with the parameter's name."""
        questions_of(parameters)

    def from_flags(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The flags are the parameters."""
        return dict(values)

    def run(self, parameters: Parameters, context: Context) -> Result:
        """Ask this host."""
        notes = Notes()
        survey = Survey(_host(notes), questions_of(parameters), context, notes)
        return survey.run(all_namespaces=parameters.namespaces)

    def lines(self, result: Mapping[str, Any], *, everything: bool) -> Iterator[str]:
        """See `lines.result_lines`."""
        return result_lines(result, everything=everything)

    def masked(self, result: Mapping[str, Any], parameters: Parameters) -> dict[str, Any]:  # noqa: ARG002
        """The result for extra privacy mode: no peer's or neighbour's address, no process's name, no error's text."""
        elements = result.get("elements")
        shown = elements and {
            kind: {value: found and [_masked(kind, each) for each in found] for value, found in by_value.items()}
            for kind, by_value in elements.items()
        }
        errors = result.get("errors")
        return {**result, "elements": shown, "errors": errors and [MASK for _ in errors]}


def _host(notes: Notes, platform: str = sys.platform) -> Host:
    if platform == "linux":
        from investigator.modules.netstat.linux import LinuxHost

        return LinuxHost(notes)
    from investigator.modules.netstat.portable import PortableHost

    return PortableHost(notes)


def _masked(kind: str, element: Mapping[str, Any]) -> dict[str, Any]:
    shown = {**element, **{name: MASK for name in _MASKED.get(kind, ()) if name in element}}
    if "processes" in element:
        shown["processes"] = [{**each, "executable": MASK, "name": MASK} for each in element["processes"]]
    return shown


MODULE = NetstatModule()
