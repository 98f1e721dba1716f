"""An action that several people sign, as files: what is read, what is refused, and that no byte is ever changed."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from investigator.console.action_file import read_action_file
from investigator.console.rules import Rules
from investigator.console.signed_file import (
    Altered,
    check_content,
    looks_signed,
    read_signed_file,
    sealed_for,
    sign_file,
)
from investigator.console.verdict import Verdict, judge_file
from investigator.errors import BadInput, BadTarget, InvestigatorError, Refused
from investigator.pgp import Keyring
from investigator.pgp.framing import SIGNATURE, dearmor
from investigator.pgp.secret import generate_key
from investigator.pgp.signer import KeyFileSigner
from investigator.protocol.acl import parse_acl
from investigator.protocol.action import parse_action
from investigator.protocol.envelope import Envelope
from signed import rfc3339

ADA, BOB, EVE = (generate_key(name, f"{name}@example.org", None) for name in ("ada", "bob", "eve"))
OPERATION = {"module": "file", "parameters": {"searches": {"s1": {"paths": ["/etc"], "names": ["^passwd$"]}}}}
BOTH = {
    "minimumweight": 2,
    "investigators": {n: {"fingerprint": k.fingerprint, "weight": 1} for n, k in (("ada", ADA), ("bob", BOB))},
}


def signer(key: Any) -> KeyFileSigner:
    return KeyFileSigner(key.secret.encode())


def rules() -> Rules:
    keyring = Keyring.load({"ada": ADA.public.encode(), "bob": BOB.public.encode()})
    keys = [ADA.fingerprint, BOB.fingerprint]
    acl = parse_acl(orjson.dumps({"default": BOTH}), modules=["file"], keys=keys)
    return Rules(acl, keyring, Path("acl.json"), Path("keyring"))


def content(**changes: Any) -> bytes:
    now = time.time()
    document = {
        "type": "action",
        "id": "0123456789abcdef0123456789abcdef",
        "name": "n",
        "target": "os='linux'",
        "condition": ["=", ["column", "os"], ["text", "linux"]],
        "validfrom": rfc3339(now - 60),
        "expireafter": rfc3339(now + 600),
        "operations": [OPERATION],
        "syntaxversion": 2,
        **changes,
    }
    return orjson.dumps(document)


@pytest.fixture
def action(tmp_path: Path) -> Path:
    path = tmp_path / "action.json"
    path.write_bytes(content())
    return path


def verdict(path: Path) -> Verdict:
    file = read_signed_file(path)
    return judge_file(file, parse_action(file.envelope.signed_bytes), rules(), now_s=time.time())


def problems(path: Path) -> list[str]:
    return [one.problem for one in verdict(path).told]


@pytest.mark.parametrize("order", [(ADA, BOB), (BOB, ADA)])
@pytest.mark.parametrize("as_envelope", [False, True])
def test_two_people_sign_the_same_bytes_in_any_order(action: Path, order: Any, as_envelope: bool) -> None:
    before = action.read_bytes()
    if as_envelope:
        action.write_bytes(Envelope(action=before.decode()).encode())
    for key in order:
        assert verdict(action).missing
        sign_file(read_signed_file(action), signer(key))
    assert not verdict(action).missing
    assert verdict(action).signers == {ADA.fingerprint, BOB.fingerprint}
    assert read_signed_file(action).envelope.signed_bytes == before
    if not as_envelope:
        assert action.read_bytes() == before
        names = sorted(path.name for path in action.parent.iterdir())
        assert names == ["action.json", *sorted(f"action.json.{key.fingerprint}.asc" for key in (ADA, BOB))]
    assert read_action_file(action).envelope == read_signed_file(action).envelope  # `run -i` reads the same


@pytest.mark.parametrize("as_envelope", [False, True])
def test_signing_again_replaces_the_same_persons_signature(action: Path, as_envelope: bool) -> None:
    if as_envelope:
        action.write_bytes(Envelope(action=action.read_text()).encode())
    for key in (ADA, BOB, ADA, ADA):
        sign_file(read_signed_file(action), signer(key))
    assert len(read_signed_file(action).held) == 2
    assert problems(action) == ["", ""]


def test_what_gpg_names_by_itself_is_read_and_binary_too(action: Path) -> None:
    signature = signer(ADA).sign(action.read_bytes())
    action.with_name("action.json.asc").write_text(signature)
    action.with_name("action.json.sig").write_bytes(dearmor(signer(BOB).sign(action.read_bytes()).encode(), SIGNATURE))
    action.with_name("action.json.bak.1.asc").write_text("another file's")
    action.with_name("action.jsonx.asc").write_text("another file's")
    assert [one.place for one in read_signed_file(action).held] == ["action.json.asc", "action.json.sig"]
    assert not verdict(action).missing


@pytest.mark.parametrize("rubbish", [b"", b"rubbish", b"\x80\xff", b"\xc3\xa9", b"x" * 100_000])
def test_rubbish_beside_an_action_is_told_and_spoils_nothing(action: Path, rubbish: bytes) -> None:
    sign_file(read_signed_file(action), signer(ADA))
    action.with_name("action.json.zzz.asc").write_bytes(rubbish)
    good, bad = verdict(action).told
    assert (good.problem, good.fingerprint) == ("", ADA.fingerprint)
    assert bad.problem
    assert not bad.altered
    assert len(read_signed_file(action).envelope.pgpsignatures) == 1


@pytest.mark.parametrize("at", range(0, 380, 20))
def test_whoever_changes_a_byte_between_signatures_gets_clear_words(action: Path, at: int) -> None:
    sign_file(read_signed_file(action), signer(ADA))
    raw = bytearray(action.read_bytes())
    raw[at % len(raw)] ^= 1
    action.write_bytes(raw)
    try:
        found = verdict(action)
    except BadInput:
        return  # no action any more
    assert found.altered
    assert not found.signers
    with pytest.raises(Altered, match=r"altered since it was signed: action\.json\.[0-9A-F]{40}\.asc says it is ada's"):
        found.refuse_altered("action.json")


def test_a_strangers_signature_is_no_alteration(action: Path) -> None:
    sign_file(read_signed_file(action), signer(EVE))
    found = verdict(action)
    found.refuse_altered("action.json")
    assert "is not trusted" in found.told[0].problem
    assert found.told[0].name == "somebody unknown here"


def test_a_condition_that_is_not_what_the_target_says_is_refused() -> None:
    for condition in (["bool", True], ["=", ["column", "os"], ["text", "darwin"]]):
        with pytest.raises(Refused, match="is not what its target"):
            check_content(Envelope(action=content(condition=condition).decode()), now_s=time.time())
    with pytest.raises(Refused, match="is not what its target"):
        check_content(Envelope(action=content(target="all").decode()), now_s=time.time())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"expireafter": lambda: rfc3339(time.time() - 1)}, "it expired at"),  # by the time that it runs
        ({"target": "os = "}, "its target is none"),
        ({"operations": [{"module": "nomodule", "parameters": {}}]}, "operation 1: module 'nomodule'"),
        ({"operations": [{"module": "file", "parameters": {"searches": 1}}]}, "operation 1: module file"),
        ({"operations": []}, "operations"),
        ({"type": "cancel"}, "type"),
        ({"id": "x"}, "id"),
        ({"more": 1}, "more"),
    ],
)
def test_what_no_agent_would_run_is_not_signed(changes: dict[str, Any], message: str) -> None:
    changed = {key: value() if callable(value) else value for key, value in changes.items()}
    with pytest.raises((BadInput, BadTarget)) as caught:
        check_content(Envelope(action=content(**changed).decode()), now_s=time.time())
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "no JSON"),
        (b"[]", "neither an action as it is signed nor an envelope"),
        (orjson.dumps({"name": "n", "target": "all", "operations": [OPERATION]}), "neither an action"),
        (b'{"v": 1, "action": "x", "pgpsignatures": [], "more": 1}', "more"),
        (b'{"v": 2, "action": "x", "pgpsignatures": []}', "v: "),
        (b'{"type": "action", "type": "action"}', "stands twice"),
        (b"[" * 5000, "no JSON"),
    ],
)
def test_files_that_are_neither_form_are_one_line(tmp_path: Path, raw: bytes, message: str) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(raw)
    with pytest.raises(BadInput) as caught:
        read_signed_file(path)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused_and_nothing_else(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "fuzz.json"
    path.write_bytes(raw)
    try:
        read_signed_file(path)
    except BadInput:
        assert not looks_signed(raw)


def test_seventeen_signatures_are_too_many(action: Path) -> None:
    for number in range(16):
        action.with_name(f"action.json.{number}.asc").write_text("x")
    with pytest.raises(BadInput, match="16 signatures, which is the most"):
        sign_file(read_signed_file(action), signer(ADA))
    action.with_name("action.json.16.asc").write_text("x")
    with pytest.raises(BadInput, match="17 signatures beside it"):
        read_signed_file(action)


def test_a_signature_file_of_another_key_under_this_ones_name_is_not_overwritten(action: Path) -> None:
    place = action.with_name(f"action.json.{ADA.fingerprint}.asc")
    place.write_text(signer(BOB).sign(action.read_bytes()))
    with pytest.raises(InvestigatorError, match="is there already"):
        sign_file(read_signed_file(action), signer(ADA))
    assert problems(action) == [""]


def test_who_can_open_the_results_is_told_by_name_or_as_unknown() -> None:
    key = "7Dy8XToU4/YzqP+WjisB1EDHSv/LOuqkRrjOv1LJNF4="
    sealed = parse_action(content(sealto=key))
    assert sealed_for(sealed, {key: "ada"}) == "ada alone"
    assert sealed_for(sealed, {}).startswith("UNKNOWN")
    assert "not sealed" in sealed_for(parse_action(content()), {})
