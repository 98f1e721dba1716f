"""Kinds of signed thing: each is read as what it says it is, strictly, and passes for nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import msgspec
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from investigator.errors import BadInput
from investigator.protocol.action import parse_action
from investigator.protocol.admission import Refusal, admit
from investigator.protocol.cancel import judge_cancel, parse_cancel
from investigator.protocol.kinds import ACTION, CANCEL, REVOCATION, claimed_kind, read_signed
from signed import ACTION_ID, NOW_S, cancel_document, document, host, sealed_in, sign, written


class Manifest(msgspec.Struct, forbid_unknown_fields=True):
    """A kind that a later part adds: one struct, one reader."""

    version: str
    type: Literal["manifest"] = "manifest"


def parse_manifest(text: bytes) -> Manifest:
    return read_signed(text, Manifest, kind="manifest", max_bytes=1000)


DOCUMENTS: dict[str, dict[str, Any]] = {
    "action": document(),
    "cancel": cancel_document(written()),
    "manifest": {"type": "manifest", "version": "1.0"},
}
READERS: dict[str, Callable[[bytes], Any]] = {
    "action": parse_action,
    "cancel": parse_cancel,
    "manifest": parse_manifest,
}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("kind", DOCUMENTS)
def test_each_kind_is_read_as_itself_and_never_as_another(kind: str, reader: str) -> None:
    text = orjson.dumps(DOCUMENTS[kind])
    if kind == reader:
        assert READERS[reader](text).type == kind
        return
    with pytest.raises(BadInput, match=f"^{reader}: type: '{kind}'; it must be '{reader}'$"):
        READERS[reader](text)


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("kind", DOCUMENTS)
def test_a_kind_that_only_claims_to_be_another_lacks_what_that_one_has(kind: str, reader: str) -> None:
    if kind != reader:
        with pytest.raises(BadInput, match=f"^{reader}: "):
            READERS[reader](orjson.dumps({**DOCUMENTS[kind], "type": reader}))


@pytest.mark.parametrize("kind", DOCUMENTS)
@pytest.mark.parametrize(
    "spoil", ["no type", "Type", "TYPE", "type twice", "unknown key", "null", "list", "case of a key"]
)
def test_signed_bytes_are_read_strictly(kind: str, spoil: str) -> None:
    text = orjson.dumps(DOCUMENTS[kind]).decode()
    other = next(key for key in DOCUMENTS[kind] if key != "type")
    spoiled = {
        "no type": text.replace(f'"type":"{kind}",', ""),
        "Type": text.replace('"type"', '"Type"'),
        "TYPE": text.replace('"type"', '"TYPE"'),
        "type twice": text.replace("{", f'{{"type":"{kind}",', 1),
        "unknown key": text.replace("{", '{"comment":"x",', 1),
        "null": text.replace(f'"type":"{kind}"', '"type":null'),
        "list": f"[{text}]",
        "case of a key": text.replace(f'"{other}"', f'"{other.title()}"'),
    }[spoil]
    assert spoiled != text
    READERS[kind](text.encode())
    with pytest.raises(BadInput, match=f"^{kind}: "):
        READERS[kind](spoiled.encode())


@pytest.mark.parametrize("kind", [kind for kind in DOCUMENTS if kind != "action"])
def test_the_gate_of_actions_admits_nothing_else_whoever_signed_it(kind: str) -> None:
    text = orjson.dumps(DOCUMENTS[kind])
    verdict = admit(sealed_in(text, sign(text)), host(), action_id=ACTION_ID, now_s=NOW_S)
    assert isinstance(verdict, Refusal)
    assert verdict.code == "malformed"


@pytest.mark.parametrize("kind", [kind for kind in DOCUMENTS if kind != "cancel"])
def test_the_gate_of_cancels_takes_nothing_else_whoever_signed_it(kind: str) -> None:
    text = orjson.dumps(DOCUMENTS[kind])
    verdict = judge_cancel(sealed_in(text, sign(text)), host(), action_id=ACTION_ID, now_s=NOW_S)
    assert isinstance(verdict, Refusal)
    assert verdict.code == "malformed"


def test_a_message_goes_to_the_gate_of_what_it_claims_to_be() -> None:
    assert claimed_kind(sealed_in(written())) == ACTION
    assert claimed_kind(sealed_in(orjson.dumps(DOCUMENTS["cancel"]))) == CANCEL
    assert claimed_kind(b'{"v":1,"revocation":""}') == REVOCATION
    assert claimed_kind(sealed_in(orjson.dumps(DOCUMENTS["manifest"]))) == ACTION
    for rubbish in (b"", b"{", b"null", b"[]", b'{"action":1}', b'{"action":"[]"}', b'{"action":"{\\"type\\":[]}"}'):
        assert claimed_kind(rubbish) == ACTION


def test_only_short_signed_bytes_are_looked_into_before_anybody_vouches_for_them() -> None:
    long = cancel_document(written(), reason="x" * 20_000)
    assert claimed_kind(sealed_in(orjson.dumps(long))) == ACTION


@given(st.binary())
def test_whatever_comes_is_some_kind(raw: bytes) -> None:
    assert claimed_kind(raw) == ACTION


@pytest.mark.parametrize("kind", ["cancel", "action", "tally", "canc\\u0065l", "\\u0063ancel"])
@pytest.mark.parametrize("key", ["action", "revocation", "r\\u0065vocation", "other"])
def test_what_it_claims_is_read_however_its_letters_are_written(kind: str, key: str) -> None:
    """The quick look that spares most messages the reading must see whatever reading them would."""
    inner = orjson.dumps(f'{{"type":"{kind}"}}')
    raw = b'{"v":1,"%b":%b}' % (key.encode(), inner)
    document = orjson.loads(raw)
    text = document.get("action")
    claimed = orjson.loads(text)["type"] if isinstance(text, str) else None
    expected = REVOCATION if "revocation" in document else CANCEL if claimed == CANCEL else ACTION
    assert claimed_kind(raw) == expected
