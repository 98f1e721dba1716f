"""The gate of cancels: who signed, what, when; and by which right a cancel stops an action."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from investigator.errors import BadInput
from investigator.protocol.acl import Acl
from investigator.protocol.action import parse_action
from investigator.protocol.admission import Host, Refusal
from investigator.protocol.cancel import (
    MAX_BARE_ENVELOPE_BYTES,
    MAX_CANCEL_ENVELOPE_BYTES,
    CancelEnvelope,
    Cancellation,
    decode_cancel_envelope,
    judge_cancel,
)
from investigator.protocol.envelope import MAX_ENVELOPE_BYTES
from signed import (
    ACTION_ID,
    ALICE,
    BOB,
    CAROL,
    MALLORY,
    NOW_S,
    OTHER_ID,
    FakeKeyring,
    cancel_document,
    cancelling,
    digest_of,
    entry,
    host,
    rfc3339,
    rules,
    sealed_in,
    sign,
    written,
)

ACTION = written()
ENVELOPE = sealed_in(ACTION, sign(ACTION))


def judged(raw: bytes, here: Host | None = None, *, now_s: float = NOW_S, action_id: str = ACTION_ID) -> str:
    """The refusal's code, or "cancels"."""
    verdict = judge_cancel(raw, here or host(), action_id=action_id, now_s=now_s)
    return verdict.code if isinstance(verdict, Refusal) else "cancels"


def good(raw: bytes, here: Host | None = None) -> Cancellation:
    verdict = judge_cancel(raw, here or host(), action_id=ACTION_ID, now_s=NOW_S)
    assert isinstance(verdict, Cancellation)
    return verdict


def right(raw: bytes, action_signers: tuple[str, ...], acl: Acl) -> str:
    return good(raw, host(acl=acl)).authority(parse_action(ACTION), action_signers, acl)


def test_a_good_cancel_names_its_action_and_who_signed_it() -> None:
    verdict = good(cancelling(ACTION, ALICE, BOB, about=ENVELOPE))
    assert (verdict.cancel.digest, verdict.cancel.id) == (digest_of(ACTION), ACTION_ID)
    assert verdict.signers == tuple(sorted((ALICE, BOB)))
    assert verdict.about == ENVELOPE


def test_only_the_gate_makes_cancellations() -> None:
    made = good(cancelling(ACTION, ALICE))
    envelope = decode_cancel_envelope(cancelling(ACTION, ALICE))
    with pytest.raises(TypeError):
        Cancellation(made.raw, made.cancel, envelope, (ALICE,), "")


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"", "malformed"),
        (b"{}", "malformed"),
        (cancelling(ACTION), "signature"),
        (cancelling(ACTION, MALLORY), "signature"),
        (cancelling(ACTION, ALICE, id=OTHER_ID), "subject"),
        (cancelling(ACTION, ALICE, digest="0" * 64, about=ENVELOPE), "malformed"),
        (cancelling(ACTION, ALICE, digest="xyz"), "malformed"),
        (cancelling(ACTION, ALICE, digest=digest_of(ACTION).upper()), "malformed"),
        (cancelling(ACTION, ALICE, id="no id"), "malformed"),
        (cancelling(ACTION, ALICE, expireafter=...), "malformed"),
        (cancelling(ACTION, ALICE, expireafter="0001-01-01T00:00:00+14:00"), "malformed"),
        (cancelling(ACTION, ALICE, comment="x"), "malformed"),
        (cancelling(ACTION, ALICE, reason="x" * 1001), "malformed"),
        (cancelling(ACTION, ALICE, sealto="AAAA"), "malformed"),
        (cancelling(ACTION, ALICE, expireafter=rfc3339(NOW_S)), "expired"),
        (cancelling(ACTION, ALICE, expireafter=rfc3339(NOW_S + 31 * 86_400)), "not-yet-valid"),
        (cancelling(ACTION, ALICE, expireafter=rfc3339(NOW_S + 30 * 86_400)), "cancels"),
        (cancelling(ACTION, ALICE, now_s=NOW_S - 8 * 86_400, expireafter=rfc3339(NOW_S + 9)), "signature"),
        (cancelling(ACTION, ALICE, reason=...), "cancels"),
    ],
)
def test_what_is_wrong_is_refused_by_its_code(raw: bytes, code: str) -> None:
    assert judged(raw) == code


def test_a_signature_of_something_else_is_no_signature_of_a_cancel() -> None:
    text = orjson.dumps(cancel_document(ACTION))
    assert judged(sealed_in(text, sign(ACTION), sign(text + b" "))) == "signature"


def test_rubbish_beside_a_good_signature_spoils_nothing() -> None:
    text = orjson.dumps(cancel_document(ACTION))
    assert judged(sealed_in(text, "rubbish", sign(text, MALLORY), sign(text, ALICE))) == "cancels"


def test_time_does_not_go_back_behind_the_newest_accepted_signature() -> None:
    raw = cancelling(ACTION, ALICE, expireafter=rfc3339(NOW_S + 10))
    assert judged(raw, host(newest_signature_s=int(NOW_S) + 11)) == "expired"
    assert judged(raw, host(newest_signature_s=int(NOW_S) + 9)) == "cancels"


