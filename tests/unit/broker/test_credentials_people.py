"""Further investigators on the broker: each with a user of their own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from investigator.broker.credentials import (
    USERS_FILE,
    Role,
    accounts,
    add_person,
    create,
    load_users,
    remove_person,
)
from investigator.errors import DeploymentError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    create(tmp_path / "broker")
    return tmp_path / "broker"


def test_a_person_comes_and_goes_and_the_others_stay(folder: Path) -> None:
    before = (folder / USERS_FILE).read_text()
    bob, carol = add_person(folder, "bob"), add_person(folder, "carol")
    users = load_users(folder)
    assert users.people == {"bob": bob.public_key, "carol": carol.public_key}
    assert remove_person(folder, "bob") is True
    assert remove_person(folder, "bob") is False
    assert load_users(folder).people == {"carol": carol.public_key}
    remove_person(folder, "carol")
    assert json.loads((folder / USERS_FILE).read_text()) == {**json.loads(before), "people": {}}
    assert (folder / USERS_FILE).stat().st_mode & 0o777 == 0o600


def test_a_person_may_do_what_an_investigator_may_and_hears_only_their_own_answers(folder: Path) -> None:
    bob = add_person(folder, "bob")
    first, _, person = accounts(load_users(folder))["MIG"]["users"]
    assert person["nkey"] == bob.public_key
    assert person["permissions"]["publish"] == first["permissions"]["publish"]
    assert "_INBOX.bob.>" in person["permissions"]["subscribe"]
    assert f"_INBOX.{Role.INVESTIGATOR}.>" not in person["permissions"]["subscribe"]


@pytest.mark.parametrize(
    "name", ["", "broker", "agents", "investigator", "a.b", "*", ">", "a b", "-a", "ü", "x" * 33, "../x"]
)
def test_names_that_are_no_file_or_token_or_somebody_elses_are_refused(folder: Path, name: str) -> None:
    with pytest.raises(DeploymentError, match="cannot be a broker user's name"):
        add_person(folder, name)
    assert load_users(folder).people == {}


def test_nobody_is_added_twice(folder: Path) -> None:
    bob = add_person(folder, "bob")
    with pytest.raises(DeploymentError, match="bob is there already"):
        add_person(folder, "bob")
    assert load_users(folder).people == {"bob": bob.public_key}


@pytest.mark.parametrize("people", ['{"bob": "U"}', '{"a.b": "KEY"}', "[]", "1"])
def test_people_that_are_none_are_refused_with_the_file(folder: Path, people: str) -> None:
    users = json.loads((folder / USERS_FILE).read_text())
    key = users["broker"]
    (folder / USERS_FILE).write_text(json.dumps({**users, "people": json.loads(people.replace("KEY", key))}))
    with pytest.raises(DeploymentError):
        load_users(folder)
