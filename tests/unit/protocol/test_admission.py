"""The one gate, attacked: each numbered check alone, their order, and what may not spoil or reopen anything."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from investigator.protocol.admission import Admitted, Host, Refusal, admit
from signed import (
    ACTION_ID,
    ALICE,
    BOB,
    CAROL,
    MALLORY,
    NOW_S,
    OTHER_ID,
    FakeKeyring,
    digest_of,
    entry,
    host,
    rfc3339,
    rules,
    sealed_in,
    sign,
    weights,
    written,
)

ACTION = written()
ENVELOPE = sealed_in(ACTION, sign(ACTION))


def judged(raw: bytes, here: Host | None = None, *, action_id: str = ACTION_ID, now_s: float = NOW_S) -> str:
    """The refusal's code, or "admitted"."""
    verdict = admit(raw, here or host(), action_id=action_id, now_s=now_s)
    assert isinstance(verdict, (Admitted, Refusal))
    return verdict.code if isinstance(verdict, Refusal) else "admitted"


def signed(*signers: str, at_s: float = NOW_S, **changes: Any) -> bytes:
    action = written(**changes)
    return sealed_in(action, *(sign(action, signer, at_s) for signer in signers or (ALICE,)))


def test_what_a_trusted_investigator_signed_is_admitted_with_what_was_signed() -> None:
    admitted = admit(ENVELOPE, host(), action_id=ACTION_ID, now_s=NOW_S)
    assert isinstance(admitted, Admitted)
    assert (admitted.digest, admitted.signers, admitted.signed_s) == (digest_of(ACTION), (ALICE,), NOW_S)
    assert admitted.action.operations[0].module == "netstat"


def test_nothing_but_the_gate_makes_an_admitted() -> None:
    admitted = admit(ENVELOPE, host(), action_id=ACTION_ID, now_s=NOW_S)
    assert isinstance(admitted, Admitted)
    for by in (None, object(), True, Admitted):
        with pytest.raises(TypeError, match="only the gate"):
            Admitted(admitted.action, "digest", (ALICE,), 0, _by=by)


FAR_SPAN: dict[str, Any] = {"validfrom": rfc3339(NOW_S + 300), "expireafter": rfc3339(NOW_S + 600)}
CAST = ["=", ["cast", "int4", ["column", "name"]], ["int", 1]]

ATTACKS: list[tuple[str, str, bytes, dict[str, Any]]] = [
    ("1 no JSON", "malformed", b"\xff", {}),
    ("1 another version", "malformed", ENVELOPE.replace(b'"v":1', b'"v":2'), {}),
    ("1 too large", "malformed", ENVELOPE + b" " * (1 << 20), {}),
    ("2 no signature", "signature", sealed_in(ACTION), {}),
    ("2 rubbish for a signature", "signature", sealed_in(ACTION, "rubbish", ""), {}),
    ("2 a stranger's", "signature", signed(MALLORY), {}),
    ("2 one for other bytes", "signature", sealed_in(ACTION + b" ", sign(ACTION)), {}),
    ("2 an old one", "signature", signed(at_s=NOW_S - 8 * 86_400), {}),
    ("3 signed, and no action", "malformed", signed(type="cancel"), {}),
    ("3 signed, and not said to be an action", "malformed", signed(type=...), {}),
    ("3 a condition that is none", "malformed", signed(condition=["sql", "drop table"]), {}),
    ("3 a condition that is no verdict", "malformed", signed(condition=["text", "linux"]), {}),
    ("3 a pattern that is none", "malformed", signed(condition=["~", ["column", "name"], "("]), {}),
    ("3 another action's id", "subject", signed(id=OTHER_ID), {}),
    ("5 weight 0", "permission", signed(CAROL), {}),
    ("5 too little weight", "permission", signed(), {"acl": weights(2, alice=1, bob=1)}),
    (
        "5 one certificate, three signatures",
        "permission",
        signed(ALICE, ALICE, ALICE),
        {"acl": weights(2, alice=1, bob=1)},
    ),
    ("5 trusted, but not listed", "permission", signed(BOB), {"acl": weights(alice=1)}),
    ("6 not yet", "not-yet-valid", signed(**FAR_SPAN), {}),
    ("6 no more", "expired", signed(expireafter=rfc3339(NOW_S)), {}),
    ("6 no more, with the clock set back", "expired", ENVELOPE, {"newest_signature_s": int(NOW_S) + 400}),
    ("4 others", "not-targeted", signed(condition=["=", ["column", "os"], ["text", "darwin"]]), {}),
    ("4 unknown is not yes", "not-targeted", signed(condition=["=", ["column", "ident"], ["text", "x"]]), {}),
    ("4 no verdict on these facts", "target", signed(condition=CAST), {}),
    ("7 it ran here", "replayed", ENVELOPE, {"ledger": {digest_of(ACTION)}}),
    ("7 before the ledger was lost", "ledger-lost", ENVELOPE, {"not_signed_before_s": int(NOW_S) + 1}),
    ("7 it ran before the ledger was lost", "ledger-lost", ENVELOPE, {"recalled": {digest_of(ACTION)}}),
]


