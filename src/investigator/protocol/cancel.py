"""A cancel: signed like an action, it stops one. `judge_cancel` is its gate, beside `admission.admit` and with the same numbers.

    {"type": "cancel", "id": "<the action's>", "digest": "<SHA-256 of the action's bytes>", "expireafter": "<the action's>", …}

It travels on the action's subjects and takes the action's place in the stream. So its envelope carries the action's, unsigned,
under `about`: a host that learns of both at once can tell whether it is meant, and who signed the action. What stands there is
believed no more than anything from the wire: it must have the digest that was signed, and passes the action's own gate.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Final, Literal

import msgspec
import orjson

from investigator.errors import BadInput
from investigator.protocol.acl import CANCEL
from investigator.protocol.action import MAX_LIFE, check_year, is_action_id, sealing_key, utc_text
from investigator.protocol.admission import CLOCK_SKEW_S, Refusal, who_signed
from investigator.protocol.codec import convert, strict_loads
from investigator.protocol.envelope import MAX_ENVELOPE_BYTES, Envelope
from investigator.protocol.kinds import MAX_PEEKED_BYTES, read_signed
from investigator.protocol.sealing import can_seal_to

if TYPE_CHECKING:
    from collections.abc import Collection

    from investigator.protocol.acl import Acl
    from investigator.protocol.action import Action
    from investigator.protocol.admission import Host

MAX_CANCEL_BYTES: Final = MAX_PEEKED_BYTES
MAX_REASON_CHARACTERS: Final = 1000
MAX_BARE_ENVELOPE_BYTES: Final = 32 * 1024
"""A cancel with its signatures, without the action that it carries; hosts keep this much of it."""
MAX_CANCEL_ENVELOPE_BYTES: Final = MAX_ENVELOPE_BYTES + MAX_BARE_ENVELOPE_BYTES
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_GATE: Final = object()


class Cancel(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What investigators sign to stop an action."""

    type: Literal["cancel"] = "cancel"
    id: str
    """The action's."""
    digest: str
    """Of the action's signed bytes: no other action is stopped, whatever its id."""
    expireafter: Annotated[datetime, msgspec.Meta(tz=True)]
    """The action's: there is nothing to stop after it."""
    reason: Annotated[str, msgspec.Meta(max_length=MAX_REASON_CHARACTERS)] = ""
    """For people."""
    sealto: str | None = None
    """Who may read why a host refuses this cancel; as in actions."""

    def encode(self) -> bytes:
        """The bytes to sign."""
        return orjson.dumps(msgspec.to_builtins(self, builtin_types=(datetime,)), option=orjson.OPT_UTC_Z)