TWO = rules(default=entry(2, alice=1, bob=1, carol=0))
BOB_MAY = rules(default=entry(2, alice=2, carol=0, bob=0), cancel=entry(1, bob=1))


@pytest.mark.parametrize(
    ("signers", "action_signers", "acl", "authority"),
    [
        ((ALICE,), (ALICE, BOB), TWO, "by-signer"),  # one of two signers is enough to stop
        ((BOB,), (ALICE, BOB), TWO, "by-signer"),
        ((ALICE,), (BOB,), TWO, ""),
        ((ALICE, BOB), (CAROL,), TWO, "by-weight"),  # no entry `cancel`: the default's weight
        ((CAROL,), (ALICE, BOB, CAROL), TWO, ""),  # she signed the action, which added nothing to it
        ((ALICE, CAROL), (ALICE, CAROL), TWO, "by-signer"),
        ((BOB,), (ALICE,), BOB_MAY, "by-weight"),
        ((CAROL,), (ALICE,), BOB_MAY, ""),
        ((ALICE,), (CAROL,), BOB_MAY, ""),  # the entry `cancel` replaces the default: who may run all may not stop all
        ((ALICE,), (ALICE,), BOB_MAY, "by-signer"),
    ],
)
def test_it_takes_a_signer_of_the_action_or_the_weight_for_cancel(
    signers: tuple[str, ...], action_signers: tuple[str, ...], acl: Acl, authority: str
) -> None:
    assert right(cancelling(ACTION, *signers), action_signers, acl) == authority


def test_what_is_missing_of_the_weight_is_said() -> None:
    assert "permission denied for operation cancel" in good(cancelling(ACTION, ALICE), host(acl=TWO)).shortage
    assert good(cancelling(ACTION, ALICE, BOB), host(acl=TWO)).shortage == ""


def test_what_is_kept_is_the_cancel_without_the_action_and_is_judged_like_it() -> None:
    whole = good(cancelling(ACTION, ALICE, about=ENVELOPE))
    again = good(whole.bare)
    assert again.about is None
    assert (again.cancel, again.signers, again.digest) == (whole.cancel, whole.signers, whole.digest)
    assert len(whole.bare) < MAX_BARE_ENVELOPE_BYTES


def test_the_action_that_travels_along_arrives_byte_for_byte() -> None:
    odd = orjson.dumps(
        orjson.loads(ENVELOPE) | {"pgpsignatures": ["ä\u2028\\", *orjson.loads(ENVELOPE)["pgpsignatures"]]}
    )
    assert good(cancelling(ACTION, ALICE, about=odd)).about == odd


def test_the_largest_action_fits_into_its_cancel_and_more_does_not() -> None:
    action = written(description={"fill": "x" * (MAX_ENVELOPE_BYTES - len(ENVELOPE) - 100)})
    raw = cancelling(action, ALICE, about=sealed_in(action, sign(action)))
    assert MAX_ENVELOPE_BYTES < len(raw) < MAX_CANCEL_ENVELOPE_BYTES
    assert judged(raw) == "cancels"
    heavy = orjson.loads(cancelling(ACTION, ALICE, about=ENVELOPE))
    heavy["pgpsignatures"] += ["x" * MAX_BARE_ENVELOPE_BYTES]
    assert judged(orjson.dumps(heavy)) == "malformed"
    with pytest.raises(BadInput):
        CancelEnvelope(v=1, action="{}", pgpsignatures=("x" * MAX_BARE_ENVELOPE_BYTES,)).encode()


def test_an_action_carries_nothing_beside_it() -> None:
    from investigator.protocol.admission import admit

    loaded = orjson.dumps({**orjson.loads(ENVELOPE), "about": orjson.loads(ENVELOPE)})
    verdict = admit(loaded, host(), action_id=ACTION_ID, now_s=NOW_S)
    assert isinstance(verdict, Refusal)
    assert verdict.code == "malformed"


def test_a_key_that_is_trusted_no_more_cancels_no_more() -> None:
    raw = cancelling(ACTION, ALICE)
    assert judged(raw, host(keyring=FakeKeyring((BOB,)))) == "signature"


@given(st.integers(0, 600), st.binary(min_size=1, max_size=4))
def test_whatever_is_done_to_the_bytes_the_gate_answers_and_stops_nothing_else(place: int, junk: bytes) -> None:
    raw = cancelling(ACTION, ALICE, about=ENVELOPE)
    at = place % len(raw)
    mutated = raw[:at] + junk + raw[at + len(junk) :]
    verdict = judge_cancel(mutated, host(), action_id=ACTION_ID, now_s=NOW_S)
    if isinstance(verdict, Cancellation):
        assert verdict.cancel.digest == digest_of(ACTION)
        assert verdict.signers == (ALICE,)
        assert verdict.about is None or digest_of(orjson.loads(verdict.about)["action"].encode()) == digest_of(ACTION)


JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)


@given(st.sampled_from(["id", "digest", "expireafter", "reason", "sealto", "type"]), JSON)
def test_no_signed_value_makes_the_gate_raise(key: str, value: Any) -> None:
    judged(cancelling(ACTION, ALICE, **{key: value}))