@pytest.mark.parametrize(
    ("code", "raw", "here"), [attack[1:] for attack in ATTACKS], ids=[attack[0] for attack in ATTACKS]
)
def test_each_check_alone_refuses_with_its_own_code(code: str, raw: bytes, here: dict[str, Any]) -> None:
    assert judged(ENVELOPE) == "admitted"
    assert judged(raw, host(**here)) == code


def test_the_checks_come_in_their_order_so_that_strangers_learn_nothing_beyond_the_first() -> None:
    """Wrong in every way at once; then one wrong after the other is put right."""
    wrong: dict[str, Any] = {"type": "cancel", "id": OTHER_ID, **FAR_SPAN, "condition": ["bool", False]}
    here = host(acl=weights(alice=1))
    codes = [judged(b"{}", here), judged(signed(MALLORY, **wrong), here), judged(signed(BOB, **wrong), here)]
    for key, value in (("type", "action"), ("id", ACTION_ID)):
        wrong[key] = value
        codes.append(judged(signed(BOB, **wrong), here))
    del wrong["condition"]
    codes.append(judged(signed(BOB, **wrong), here))
    codes.append(judged(signed(ALICE, **wrong), host(acl=weights(alice=1), not_signed_before_s=int(NOW_S) + 1)))
    del wrong["validfrom"], wrong["expireafter"]
    codes.append(judged(signed(ALICE, **wrong), host(acl=weights(alice=1), not_signed_before_s=int(NOW_S) + 1)))
    codes.append(judged(signed(ALICE, **wrong), here))
    assert codes == [
        "malformed",
        "signature",
        "malformed",
        "subject",
        "not-targeted",
        "permission",
        "not-yet-valid",
        "ledger-lost",
        "admitted",
    ]


def test_a_refusal_gives_the_content_only_of_what_a_trusted_key_signed() -> None:
    stranger = admit(signed(MALLORY), host(), action_id=ACTION_ID, now_s=NOW_S)
    colleague = admit(signed(CAROL), host(), action_id=ACTION_ID, now_s=NOW_S)
    assert isinstance(stranger, Refusal)
    assert isinstance(colleague, Refusal)
    assert (stranger.action, stranger.signers) == (None, ())
    assert colleague.action is not None
    assert colleague.signers == (CAROL,)


@given(
    st.lists(
        st.sampled_from(["", "rubbish", sign(ACTION, MALLORY), sign(b"other"), "-----BEGIN PGP SIGNATURE-----"]),
        max_size=15,
    ),
    st.integers(0, 15),
)
def test_rubbish_beside_a_good_signature_spoils_nothing(rubbish: list[str], place: int) -> None:
    rubbish.insert(place, sign(ACTION))
    assert judged(sealed_in(ACTION, *rubbish)) == "admitted"


