"""A cancel from the console: what is signed, what travels along, and what is refused before anybody signs."""

from __future__ import annotations

from datetime import timedelta

import orjson
import pytest

from investigator.console.cancelling import Cancelling, check_cancel, sign_cancel, write_cancel
from investigator.console.dispatch import Prepared, prepare
from investigator.errors import BadInput
from investigator.protocol.admission import Refusal
from investigator.protocol.cancel import CancelEnvelope, Cancellation, decode_cancel_envelope, judge_cancel
from investigator.protocol.envelope import decode_envelope
from signed import ACTION_ID, ALICE, BOB, NOW_S, OTHER_ID, digest_of, host, rfc3339, sealed_in, sign, written

ACTION = written(condition=["=", ["column", "os"], ["text", "linux"]])


class FakeSigner:
    def __init__(self, fingerprint: str) -> None:
        self.fingerprint = fingerprint

    def sign(self, data: bytes) -> str:
        return sign(data, self.fingerprint)


def prepared(action: bytes = ACTION) -> Prepared:
    return prepare(decode_envelope(sealed_in(action, sign(action))))


def unsigned(action: Prepared | None = None, **changes: object) -> Cancelling:
    plain: dict[str, object] = {"digest": None, "reason": "", "sealto": None, "now_s": NOW_S, **changes}
    return write_cancel(ACTION_ID, action, **plain)  # type: ignore[arg-type]


def judged(cancelling: Cancelling) -> Cancellation:
    verdict = judge_cancel(cancelling.envelope.encode(), host(), action_id=ACTION_ID, now_s=NOW_S)
    assert not isinstance(verdict, Refusal), verdict
    return verdict


def test_what_the_console_signs_is_what_agents_take() -> None:
    signed = sign_cancel(unsigned(prepared(), reason="wrong hosts"), FakeSigner(ALICE))
    verdict = judged(signed)
    assert (verdict.cancel.digest, verdict.cancel.reason) == (digest_of(ACTION), "wrong hosts")
    assert verdict.about == sealed_in(ACTION, sign(ACTION))
    assert signed.subjects == (f"mig.action.os.linux.{ACTION_ID}",)
    assert signed.cancel.expireafter == prepared().action.expireafter


def test_the_next_signer_signs_the_same_bytes() -> None:
    first = sign_cancel(unsigned(prepared()), FakeSigner(ALICE))
    second = sign_cancel(check_cancel(decode_cancel_envelope(first.envelope.encode()), now_s=NOW_S), FakeSigner(BOB))
    assert second.envelope.digest == first.envelope.digest
    assert judged(second).signers == tuple(sorted((ALICE, BOB)))


def test_an_action_that_is_known_by_its_digest_alone_is_cancelled_where_everybody_hears_it() -> None:
    signed = sign_cancel(unsigned(digest=digest_of(ACTION)), FakeSigner(ALICE))
    assert signed.subjects == (f"mig.action.all.{ACTION_ID}",)
    assert judged(signed).about is None
    assert signed.cancel.expireafter.timestamp() > NOW_S + timedelta(days=29).total_seconds()


def test_what_cannot_be_cancelled_is_told_before_anybody_signs() -> None:
    with pytest.raises(BadInput, match="there is no action"):
        unsigned()
    with pytest.raises(BadInput, match="characters"):
        unsigned(prepared(), reason="x" * 1001)
    with pytest.raises(BadInput, match="has expired"):
        unsigned(prepared(), now_s=NOW_S + 300)


def test_a_file_that_carries_another_action_than_it_names_is_refused() -> None:
    good = unsigned(prepared()).envelope
    other = written(id=OTHER_ID)
    swapped = CancelEnvelope(v=1, action=good.action, about=decode_envelope(sealed_in(other, sign(other))))
    with pytest.raises(BadInput, match="another action"):
        check_cancel(swapped, now_s=NOW_S)
    with pytest.raises(BadInput, match=r"^cancel: type: 'action'"):
        check_cancel(decode_cancel_envelope(sealed_in(ACTION)), now_s=NOW_S)


def test_a_cancel_is_written_once_and_read_the_same_everywhere() -> None:
    document = orjson.loads(unsigned(prepared()).envelope.action)
    assert document == {
        "type": "cancel",
        "id": ACTION_ID,
        "digest": digest_of(ACTION),
        "expireafter": rfc3339(NOW_S + 300),
        "reason": "",
        "sealto": None,
    }
