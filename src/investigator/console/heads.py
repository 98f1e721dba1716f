"""What the hosts' heartbeats say of their audits, kept here: the witness that root on such a host cannot reach.

A chain only grows. One that is shorter than it was, or has another line where one was known, was cut or written anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec

from investigator.errors import BadInput
from investigator.protocol.audit import HEAD_DIGITS, MAX_COUNT, Head
from investigator.protocol.codec import convert, strict_loads

if TYPE_CHECKING:
    from investigator.console.inventory import Inventory
    from investigator.console.store import Store

MAX_FILE_BYTES: Final = 256 << 20


@dataclass(frozen=True, slots=True)
class ChainHead:
    """Number and hash of the newest line of an agent's audit, as one of its heartbeats had them."""

    agent: str
    count: int
    head: str
    told_s: float
    """The agent's clock, seconds since 1970."""
    seen_s: float
    """When the broker had the heartbeat, or this console heard it."""

    @property
    def seen(self) -> str:
        """`seen_s` for people and programs: RFC 3339, in UTC."""
        return datetime.fromtimestamp(self.seen_s, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")

    def witness(self) -> Head:
        """For `protocol.audit.verify`."""
        return Head(self.count, self.head, f"the console, which heard the agent say so on {self.seen},")

    def document(self, name: str = "") -> dict[str, Any]:
        """As `investigator audit heads` writes it."""
        named = {"name": name} if name else {}
        return {
            "agent": self.agent,
            **named,
            "count": self.count,
            "head": self.head,
            "told_s": self.told_s,
            "seen_s": self.seen_s,
        }


async def keep_heads(store: Store, inventory: Inventory) -> list[str]:
    """Keep what the inventory knows; returns a warning for each agent whose chain is not as it was known.

    Raises:
        DeploymentError: the store does not take it.
    """
    known = await store.heads_unlike_heartbeats()
    if inventory.fresh:
        before = await store.newest_heads()
        known |= {agent: before[agent] for agent in inventory.fresh if agent in before}
        await store.keep_heads(inventory.heads(inventory.fresh))
    return [
        f"{inventory.hosts[head.agent].name}: {problem}; on that host, `investigator audit verify` says where"
        for head in inventory.heads(known)
        for problem in _problems(head, known[head.agent])
    ]


def _problems(head: ChainHead, known: ChainHead) -> Iterable[str]:
    """A heartbeat that is older than what is known, played back by somebody, proves nothing."""
    if head.count == known.count and head.head != known.head:
        yield f"line {head.count} of its audit is not the one that was known on {known.seen}: the audit was rewritten"
    elif head.count < known.count and head.told_s > known.told_s:
        yield f"its audit has {head.count:,} lines and had {known.count:,} on {known.seen}: it was cut, or begun anew"


class _Exported(msgspec.Struct, frozen=True, kw_only=True):
    agent: str
    count: Annotated[int, msgspec.Meta(ge=0, le=MAX_COUNT)]
    head: Annotated[str, msgspec.Meta(pattern=f"^[0-9a-f]{{{HEAD_DIGITS}}}\\Z")]
    told_s: float
    seen_s: Annotated[float, msgspec.Meta(ge=0, le=2**40)]


class _Export(msgspec.Struct, frozen=True, kw_only=True):
    heads: list[_Exported]


def read_heads(text: bytes, *, what: str) -> list[ChainHead]:
    """What `investigator audit heads --output json` wrote.

    Raises:
        BadInput: it is something else.
    """
    export = convert(strict_loads(text, what=what, max_bytes=MAX_FILE_BYTES), _Export, what=what)
    return [ChainHead(head.agent, head.count, head.head, head.told_s, head.seen_s) for head in export.heads]


def named(inventory_or_known: Sequence[tuple[str, str]], agent: str) -> str:
    """The id of the agent that is meant, by id or by name, among (id, name) pairs; an id that is not among them is taken as it is.

    Raises:
        BadInput: several have this name.
    """
    ids = [known for known, name in inventory_or_known if name == agent]
    if len(ids) > 1:
        raise BadInput(f"{len(ids)} agents are called {agent!r}; give an id: {', '.join(ids)}")
    return ids[0] if ids else agent