@given(st.binary(max_size=200), st.integers(0, len(ENVELOPE)))
def test_whatever_is_done_to_the_bytes_the_gate_answers_and_runs_nothing_else(junk: bytes, place: int) -> None:
    raw = ENVELOPE[:place] + junk + ENVELOPE[place + len(junk) :]
    verdict = admit(raw, host(), action_id=ACTION_ID, now_s=NOW_S)
    assert isinstance(verdict, Refusal) or verdict.digest == digest_of(ACTION)


def test_a_copy_with_signatures_cut_off_is_refused_and_leaves_the_real_one_free() -> None:
    here = host(acl=weights(2, alice=1, bob=1))
    real = signed(ALICE, BOB)
    assert judged(sealed_in(ACTION), here) == "signature"
    assert judged(signed(ALICE), here) == "permission"
    assert judged(real, here) == "admitted"


def test_signatures_from_several_people_add_up_and_all_of_them_are_named() -> None:
    admitted = admit(
        signed(BOB, ALICE, at_s=NOW_S - 5), host(acl=weights(2, alice=1, bob=1)), action_id=ACTION_ID, now_s=NOW_S
    )
    assert isinstance(admitted, Admitted)
    assert admitted.signers == tuple(sorted((ALICE, BOB)))


def test_a_clock_set_back_reopens_nothing_not_even_the_age_of_signatures() -> None:
    newest_s = int(NOW_S)
    long_lived = signed(
        at_s=NOW_S - 8 * 86_400, validfrom=rfc3339(NOW_S - 9 * 86_400), expireafter=rfc3339(NOW_S + 86_400)
    )
    for back_s in (0, 3_600, 3 * 86_400, 10 * 365 * 86_400):
        here = host(newest_signature_s=newest_s)
        assert judged(signed(expireafter=rfc3339(NOW_S)), here, now_s=NOW_S - back_s) == "expired"
        assert judged(long_lived, here, now_s=NOW_S - back_s) == "signature"


def test_a_clock_set_back_does_not_lock_new_actions_out() -> None:
    later_s = NOW_S + 3_600
    action = written(now_s=later_s)
    raw = sealed_in(action, sign(action, at_s=later_s))
    assert judged(raw, host(newest_signature_s=int(later_s) - 10), now_s=NOW_S - 86_400) == "admitted"


def test_a_clock_that_was_ahead_locks_nothing_out_since_only_accepted_signatures_move_time() -> None:
    here = host()
    assert judged(ENVELOPE, here, now_s=NOW_S + 3_600) == "expired"
    assert judged(ENVELOPE, here, now_s=NOW_S) == "admitted"


def test_an_investigators_clock_may_be_two_minutes_ahead_and_no_more() -> None:
    assert judged(signed(validfrom=rfc3339(NOW_S + 120)), now_s=NOW_S) == "admitted"
    assert judged(signed(validfrom=rfc3339(NOW_S + 121)), now_s=NOW_S) == "not-yet-valid"


def test_a_refusal_for_time_carries_this_hosts_clock() -> None:
    verdict = admit(ENVELOPE, host(), action_id=ACTION_ID, now_s=NOW_S + 301)
    assert isinstance(verdict, Refusal)
    assert rfc3339(NOW_S + 301) in verdict.reason


def test_after_a_lost_ledger_the_weight_must_come_from_signatures_made_since() -> None:
    since_s = int(NOW_S) - 10
    here = host(not_signed_before_s=since_s)
    assert judged(signed(at_s=since_s), here) == "admitted"
    assert judged(signed(at_s=since_s - 1), here) == "ledger-lost"
    both = sealed_in(ACTION, sign(ACTION, ALICE, since_s - 1), sign(ACTION, CAROL, since_s))
    assert judged(both, here) == "ledger-lost"
    again = sealed_in(ACTION, sign(ACTION, ALICE, since_s - 1), sign(ACTION, ALICE, since_s))
    assert judged(again, here) == "admitted"


