"""An outcome in parts: put together in any order, and never from a part that is missing, foreign or altered."""

import base64
import hashlib
import random
from typing import Any

import msgspec
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from investigator.errors import BadInput, InvestigatorError, Refused
from investigator.protocol import answer
from investigator.protocol.answer import Assembly, Head, decode, pack, unpack
from investigator.protocol.identity import OUTCOME, BadFrame, Identity
from investigator.protocol.piece import Piece
from investigator.protocol.result import Outcome, Result
from investigator.protocol.sealing import NotSealedToUs, generate_sealing_key, public_sealing_key, seal
from signed import ACTION_ID, OTHER_ID

AGENT, OTHER = Identity(bytes(range(32))), Identity(bytes(range(1, 33)))
PRIVATE = bytes(range(2, 34))
SEALTO = base64.b64encode(public_sealing_key(PRIVATE)).decode()
DIGEST = "d" * 64
PART = 100


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answer, "MAX_PART_BYTES", PART)
    monkeypatch.setattr(answer, "MAX_OUTCOME_BYTES", PART * answer.MAX_PARTS)


def piece_of(number: int = 1) -> Piece:
    return Piece(operation=0, number=number, elements=["x"])


def outcome(size: int = 1, text: str = "x", **changes: Any) -> Outcome:
    results = [Result(success=True, foundanything=True, elements=[text * 40] * size)]
    return Outcome(**{"state": "found", "name": "web-1", "results": results, "finished_s": 5.0, **changes})


def packed(
    what: Outcome | Piece, *, by: Identity = AGENT, sealto: str | None = SEALTO, digest: str = DIGEST
) -> list[bytes]:
    return list(pack(what, by, action=ACTION_ID, digest=digest, sealto=sealto))


def opened(payload: bytes, private_key: bytes | None = PRIVATE) -> tuple[Head, bytes]:
    return unpack(payload, action=ACTION_ID, agent=AGENT.id, private_key=private_key)


def together(assembly: Assembly, payloads: list[bytes]) -> list[Outcome | Piece]:
    given_out = (assembly.add(*opened(payload)) for payload in payloads)
    return [one for one in given_out if one is not None]


@given(st.integers(0, 30), st.booleans(), st.randoms(use_true_random=False), st.integers(0, 20))
def test_parts_in_any_order_and_repetition_give_the_outcome_once(
    size: int, sealed: bool, rng: random.Random, repeated: int
) -> None:
    told = outcome(size)
    payloads = packed(told, sealto=SEALTO if sealed else None)
    arriving = payloads + rng.choices(payloads, k=repeated)
    rng.shuffle(arriving)
    assert together(Assembly(), arriving) == [told]


@given(st.randoms(use_true_random=False))
def test_the_parts_of_two_outcomes_of_one_agent_never_mix(rng: random.Random) -> None:
    told = [outcome(10, "x"), outcome(10, "y"), outcome(10, "z", state="notfound")]
    arriving = [payload for one in told for payload in packed(one)]
    rng.shuffle(arriving)
    given_out = together(Assembly(), arriving)
    assert sorted(map(str, given_out)) == sorted(map(str, told))


@given(st.data())
def test_while_a_part_is_missing_there_is_no_outcome(data: st.DataObject) -> None:
    payloads = packed(outcome(10))
    missing = data.draw(st.integers(0, len(payloads) - 1))
    assembly = Assembly()
    assert together(assembly, payloads[:missing] + payloads[missing + 1 :]) == []
    assert together(assembly, [payloads[missing]]) == [outcome(10)]


