"""Weights: counted once a certificate, summed, by the module's own entry or the default, never both."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from investigator.errors import BadInput
from investigator.protocol.acl import Acl, parse_acl
from signed import ALICE, BOB, CAROL, MALLORY, fingerprint

PEOPLE = ("alice", "bob", "carol")


def entry(minimum: int, **people: int) -> dict[str, Any]:
    return {
        "minimumweight": minimum,
        "investigators": {
            name: {"fingerprint": fingerprint(name), "weight": weight} for name, weight in people.items()
        },
    }


def acl(**entries: dict[str, Any]) -> Acl:
    return parse_acl(orjson.dumps(entries))


@given(st.binary())
def test_any_bytes_are_an_acl_or_bad_input(text: bytes) -> None:
    with pytest.raises(BadInput):
        parse_acl(text)


@given(
    st.dictionaries(st.sampled_from(PEOPLE), st.integers(0, 5), min_size=1),
    st.integers(1, 8),
    st.lists(st.sampled_from((ALICE, BOB, CAROL, MALLORY))),
)
def test_an_operation_may_run_when_the_distinct_signers_reach_the_minimum(
    weights: dict[str, int], minimum: int, signers: list[str]
) -> None:
    if sum(weights.values()) < minimum:
        with pytest.raises(BadInput, match="cannot be reached"):
            acl(default=entry(minimum, **weights))
        return
    reached = sum(weight for name, weight in weights.items() if fingerprint(name) in signers)
    shortages = acl(default=entry(minimum, **weights)).shortages(["file"], signers)
    assert (not shortages) == (reached >= minimum)
    assert all((one.need, one.got) == (minimum, reached) for one in shortages)


def test_a_modules_entry_replaces_the_default_and_nothing_is_merged() -> None:
    rules = acl(default=entry(1, alice=1), agentdestroy=entry(2, bob=1, carol=1))
    assert not rules.shortages(["file"], [ALICE])
    assert rules.shortages(["agentdestroy"], [ALICE, BOB])
    assert not rules.shortages(["agentdestroy"], [BOB, CAROL])
    assert [one.module for one in rules.shortages(["file", "agentdestroy"], [ALICE])] == ["agentdestroy"]


def test_without_a_default_an_unlisted_module_runs_for_nobody() -> None:
    rules = acl(file=entry(1, alice=1))
    assert rules.shortages(["netstat"], [ALICE, BOB, CAROL])
    assert not rules.shortages(["file"], [ALICE])


def test_a_shortage_is_told_in_migs_words() -> None:
    (shortage,) = acl(default=entry(3, alice=1, bob=2)).shortages(["file"], [ALICE])
    assert str(shortage) == "permission denied for operation file, insufficient signatures weight (need 3, got 1)"


def test_a_fingerprint_counts_in_either_case() -> None:
    rules = acl(default={"minimumweight": 1, "investigators": {"a": {"fingerprint": ALICE.lower(), "weight": 1}}})
    assert not rules.shortages(["file"], [ALICE])


ONE = {"fingerprint": ALICE, "weight": 1}


@pytest.mark.parametrize(
    "text",
    [
        {},
        [],
        {"default": {}},
        {"default": entry(1)},
        {"default": {"minimumweight": 0, "investigators": {"a": ONE}}},
        {"default": {"minimumweight": -1, "investigators": {"a": ONE}}},
        {"default": {"minimumweight": "1", "investigators": {"a": ONE}}},
        {"default": {"minimumweight": True, "investigators": {"a": ONE}}},
        {"default": {"minimumweight": 1, "investigators": {"a": ONE}, "more": 1}},
        {
            "default": {
                "minimumweight": 1,
                "investigators": {"a": {**ONE, "weight": -1}, "b": {"fingerprint": BOB, "weight": 2}},
            }
        },
        {"default": {"minimumweight": 1, "investigators": {"a": {**ONE, "weight": 1.5}}}},
        {"default": {"minimumweight": 1, "investigators": {"a": {**ONE, "weight": 1e300}}}},
        {"default": {"minimumweight": 1, "investigators": {"a": {**ONE, "fingerprint": ALICE[-16:]}}}},
        {"default": {"minimumweight": 1, "investigators": {"a": {**ONE, "fingerprint": ALICE + "\n"}}}},
        {"default": {"minimumweight": 2, "investigators": {"a": ONE, "b": ONE}}},
        {"default": {"minimumweight": 2, "investigators": {"a": ONE, "b": {**ONE, "fingerprint": ALICE.lower()}}}},
    ],
)
def test_an_acl_that_could_mean_something_else_is_refused(text: object) -> None:
    with pytest.raises(BadInput):
        parse_acl(orjson.dumps(text))


def test_a_person_named_twice_is_refused() -> None:
    text = orjson.dumps({"default": entry(1, alice=1)}).replace(
        b'{"alice":', b'{"alice":' + orjson.dumps(ONE) + b',"alice":'
    )
    with pytest.raises(BadInput, match="stands twice"):
        parse_acl(text)


def test_a_certificate_counts_once_however_often_it_signed() -> None:
    assert acl(default=entry(2, alice=1, bob=1)).shortages(["file"], [ALICE, ALICE, ALICE])