def test_what_an_earlier_action_came_to_here_is_asked_of_this_host() -> None:
    asked: list[tuple[str, bool]] = []

    def came_to(action: str, found: bool) -> bool:
        asked.append((action, found))
        return found

    here = host(came_to=came_to)
    assert judged(signed(condition=["found", OTHER_ID]), here) == "admitted"
    assert judged(signed(condition=["notfound", OTHER_ID]), here) == "not-targeted"
    assert set(asked) == {(OTHER_ID, True), (OTHER_ID, False)}
    assert judged(signed(condition=["found", OTHER_ID])) == "not-targeted"


def test_the_facts_that_count_are_this_hosts() -> None:
    raw = signed(
        condition=[
            "and",
            ["=", ["column", "os"], ["text", "linux"]],
            ["=", ["->>", ["column", "tags"], ["text", "operator"]], ["text", "IT"]],
        ]
    )
    assert judged(raw) == "admitted"
    assert judged(raw, host(row={"os": "windows", "tags": {"operator": "IT"}})) == "not-targeted"


def test_the_keyring_is_asked_at_the_time_that_counts() -> None:
    keyring = FakeKeyring()
    judged(ENVELOPE, host(keyring=keyring, newest_signature_s=int(NOW_S)), now_s=NOW_S - 50)
    assert keyring.asked == [int(NOW_S)]


def test_the_gate_enters_nothing_in_the_ledger_itself() -> None:
    ledger: set[str] = set()
    assert judged(ENVELOPE, host(ledger=ledger)) == "admitted"
    assert judged(ENVELOPE, host(ledger=ledger)) == "admitted"
    assert ledger == set()


KINDS = (
    "and",
    "or",
    "not",
    "is null",
    "=",
    "<",
    "in",
    "between",
    "like",
    "~",
    "||",
    "->",
    "->>",
    "#>>",
    "cast",
    "+",
    "-",
    "/",
    "coalesce",
    "nullif",
)
LEAVES = st.sampled_from(
    [["column", name] for name in ("os", "name", "pid", "tags", "environment", "starttime", "addresses", "nope")]
    + [
        ["text", "a%"],
        ["text", "9999-12-31"],
        ["int", 2**63 - 1],
        ["int", 0],
        ["bool", True],
        ["null", "text"],
        ["now"],
    ]
    + [
        ["interval", 2**31 - 1, 0, 0],
        ["numeric", "1e200"],
        ["found", OTHER_ID],
        "int4",
        "text",
        "timestamptz",
        None,
        1.5,
        [],
        {},
    ]
)
CONDITIONS = st.recursive(
    LEAVES,
    lambda inner: st.tuples(st.sampled_from(KINDS), st.lists(inner, max_size=3)).map(lambda node: [node[0], *node[1]]),
)
ROWS = st.dictionaries(
    st.sampled_from(["os", "name", "pid", "tags", "environment", "starttime", "addresses"]),
    st.sampled_from(
        ["linux", "\ud800", 7, 2**70, {"a": None}, ["10.0.0.1"], "0001-01-01T00:00:00+14:00", 1e300, None, True]
    ),
)


@given(CONDITIONS, ROWS)
def test_no_signed_condition_on_no_facts_makes_the_gate_raise(condition: Any, row: dict[str, Any]) -> None:
    judged(signed(condition=condition), host(row=row))
    judged(signed(condition=["or", condition, ["bool", True]]), host(row=row))


def test_a_signature_may_be_as_old_as_the_acl_says() -> None:
    here = host(acl=rules(maxsignatureage_s=3600, default=entry(1, alice=1)))
    assert judged(signed(at_s=NOW_S - 3600), here) == "admitted"
    assert judged(signed(at_s=NOW_S - 3601), here) == "signature"
    assert judged(signed(at_s=NOW_S - 3601), host()) == "admitted"
