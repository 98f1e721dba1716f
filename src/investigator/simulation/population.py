"""Who the simulated agents are. All of one follows from its number, so that a million of them fit into a few megabytes."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, Final

from investigator.agent.facts import gather_row
from investigator.protocol.audit import HEAD_DIGITS
from investigator.protocol.facts import Heartbeat, encode_facts, encode_heartbeat
from investigator.protocol.identity import Identity
from investigator.protocol.statement import MAX_COUNT
from investigator.protocol.subjects import agent_routes, route_subject
from investigator.protocol.token import machine_mark, prove

if TYPE_CHECKING:
    from collections.abc import Sequence

    from investigator.protocol.token import SecretToken

_ROLES: Final = ("web", "db", "mail", "build", "desk", "cache", "queue", "edge")
_SITES: Final = ("berlin", "tokyo", "lagos", "lima")
_DIGEST_DIGITS: Final = 16


class Population:
    """So many agents, numbered from 0."""

    def __init__(
        self, size: int, *, secret: bytes, tokens: Sequence[SecretToken], heartbeat_s: float, started: str
    ) -> None:
        """`secret` is what their keys follow from: whoever knows it is all of them. A token is shared by `MAX_COUNT` of them."""
        self.size = size
        self.heartbeat_s = heartbeat_s
        self._secret = secret
        self._tokens = tokens
        self._sample = gather_row(agent="", name="", tags={}, started=started)
        self._digests = bytearray(size * _DIGEST_DIGITS // 2)
        """What heartbeats say of the facts."""

    def identity(self, number: int) -> Identity:
        """An agent's key."""
        return Identity(hashlib.sha256(b"investigator/1 simulated agent %d " % number + self._secret).digest())

    def row(self, number: int, agent: str) -> dict[str, Any]:
        """Its facts: this machine's, with a name, an address, a system and tags of its own."""
        system = "linux" if number % 20 < 17 else "windows" if number % 20 < 19 else "darwin"
        tags = {"role": _ROLES[number % 8], "site": _SITES[number // 8 % 4]}
        found = [f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}/8"]
        environment = {**self._sample["environment"], "os": system, "addresses": found}
        return {
            **self._sample,
            "id": agent,
            "name": f"sim-{number:07}.example.net",
            "queueloc": f"{system}.{agent}",
            "os": system,
            "tags": tags,
            "addresses": found,
            "environment": environment,
        }

    def hears(self, number: int, agent: str, route: str) -> bool:
        """Whether it would have subscribed to a subject that is this one and an action's id."""
        if route == "mig.action.all":
            return True
        row = self.row(number, agent)
        return route in map(route_subject, agent_routes(agent, row["os"], row["tags"]))

    def facts(self, number: int, identity: Identity, *, now_s: int) -> bytes:
        """Its signed facts, with a proof of its token; the next heartbeats say their digest."""
        row = self.row(number, identity.id)
        machine = machine_mark(f"simulated {number}", "")
        token = self._tokens[number // MAX_COUNT]
        proof = prove(token, key=identity.public_key, name=row["name"], machine=machine, now_s=now_s)
        frame, digest = encode_facts(identity, row, heartbeat_s=self.heartbeat_s, machine=machine, proof=proof)
        self._digests[self._place(number)] = bytes.fromhex(digest)
        return frame

    def heartbeat(self, number: int, identity: Identity, *, now_s: float, answered: int, seen: int) -> bytes:
        """A signed heartbeat, as long as a real one: with a count and a head of an audit."""
        digest = bytes(self._digests[self._place(number)]).hex()
        head = hashlib.sha256(b"%d %d" % (number, answered)).hexdigest()[:HEAD_DIGITS]
        beat = Heartbeat(t=round(now_s, 3), f=digest, s=seen, n=answered + 1, h=head)
        return encode_heartbeat(identity, beat)

    def _place(self, number: int) -> slice:
        size = _DIGEST_DIGITS // 2
        return slice(number * size, (number + 1) * size)
