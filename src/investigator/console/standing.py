"""Who is who, as this console judges it: an agent's standing, by its proof, the names pinned here and what investigators signed.

A name belongs to the key that first proved itself under it, until an investigator signs something else. So whoever controls the
broker can let a process in, and cannot make it a host: without a proof it is unproven, and under a name that is taken a conflict.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal

from investigator.console.inventory import Host
from investigator.errors import BadInput, Refused
from investigator.protocol.rulings import Rulings
from investigator.protocol.statement import Pin, Token
from investigator.protocol.token import Claim, Proof, check_claim, check_succession, same_machine

Policy = Literal["token", "open", "approve"]
_MAX_REASON: Final = 300
_MAX_NAMED: Final = 5


class Standing(StrEnum):
    """What an agent is here."""

    PROVEN = "proven"
    UNPROVEN = "unproven"
    """Nothing that an investigator signed leads to it."""
    CONFLICT = "conflict"
    """Its name is another's."""
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True)
class Judged:
    """An agent's standing, and why it is not proven."""

    standing: Standing
    why: str = ""

    def counts(self, policy: Policy) -> bool:
        """Whether such an agent is asked, and its answers are taken."""
        return self.standing is Standing.PROVEN or (policy == "open" and self.standing is Standing.UNPROVEN)


@dataclass(frozen=True, slots=True)
class Pinned:
    """Who had a name first."""

    name: str
    agent: str
    machine: str
    token: str
    """The key of the token by which it proved itself."""
    since_s: float


@dataclass(frozen=True, slots=True)
class Candidate:
    """A host that nothing is settled about, whose proof names a token that counts; whether it holds is to be seen."""

    host: Host
    proof: Proof
    token: Token

    @property
    def claim(self) -> tuple[tuple[str, str], str]:
        """What is to be verified, as `checks.Claims` has it: its token's key, what that signed, and the signature."""
        return (self.token.key, self.proof.claim), self.proof.signature


@dataclass(frozen=True, slots=True)
class _Newcomer:
    host: Host
    claim: Claim
    token: Token


