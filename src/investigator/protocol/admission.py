"""Stage 4: the one gate. `admit` alone makes an `Admitted`, and the runner takes nothing else.

The steps are numbered; docs/concepts.md tells them in the same order. The gate is a pure function: the caller gives it the
agent's trust, facts, ledger and clock, and records what it says.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Protocol

from investigator.errors import BadInput, BadTarget, Refused
from investigator.protocol.action import Action, parse_action, utc_text
from investigator.protocol.envelope import decode_envelope
from investigator.protocol.target import Ledger, judge, parse_condition

if TYPE_CHECKING:
    from collections.abc import Container, Mapping

    from investigator.protocol.acl import Acl

CLOCK_SKEW_S: Final = 120
"""How far an investigator's clock may be ahead of ours."""
_GATE: Final = object()


class Signature(Protocol):
    """What a keyring says about a good signature."""

    @property
    def certificate(self) -> str:
        """The signer: the full fingerprint of the primary key."""

    @property
    def created(self) -> int:
        """When it was made, seconds since 1970."""


class Keyring(Protocol):
    """Whoever can tell a good signature from all others: `pgp.Keyring`."""

    def verify(self, data: bytes, signature: bytes, now: int, *, max_age_s: int | None = None) -> Signature:
        """Who signed exactly these bytes, at most `max_age_s` before `now`; raises `Refused` for anything else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """The agent's own view, which no message can change."""

    keyring: Keyring
    acl: Acl
    row: Mapping[str, Any]
    """The agent's facts, the row that a target is judged on."""
    ledger: Container[str]
    """Digests of the actions that were admitted before."""
    came_to: Ledger | None = None
    """Whether an earlier action (by its id) found something here, or nothing: for `--target-found`."""
    newest_signature_s: int = 0
    """The newest signature time among accepted actions: time never goes back behind it."""
    not_signed_before_s: int = 0
    """Set where the ledger was lost: what was signed before may have run already."""
    recalled: Container[str] = frozenset()
    """Digests of what ran before the ledger was lost, as far as anything else tells."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why an action does not run here, or a cancel does not count. `code` is one of those in docs/protocol.md."""

    code: str
    reason: str
    digest: str = ""
    action: Action | None = None
    """The action's content, only where a trusted key signed it."""
    sealto: str | None = None
    """Who may read the refusal; likewise."""
    signers: tuple[str, ...] = ()


class Admitted:
    """An action that this host may run; made only by `admit`."""

    __slots__ = ("action", "digest", "signed_s", "signers")

    def __init__(
        self, action: Action, digest: str, signers: tuple[str, ...], signed_s: int, *, _by: object = None
    ) -> None:
        if _by is not _GATE:
            raise TypeError("only the gate admits actions")
        self.action = action
        self.digest = digest
        self.signers = signers
        self.signed_s = signed_s


@dataclass(slots=True)
class Said:
    """What the signatures of one envelope come to."""

    signers: dict[str, int] = field(default_factory=dict)
    """The distinct certificates, each with the time of its newest signature, seconds since 1970."""
    problems: list[str] = field(default_factory=list)


def admit(  # noqa: C901, PLR0911 - one list of checks, one after the other, is what makes it auditable
    raw: bytes, host: Host, *, action_id: str, now_s: float
) -> Admitted | Refusal:
    """Judge an envelope as it came from the wire, under the action id that its subject names."""
    # 1. An envelope, within its size. Nothing in it is believed yet.
    try:
        envelope = decode_envelope(raw)
    except BadInput as error:
        return Refusal(code="malformed", reason=str(error))
    digest = envelope.digest
    # The clock never counts as earlier than a signature that was accepted: set back, it reopens nothing.
    now_s = max(now_s, host.newest_signature_s)

    # 2. Keys that we trust signed these very bytes. Whoever made several signatures counts once; what does not verify
    #    counts nothing, so that appending rubbish cannot spoil a good action.
    said = who_signed(envelope.signed_bytes, envelope.pgpsignatures, host, int(now_s))
    if not said.signers:
        return Refusal(code="signature", reason="; ".join(said.problems) or "no signature", digest=digest)
    signers = tuple(sorted(said.signers))

    # 3. They signed an action, this one, and nothing that only looks like it.
    try:
        action = parse_action(envelope.signed_bytes)
        condition = parse_condition(action.condition)
    except (BadInput, BadTarget) as error:
        return Refusal(code="malformed", reason=str(error), digest=digest, signers=signers)

    def refuse(code: str, reason: str) -> Refusal:
        return Refusal(code=code, reason=reason, digest=digest, action=action, sealto=action.sealto, signers=signers)

    if action.id != action_id:
        return refuse("subject", f"action {action.id} came under another id")

    # 4. It is for us: the condition is inside the signed bytes, and judged on our own facts. This comes before the
    #    weights, so that hosts with stricter rules do not answer for what was never meant for them.
    now = datetime.fromtimestamp(now_s, UTC)
    try:
        meant = judge(condition, host.row, now, host.came_to)
    except BadTarget as error:  # a cast that fails on our facts: PostgreSQL would give no verdict either
        return refuse("target", str(error))
    if meant is not True:
        return refuse("not-targeted", "the target does not hold here")

    # 5. Their weights suffice for every operation: by our list, not by its claim.
    modules = [operation.module for operation in action.operations]
    shortages = host.acl.shortages(modules, signers)
    if shortages:
        return refuse("permission", "; ".join(map(str, [*shortages, *said.problems])))

    # 6. It is valid now, give or take an investigator's clock that is a little ahead.
    if now_s + CLOCK_SKEW_S < action.validfrom.timestamp():
        return refuse(
            "not-yet-valid", f"valid from {utc_text(action.validfrom)}; this host's clock says {utc_text(now)}"
        )
    if now >= action.expireafter:
        return refuse("expired", f"expired {utc_text(action.expireafter)}; this host's clock says {utc_text(now)}")

    # 7. It never ran here. Where the ledger was lost, only signatures made since count: a new one by somebody without
    #    weight must not bring back what ran before. Nor must an investigator's clock that is ahead: the audit remembers.
    if digest in host.ledger:
        return refuse("replayed", "this action was admitted before")
    if digest in host.recalled:
        return refuse("ledger-lost", "the ledger was lost, and by this agent's audit the action was admitted before")
    since = [signer for signer, created in said.signers.items() if created >= host.not_signed_before_s]
    if host.acl.shortages(modules, since):
        return refuse("ledger-lost", "the ledger was lost, and the action was signed before this agent started")
    return Admitted(action, digest, signers, max(said.signers.values()), _by=_GATE)


def who_signed(data: bytes, signatures: tuple[str, ...], host: Host, now_s: int) -> Said:
    """The distinct certificates with a good signature, each with its newest time, and what was wrong with the rest."""
    said = Said()
    for text in signatures:
        try:
            good = host.keyring.verify(data, text.encode(), now_s, max_age_s=host.acl.max_signature_age_s)
        except Refused as error:
            said.problems.append(str(error))
        else:
            said.signers[good.certificate] = max(good.created, said.signers.get(good.certificate, 0))
    return said
