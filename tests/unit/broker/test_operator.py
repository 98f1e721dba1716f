"""A deployment's authority: whose key signs what, what a token may say, and what happens to who is shut out."""

import stat
import time

import pytest

from investigator.broker import jwt, nkeys, operator
from investigator.broker.credentials import Credentials
from investigator.broker.operator import MAX_AGENT_LIFE_S, USERS
from investigator.broker.scopes import TEMPLATES, Account, Scope
from investigator.errors import DeploymentError

NOW_S = int(time.time())
USER = nkeys.public_of(nkeys.generate_seed(nkeys.Kind.USER))


@pytest.fixture
def folder(broker_folder):
    return broker_folder


def public(path):
    return nkeys.public_of(path.read_text().strip())


def mint(folder, agent="a1", *, user_key=USER, lives_s=60, now_s=NOW_S):
    return operator.mint_agent(folder, agent=agent, user_key=user_key, lives_s=lives_s, now_s=now_s)


def test_a_new_deployment_has_the_chain_from_operator_to_user(folder):
    _, top = operator.load_operator(folder)
    assert top.sub == public(folder / "offline" / "operator.nk")
    assert top.nats["signing_keys"] == [public(folder / "keys" / "operator.nk")]
    assert top.nats["strict_signing_key_usage"] is True
    for account in Account:
        claims = operator.load_account(folder, account)
        assert (claims.iss, claims.sub) == (top.nats["signing_keys"][0], public(folder / "offline" / f"{account}.nk"))
    for scope in USERS:
        user = Credentials.load(folder / f"{scope}.creds")
        of = operator.load_account(folder, TEMPLATES[scope].account)
        claims = jwt.verify(user.jwt, issuer=public(folder / "keys" / f"{scope}.nk"), kind="user")
        assert (user.name, claims.nats["issuer_account"]) == (scope, of.sub)
        assert claims.iss in {key["key"] for key in of.nats["signing_keys"]}


def test_all_of_it_is_private(folder):
    for path in folder.rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def test_nothing_is_ever_overwritten(folder):
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(DeploymentError, match="File exists"):
        operator.create(folder, now_s=NOW_S)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_an_agents_token_carries_no_permissions_and_ends(folder):
    claims = jwt.decode(mint(folder, lives_s=60))
    assert (claims.name, claims.sub, claims.iat, claims.exp) == ("a1", USER, NOW_S, NOW_S + 60)
    account = operator.load_account(folder, Account.AGENTS).sub
    assert claims.nats == {"type": "user", "version": 2, "issuer_account": account}


@pytest.mark.parametrize("agent", ["", "a.b", "*", ">", "a b", "a1\n", "ü", "x" * 65, "{{name()}}"])
def test_an_id_that_would_widen_a_template_is_not_signed(folder, agent):
    with pytest.raises(ValueError, match="no agent's id"):
        mint(folder, agent)


@pytest.mark.parametrize("lives_s", [0, -1, MAX_AGENT_LIFE_S + 1])
def test_an_agents_token_lives_within_bounds(folder, lives_s):
    with pytest.raises(ValueError, match="lives from 1 to"):
        mint(folder, lives_s=lives_s)


@pytest.mark.parametrize("key", ["", "U", nkeys.encode_public(nkeys.Kind.ACCOUNT, bytes(32))])
def test_a_key_that_is_no_users_is_neither_signed_nor_shut_out(folder, key):
    with pytest.raises(ValueError, match="no user's public key"):
        mint(folder, user_key=key)
    with pytest.raises(ValueError, match="no user's public key"):
        operator.revoke_user(folder, account=Account.AGENTS, user_key=key, now_s=NOW_S)


def test_daily_work_needs_no_identity(folder):
    for path in (folder / "offline").iterdir():
        path.unlink()
    mint(folder)
    operator.add_person(folder, "bob", now_s=NOW_S)
    operator.revoke_user(folder, account=Account.AGENTS, user_key=USER, now_s=NOW_S)
    assert operator.remove_person(folder, "bob", now_s=NOW_S)
    assert operator.bring_up_to_date(folder, now_s=NOW_S) == []


def test_without_its_key_a_scope_mints_nobody_and_says_which(folder):
    (folder / "keys" / "agent.nk").unlink()
    with pytest.raises(DeploymentError, match=r"signing key .*agent\.nk: No such file"):
        mint(folder)