class Register:
    """The names pinned here, and the judge of who comes under them; `learned` are pins that are to be kept."""

    def __init__(
        self,
        rulings: Rulings,
        pins: Iterable[Pinned],
        used: Mapping[str, Iterable[str]],
        *,
        policy: Policy,
        token_of: Callable[[Proof], Token],
    ) -> None:
        """Take what is known.

        Args:
            rulings: what investigators signed.
            pins: who had which name first.
            used: the agents that were let in by each token, by its key.
            policy: of this console; with `approve` only what an investigator signed for the very agent proves it.
            token_of: the token of a proof's statement; raises `BadInput` or `Refused` where nobody entitled signed it.
        """
        self.policy = policy
        self.learned: list[Pinned] = []
        self._rulings = rulings
        self._pins = {pin.name: pin for pin in pins if _holds(pin, rulings)}
        self._used = {token: set(agents) for token, agents in used.items()}
        self._token_of = token_of
        self._claimants: dict[str, set[str]] = {}

    def settle(self, hosts: Iterable[Host]) -> list[Candidate]:
        """Set `judged` of each host of which a look at its proof's signature is not needed; the others are for `admit`."""
        candidates = []
        for host in hosts:
            known = self._known(host) or self._candidate(host)
            if isinstance(known, Candidate):
                candidates.append(known)
            else:
                host.judged = known
        return candidates

    def admit(self, candidates: Iterable[tuple[Candidate, str]], *, now_s: float) -> None:
        """Set `judged` of each candidate; those who prove themselves under a free name are pinned, in `learned` too.

        With each comes why its token's key did not sign its claim; empty: it did.
        """
        newcomers: dict[str, list[_Newcomer]] = defaultdict(list)
        for candidate, problem in candidates:
            newcomer = _newcomer(candidate, problem)
            if isinstance(newcomer, _Newcomer):
                newcomers[candidate.host.name].append(newcomer)
            else:
                candidate.host.judged = newcomer
        for found in sorted(newcomers.values(), key=lambda found: (found[0].claim.t, found[0].host.id)):
            self._take(found, now_s)

    def owner(self, name: str) -> str:
        """The id of the agent that has a name here; empty: nobody."""
        pin = self._pins.get(name)
        return self._rulings.owner(name) or ("" if pin is None else pin.agent)

    def former(self, host: Host) -> list[str]:
        """The ids that a proven host had before it was installed anew."""
        proven = host.judged is not None and host.judged.standing is Standing.PROVEN
        return self._rulings.former(host.id) if proven else []

    def note(self, host: Host) -> str:
        """What somebody should know of a host though it is proven; empty, mostly."""
        pin = self._pins.get(host.name)
        if pin is None or pin.agent != host.id or same_machine(pin.machine, host.facts.machine):
            return ""
        return f"{host.name} ({host.id}) speaks from another machine than it was enrolled on: a copy of its state runs there"

    def _known(self, host: Host) -> Judged | None:
        """What is settled already; None: it has to prove itself."""
        gone = self._rulings.unenrolled(host.id)
        if gone is not None:
            return Judged(Standing.REVOKED, gone.reason or "an investigator revoked it")
        owner = self._rulings.owner(host.name)
        if owner:
            if owner == host.id:
                return Judged(Standing.PROVEN)
            return Judged(Standing.CONFLICT, f"the name is that of {owner}, as an investigator signed")
        pin = None if self.policy == "approve" else self._pins.get(host.name)
        if pin is None:
            return None
        if pin.agent == host.id:
            return Judged(Standing.PROVEN)
        return Judged(Standing.CONFLICT, f"the name is that of {pin.agent}{self._former(host)}")

    def _former(self, host: Host) -> str:
        former = _succeeds(host)
        return f", and its state was that of {former}, on another machine: a clone, or it moved" if former else ""

    def _candidate(self, host: Host) -> Candidate | Judged:
        if self.policy == "approve":
            return Judged(Standing.UNPROVEN, "no investigator has approved it")
        proof = host.facts.proof
        if proof is None:
            former = _succeeds(host)
            if former:
                return Judged(
                    Standing.CONFLICT, f"its state was that of {former}, on another machine: a clone, or it moved"
                )
            return Judged(Standing.UNPROVEN, "it has no proof")
        try:
            return Candidate(host, proof, self._token_of(proof))
        except (BadInput, Refused) as error:
            return Judged(Standing.UNPROVEN, str(error)[:_MAX_REASON])

    def _take(self, found: list[_Newcomer], now_s: float) -> None:
        """Newcomers under one name: one alone may have it, and of several none, also if they come one by one."""
        claimants = self._claimants.setdefault(found[0].host.name, set())
        claimants.update(one.host.id for one in found)
        if len(claimants) > 1:
            for one in found:
                others = ", ".join(sorted(claimants - {one.host.id})[:_MAX_NAMED])
                one.host.judged = Judged(Standing.CONFLICT, f"{others} proves to have the same name")
            return
        (one,) = found
        used = self._used.setdefault(one.token.key, set())
        if self._rulings.is_closed(one.token.key, to=one.host.id):
            one.host.judged = Judged(Standing.UNPROVEN, "an investigator has closed the token that it came by")
            return
        if one.host.id not in used and len(used) >= one.token.count:
            reason = f"its token vouches for {one.token.count}, and others came first"
            one.host.judged = Judged(Standing.UNPROVEN, reason)
            return
        used.add(one.host.id)
        pin = Pinned(one.host.name, one.host.id, one.claim.machine, one.token.key, now_s)
        self._pins[pin.name] = pin
        self.learned.append(pin)
        one.host.judged = Judged(Standing.PROVEN)


def _newcomer(candidate: Candidate, problem: str) -> _Newcomer | Judged:
    host, token = candidate.host, candidate.token
    if problem:
        return Judged(Standing.UNPROVEN, problem[:_MAX_REASON])
    try:
        claim = check_claim(candidate.proof, token, key=host.facts.key, name=host.name)
    except (BadInput, Refused) as error:
        return Judged(Standing.UNPROVEN, str(error)[:_MAX_REASON])
    return _Newcomer(host, claim, token)


def _holds(pin: Pinned, rulings: Rulings) -> bool:
    """Not after its agent was let go, or given another name."""
    ruling = rulings.of(pin.agent)
    return ruling is None or (isinstance(ruling, Pin) and ruling.name == pin.name)


def _succeeds(host: Host) -> str:
    """The id of the agent whose state this one was, if its key says so."""
    if host.facts.succession is None:
        return ""
    try:
        return check_succession(host.facts.succession, key=host.facts.key)
    except (BadInput, Refused):
        return ""
