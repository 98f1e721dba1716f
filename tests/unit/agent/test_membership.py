"""What makes an agent one of the fleet, as files, and what of it is passed over."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from investigator.agent.membership import JWT_FILE, PROOF_FILE, USER_KEY_FILE, Membership
from investigator.broker import operator
from investigator.errors import BadInput, DeploymentError
from investigator.protocol.identity import Identity
from investigator.protocol.token import SecretToken, machine_mark, prove

A, B = Identity(b"a" * 32), Identity(b"b" * 32)
HERE = machine_mark("1", "")


@pytest.fixture
def broker(tmp_path: Path) -> Path:
    operator.create(tmp_path / "broker", now_s=int(time.time()))
    return tmp_path / "broker"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "state").mkdir(mode=0o700)
    return tmp_path / "state"


def minted(broker: Path, who: Identity, membership: Membership) -> str:
    user = membership.credentials.public_key
    return operator.mint_agent(broker, agent=who.id, user_key=user, lives_s=60, now_s=int(time.time()))


def test_user_credential_and_proof_are_there_after_a_restart_and_only_the_owners(broker: Path, folder: Path) -> None:
    first = Membership(folder, A, HERE)
    assert first.credentials.jwt == ""
    assert first.proof is None
    token = minted(broker, A, first)
    first.keep_jwt(token)
    first.keep_proof(prove(SecretToken(b"t" * 32, "s"), key=A.public_key, name="n", machine=HERE, now_s=1))
    again = Membership(folder, A, HERE)
    assert again.credentials == first.credentials
    assert again.credentials.jwt == token
    assert again.proof == first.proof
    assert {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()} == dict.fromkeys(
        (USER_KEY_FILE, JWT_FILE, PROOF_FILE), 0o600
    )


def test_a_credential_for_another_user_or_another_agent_is_refused(broker: Path, folder: Path) -> None:
    mine, others = Membership(folder, A, HERE), Membership(None, B, HERE)
    for token in (minted(broker, B, mine), minted(broker, A, others), "rubbish", ""):
        with pytest.raises(BadInput):
            mine.keep_jwt(token)
    assert mine.credentials.jwt == ""


def test_what_belongs_to_another_key_or_is_damaged_is_passed_over(broker: Path, folder: Path) -> None:
    first = Membership(folder, A, HERE)
    first.keep_jwt(minted(broker, A, first))
    first.keep_proof(prove(SecretToken(b"t" * 32, "s"), key=A.public_key, name="n", machine=HERE, now_s=1))
    other = Membership(folder, B, HERE)
    assert (other.credentials.jwt, other.proof) == ("", None)
    for name in (JWT_FILE, PROOF_FILE):
        (folder / name).write_bytes(b'\xff{"')
    damaged = Membership(folder, A, HERE)
    assert (damaged.credentials.jwt, damaged.proof) == ("", None)
    assert damaged.credentials.seed == first.credentials.seed


def test_a_user_key_that_others_can_read_or_that_is_none_stops_the_agent(folder: Path) -> None:
    Membership(folder, A, HERE)
    (folder / USER_KEY_FILE).chmod(0o644)
    with pytest.raises(DeploymentError, match="others than its owner"):
        Membership(folder, A, HERE)
    (folder / USER_KEY_FILE).chmod(0o600)
    (folder / USER_KEY_FILE).write_text("SUAAA")
    with pytest.raises(DeploymentError, match=r"agent\.nk"):
        Membership(folder, A, HERE)