@given(st.booleans(), st.data())
def test_an_altered_payload_is_refused(sealed: bool, data: st.DataObject) -> None:
    payload = bytearray(packed(outcome(), sealto=SEALTO if sealed else None)[0])
    payload[data.draw(st.integers(0, len(payload) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises((Refused, BadInput)):
        opened(bytes(payload))


@given(st.binary())
def test_any_bytes_are_refused(payload: bytes) -> None:
    for kind in (b"", b"\0", b"\1"):
        with pytest.raises((Refused, BadInput)):
            opened(kind + payload)


def head(**changes: Any) -> dict[str, Any]:
    key = base64.b64encode(AGENT.public_key).decode()
    plain = {"action": ACTION_ID, "digest": DIGEST, "agent": AGENT.id, "key": key, "sealto": None, "whole": "0" * 64}
    return {**plain, "part": 1, "parts": 1, **changes}


def framed(line: bytes, *, by: Identity = AGENT, kind: str = OUTCOME) -> bytes:
    return b"\0" + by.frame(kind, line + b"\n{}")


OTHER_KEY = base64.b64encode(OTHER.public_key).decode()


@pytest.mark.parametrize(
    "payload",
    [
        framed(orjson.dumps(head(agent=OTHER.id))),
        framed(orjson.dumps(head(action=OTHER_ID))),
        framed(orjson.dumps(head(key=OTHER_KEY))),
        framed(orjson.dumps(head(key="?"))),
        framed(orjson.dumps(head()), by=OTHER),
        framed(orjson.dumps(head(key=OTHER_KEY)), by=OTHER),
        framed(orjson.dumps(head(key=OTHER_KEY, agent=OTHER.id)), by=OTHER),
        framed(orjson.dumps(head()), kind="facts"),
        framed(orjson.dumps(head(sealto=SEALTO))),
        framed(orjson.dumps(head(part=0))),
        framed(orjson.dumps(head(parts=answer.MAX_PARTS + 1))),
        framed(orjson.dumps(head(extra=1))),
        framed(orjson.dumps(head())[:-1] + b',"part":1}'),
        framed(b" " * 5000 + orjson.dumps(head())),
        b"\0" + AGENT.frame(OUTCOME, orjson.dumps(head())),
    ],
    ids=[
        "speaks for another agent",
        "about another action",
        "with another key",
        "with no key",
        "signed by another",
        "another's key and signature",
        "another agent's, on this subject",
        "a frame of another kind",
        "says that it was sealed",
        "part 0",
        "more parts than there can be",
        "unknown key",
        "a key twice",
        "a head too long",
        "no slice",
    ],
)
def test_a_part_that_is_not_what_its_subject_says_is_refused(payload: bytes) -> None:
    opened(framed(orjson.dumps(head())))
    with pytest.raises((Refused, BadInput)):
        opened(payload)


def test_a_sealed_answer_is_for_its_asker_its_action_and_its_agent() -> None:
    payload = packed(outcome(0))[0]
    for key in (None, generate_sealing_key()):
        with pytest.raises(NotSealedToUs):
            opened(payload, key)
    for action, agent in ((OTHER_ID, AGENT.id), (ACTION_ID, OTHER.id)):
        with pytest.raises(NotSealedToUs):
            unpack(payload, action=action, agent=agent, private_key=PRIVATE)


def test_what_somebody_sealed_again_to_another_console_still_names_the_first() -> None:
    plain = packed(outcome(0), sealto=None)[0]
    context = f"investigator/1 outcome {ACTION_ID} {AGENT.id}".encode()
    with pytest.raises(BadFrame, match="not sealed as it says"):
        opened(b"\1" + seal(public_sealing_key(PRIVATE), plain[1:], context=context))


def test_an_outcome_that_is_too_large_is_told_as_such() -> None:
    with pytest.raises(BadInput, match="at most"):
        packed(outcome(800))


def assembled(assembly: Assembly, piece: bytes, **changes: Any) -> Outcome | Piece | None:
    return assembly.add(msgspec.convert(head(**changes), Head), piece)


def test_parts_that_cannot_be_are_refused() -> None:
    for piece, changes in ((b"x" * (PART + 1), {}), (b"x", {"part": 3, "parts": 2}), (b"{}", {"whole": "f" * 64})):
        with pytest.raises(BadInput):
            assembled(Assembly(), piece, **changes)


def test_an_agent_that_starts_many_answers_fills_no_memory_and_can_still_end_one() -> None:
    assembly, payloads = Assembly(), packed(outcome(10))
    together(assembly, payloads[1:])
    for number in range(100):
        with pytest.raises(BadInput) if number >= 3 else memoryview(b""):
            assembled(assembly, b"x", whole=f"{number:064}", parts=2)
    assert len(assembly.parts) == answer.MAX_ANSWERS_AT_A_TIME
    assert together(assembly, payloads[:1]) == [outcome(10)]


def test_what_was_put_together_is_not_kept_nor_put_together_again() -> None:
    assembly, payloads = Assembly(), packed(outcome(10))
    assert len(together(assembly, payloads)) == 1
    assert not assembly.parts
    assert together(assembly, payloads * 3) == []
    assert not assembly.parts


@given(st.binary())
def test_any_bytes_are_an_outcome_or_bad_input(document: bytes) -> None:
    with pytest.raises(BadInput):
        decode(document)


@pytest.mark.parametrize("state", ["expired", "offline", "lost", "Found"])
def test_an_agent_cannot_claim_a_state_that_is_not_its_own_to_say(state: str) -> None:
    with pytest.raises(BadInput):
        decode(orjson.dumps({"state": state, "name": "x"}))


def test_numbers_of_any_size_in_a_result_can_be_told_on() -> None:
    read = decode(b'{"state":"found","name":"x","results":[{"elements":[1e30,18446744073709551615,2.0]}]}')
    assert isinstance(read, Outcome)
    assert read.results[0].elements == [1e30, 18446744073709551615, 2]
    orjson.dumps(msgspec.to_builtins(read))


def test_every_error_here_is_one_line() -> None:
    for payload in (b"", b"\7", framed(b'{"a\\nb":1}'), framed(orjson.dumps(head(action="x\ny")))):
        with pytest.raises(InvestigatorError) as caught:
            opened(payload)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("sealto", [SEALTO, None])
def test_a_piece_travels_like_an_outcome_in_one_payload(sealto: str | None) -> None:
    (payload,) = packed(piece_of(7), sealto=sealto)
    assert together(Assembly(), [payload, payload]) == [piece_of(7)]


def test_a_piece_that_is_larger_than_a_part_is_not_packed() -> None:
    with pytest.raises(BadInput, match="at most"):
        packed(Piece(operation=0, number=1, elements=["x" * PART]))


def test_a_piece_in_several_parts_is_refused() -> None:
    document = msgspec.json.encode(piece_of())
    assembly = Assembly()
    head = {"whole": hashlib.sha256(document).hexdigest(), "parts": 2}
    assembled(assembly, document[:5], part=1, **head)
    with pytest.raises(BadInput, match="several parts"):
        assembled(assembly, document[5:], part=2, **head)


def test_an_agent_that_sends_pieces_without_end_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answer, "MAX_PIECES", 3)
    assembly = Assembly()
    assert len(together(assembly, [packed(piece_of(number))[0] for number in (1, 2, 3)])) == 3
    with pytest.raises(BadInput, match="more pieces"):
        together(assembly, packed(piece_of(4)))
    assert together(assembly, packed(outcome(1))) == [outcome(1)]


def test_pieces_together_are_no_larger_than_an_outcome_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answer, "MAX_OUTCOME_BYTES", 100)
    assembly = Assembly()
    together(assembly, packed(piece_of(1)))
    together(assembly, packed(piece_of(2)))
    with pytest.raises(BadInput, match="100 bytes"):
        together(assembly, packed(piece_of(3)))


@pytest.mark.parametrize(
    "wrong",
    [
        b'{"operation":-1,"number":1,"elements":[]}',
        b'{"operation":0,"number":0,"elements":[]}',
        b'{"operation":0,"number":1025,"elements":[]}',
        b'{"operation":0,"number":1}',
        b'{"operation":0,"number":1,"elements":[],"state":"found"}',
        b'{"state":"found","name":"x","pieces":[1025]}',
        b'{"state":"found","name":"x","pieces":[-1]}',
        b'{"state":"found","name":"x","pieces":[1000,1000]}',
    ],
)
def test_pieces_that_cannot_be_are_refused(wrong: bytes) -> None:
    with pytest.raises(BadInput):
        decode(wrong)