def test_who_is_shut_out_stands_in_the_account_beside_those_before(folder):
    other = nkeys.public_of(nkeys.generate_seed(nkeys.Kind.USER))
    before = operator.stamp(folder)
    first = operator.load_account(folder, Account.AGENTS)
    operator.revoke_user(folder, account=Account.AGENTS, user_key=USER, now_s=NOW_S)
    operator.revoke_user(folder, account=Account.AGENTS, user_key=other, now_s=NOW_S)
    claims = operator.load_account(folder, Account.AGENTS)
    assert claims.nats["revocations"] == {USER: NOW_S, other: NOW_S}
    assert {**claims.nats, "revocations": {}} == {**first.nats, "revocations": {}}
    assert claims.iat > first.iat  # a server keeps the newer
    assert operator.stamp(folder) != before
    assert "revocations" not in operator.load_account(folder, Account.MIG).nats


def test_people_come_and_go(folder):
    bob = operator.add_person(folder, "bob", now_s=NOW_S)
    operator.add_person(folder, "carol", now_s=NOW_S)
    assert operator.people(folder) == ["bob", "carol"]
    assert (bob.name, bob.expires_s) == ("bob", 0)
    assert operator.remove_person(folder, "bob", now_s=NOW_S) is True
    assert operator.remove_person(folder, "bob", now_s=NOW_S) is False
    assert operator.people(folder) == ["carol"]
    assert operator.load_account(folder, Account.MIG).nats["revocations"] == {bob.public_key: NOW_S}


@pytest.mark.parametrize("name", ["", ".", "a.b", "a b", "*", ">", "-a", "x" * 33, "ü", *Scope, "../x"])
def test_a_name_that_would_be_no_file_or_no_token_is_refused(folder, name):
    with pytest.raises(DeploymentError, match="cannot be a broker user's name"):
        operator.add_person(folder, name, now_s=NOW_S)
    assert operator.remove_person(folder, name, now_s=NOW_S) is False
    assert operator.people(folder) == []


def test_the_same_name_twice_is_refused(folder):
    operator.add_person(folder, "bob", now_s=NOW_S)
    before = (folder / "people" / "bob.jwt").read_text()
    with pytest.raises(DeploymentError, match="bob is there already"):
        operator.add_person(folder, "bob", now_s=NOW_S)
    assert (folder / "people" / "bob.jwt").read_text() == before


def test_accounts_of_another_version_are_signed_anew_and_keep_who_is_shut_out(folder):
    operator.revoke_user(folder, account=Account.AGENTS, user_key=USER, now_s=NOW_S)
    wanted = operator.load_account(folder, Account.AGENTS)
    old = {**wanted.nats, "imports": []}
    signing = (folder / "keys" / "operator.nk").read_text().strip()
    token = jwt.encode(signing, subject=wanted.sub, name="AGENTS", nats=old, now_s=NOW_S)
    (folder / "accounts" / "AGENTS.jwt").write_text(token)
    (folder / "keys" / "agent.nk").rename(folder / "agent.nk")  # minted elsewhere: the scope stays
    (line,) = operator.bring_up_to_date(folder, now_s=NOW_S)
    assert "account AGENTS" in line
    assert operator.load_account(folder, Account.AGENTS).nats == wanted.nats
    assert operator.bring_up_to_date(folder, now_s=NOW_S) == []


def test_without_the_operators_key_an_old_account_stays_and_is_told(folder):
    wanted = operator.load_account(folder, Account.AGENTS)
    signing = folder / "keys" / "operator.nk"
    old = {**wanted.nats, "imports": []}
    token = jwt.encode(signing.read_text().strip(), subject=wanted.sub, name="AGENTS", nats=old, now_s=NOW_S)
    (folder / "accounts" / "AGENTS.jwt").write_text(token)
    signing.unlink()
    (line,) = operator.bring_up_to_date(folder, now_s=NOW_S)
    assert "account AGENTS is not as this version makes it" in line
    assert operator.load_account(folder, Account.AGENTS).nats["imports"] == []


def test_an_account_of_another_operator_is_refused(folder, tmp_path):
    operator.create(tmp_path / "other", now_s=NOW_S)
    foreign = tmp_path / "other" / "accounts" / "MIG.jwt"
    (folder / "accounts" / "MIG.jwt").write_bytes(foreign.read_bytes())
    with pytest.raises(DeploymentError, match=r"MIG\.jwt: not an account that this deployment's operator signed"):
        operator.settings(folder)


@pytest.mark.parametrize("content", [b"", b"rubbish", b"a.b.c", bytes(100), b"\xff" * 10])
@pytest.mark.parametrize("name", ["operator.jwt", "accounts/AGENTS.jwt"])
def test_a_file_that_is_no_token_is_one_line(folder, name, content):
    (folder / name).write_bytes(content)
    with pytest.raises(DeploymentError, match=rf"{name}: "):
        operator.settings(folder)


def test_a_folder_of_an_older_version_says_so(tmp_path):
    (tmp_path / "users.json").write_text("{}")
    with pytest.raises(DeploymentError, match="made by an older version") as caught:
        operator.settings(tmp_path)
    assert "investigator init" in caught.value.hint
