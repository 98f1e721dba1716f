"""An agent's key belongs to a machine."""

from __future__ import annotations

import base64
from pathlib import Path

import orjson
import pytest

from investigator.agent.identity_file import KEY_FILE, load_identity
from investigator.agent.membership import Membership
from investigator.agent.state import AgentState
from investigator.protocol.token import check_succession, machine_mark

ID_ONLY, HERE, THERE = machine_mark("1", ""), machine_mark("1", "u"), machine_mark("1", "v")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tmp_path.chmod(0o700)
    return tmp_path


def made_on(folder: Path) -> str:
    return str(orjson.loads((folder / KEY_FILE).read_bytes())["machine"])


def test_a_key_stays_on_its_machine_and_more_is_learned_of_it(folder: Path) -> None:
    identity, new, former = load_identity(folder, ID_ONLY)
    assert (new, former) == (True, "")
    for machine in (ID_ONLY, "", HERE, ID_ONLY):
        again, new, former = load_identity(folder, machine)
        assert (again.id, new, former) == (identity.id, False, "")
    assert made_on(folder) == HERE


def test_a_key_without_a_machine_takes_the_one_that_it_is_found_on(folder: Path) -> None:
    identity, _, _ = load_identity(folder, "")
    assert load_identity(folder, HERE)[0].id == identity.id
    assert load_identity(folder, THERE)[0].id != identity.id


def test_on_another_machine_there_is_a_new_key_user_and_outbox_and_the_old_key_vouches_for_it(folder: Path) -> None:
    with AgentState(folder, machine=HERE) as state:
        old, user = state.identity, state.membership.credentials.public_key
        state.outbox.add("mig.result.x.old", [b"what the old key said"])
    with AgentState(folder, machine=THERE) as state:
        key = base64.b64encode(state.identity.public_key).decode()
        assert state.identity.id != old.id
        assert state.membership.credentials.public_key != user
        assert state.membership.succession is not None
        assert check_succession(state.membership.succession, key=key) == old.id
        assert state.outbox.pending() == []
        new = state.identity.id
    with AgentState(folder, machine=THERE) as state:
        assert state.identity.id == new
        assert state.membership.succession is not None


def test_a_crash_between_the_word_for_the_new_key_and_the_key_leaves_the_old_one(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, _, _ = load_identity(folder, HERE)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("investigator.agent.identity_file._write", full)
    with pytest.raises(Exception, match="No space left"):
        load_identity(folder, THERE)
    monkeypatch.undo()
    assert load_identity(folder, HERE)[0].id == old.id
    assert Membership(folder, old, HERE).succession is None, "it is another key's"
    assert load_identity(folder, THERE)[2] == old.id