class CancelEnvelope(Envelope, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The envelope that all kinds share (the signed bytes stand in `action`), and the action's own beside it."""

    v: Literal[1]
    about: Envelope | None = None

    def encode(self) -> bytes:
        """The envelope for the wire.

        Raises:
            BadInput: more than agents take.
        """
        if len(orjson.dumps(msgspec.to_builtins(self.bare()))) > MAX_BARE_ENVELOPE_BYTES:
            raise BadInput(f"cancel: with its signatures more than {MAX_BARE_ENVELOPE_BYTES:,} bytes")
        return orjson.dumps(msgspec.to_builtins(self))

    def bare(self) -> CancelEnvelope:
        """The same without the action."""
        return CancelEnvelope(v=1, action=self.action, pgpsignatures=self.pgpsignatures)


def parse_cancel(text: bytes) -> Cancel:
    """Read signed bytes as a cancel, strictly.

    Raises:
        BadInput: what and where, in one line.
    """
    cancel = read_signed(text, Cancel, kind=CANCEL, max_bytes=MAX_CANCEL_BYTES)
    if not is_action_id(cancel.id):
        raise BadInput("cancel: id: not 32 hexadecimal digits")
    if not _DIGEST.fullmatch(cancel.digest):
        raise BadInput("cancel: digest: not 64 hexadecimal digits")
    check_year(cancel.expireafter, what="cancel: expireafter")
    if cancel.sealto is not None and not can_seal_to(sealing_key(cancel.sealto)):
        raise BadInput("cancel: sealto: a point of low order, which no key pair has")
    return cancel


def decode_cancel_envelope(raw: bytes) -> CancelEnvelope:
    """Read a cancel's envelope from the wire; only its shape is checked, nothing in it is trusted.

    Raises:
        BadInput: it is none, or too large.
    """
    document = strict_loads(raw, what="envelope", max_bytes=MAX_CANCEL_ENVELOPE_BYTES)
    envelope = convert(document, CancelEnvelope, what="envelope")
    envelope.encode()  # each of the two parts has a limit of its own
    if envelope.about is not None:
        envelope.about.encode()
    return envelope


class Cancellation:
    """A cancel that keys of this host's keyring signed, in time; made only by `judge_cancel`."""

    __slots__ = ("about", "bare", "cancel", "digest", "raw", "shortage", "signers")

    def __init__(
        self,
        raw: bytes,
        cancel: Cancel,
        envelope: CancelEnvelope,
        signers: tuple[str, ...],
        shortage: str,
        *,
        _by: object = None,
    ) -> None:
        if _by is not _GATE:
            raise TypeError("only the gate makes cancellations")
        self.raw = raw
        """As it came."""
        self.cancel = cancel
        self.digest = envelope.digest
        """Of the cancel's own signed bytes."""
        self.signers = signers
        self.shortage = shortage
        """What is missing of the weight that this host's ACL asks for `cancel`; empty where it suffices."""
        self.bare = envelope.bare().encode()
        """The cancel's envelope without the action, to be kept and judged again."""
        self.about = None if envelope.about is None else envelope.about.encode()
        """The action's envelope, as it was published; for the action's gate."""

    def authority(self, action: Action, action_signers: Collection[str], acl: Acl) -> str:
        """5. By which right it stops this action: `by-signer`, `by-weight`, or none.

        The action's own signers are those whose weight counts for some operation: anybody in the keyring could append
        a signature that adds nothing, and stop what others ask.
        """
        both = set(self.signers) & set(action_signers)
        if any(acl.weigh(operation.module, both).got for operation in action.operations):
            return "by-signer"
        return "" if self.shortage else "by-weight"


def judge_cancel(  # noqa: PLR0911 - one list of checks, as in `admit`
    raw: bytes, host: Host, *, action_id: str, now_s: float
) -> Cancellation | Refusal:
    """Judge a cancel as it came from the wire, under the action id that its subject names.

    What it stops is the caller's to find: by the digest, among what runs here, and `authority` says whether it may. The
    same cancel again stops nothing more. Steps 4 and 7, for whom and how often, are the action's.
    """
    # 1. An envelope, within its size. Nothing in it is believed yet.
    try:
        envelope = decode_cancel_envelope(raw)
    except BadInput as error:
        return Refusal(code="malformed", reason=str(error))
    digest = envelope.digest
    now_s = max(now_s, host.newest_signature_s)

    # 2. Keys that we trust signed these very bytes.
    said = who_signed(envelope.signed_bytes, envelope.pgpsignatures, host, int(now_s))
    if not said.signers:
        return Refusal(code="signature", reason="; ".join(said.problems) or "no signature", digest=digest)
    signers = tuple(sorted(said.signers))

    # 3. They signed a cancel, of this action, and the action that travels with it is the one they meant.
    try:
        cancel = parse_cancel(envelope.signed_bytes)
    except BadInput as error:
        return Refusal(code="malformed", reason=str(error), digest=digest, signers=signers)

    def refuse(code: str, reason: str) -> Refusal:
        return Refusal(code=code, reason=reason, digest=digest, sealto=cancel.sealto, signers=signers)

    if cancel.id != action_id:
        return refuse("subject", f"a cancel of action {cancel.id} came under another id")
    if envelope.about is not None and envelope.about.digest != cancel.digest:
        return refuse("malformed", "the cancel carries another action than it names")

    # 5. Their weight for `cancel`, by our list. Where it does not suffice, one of the action's own signers still does:
    #    that is known when the action is, and until then the cancel waits.
    shortage = "; ".join(map(str, host.acl.shortages([CANCEL], signers)))

    # 6. The action may still run: within its life, which nobody makes longer than an action's.
    now = datetime.fromtimestamp(now_s, UTC)
    if now >= cancel.expireafter:
        return refuse(
            "expired", f"the action expired {utc_text(cancel.expireafter)}; this host's clock says {utc_text(now)}"
        )
    if cancel.expireafter.timestamp() > now_s + MAX_LIFE.total_seconds() + CLOCK_SKEW_S:
        return refuse(
            "not-yet-valid", f"for an action that ends {utc_text(cancel.expireafter)}; now is {utc_text(now)}"
        )
    return Cancellation(raw, cancel, envelope, signers, shortage, _by=_GATE)
