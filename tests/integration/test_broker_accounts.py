"""Who is let in and who is shut out, while a real server runs: tokens, their ends, revocations, changed accounts."""

import asyncio
import contextlib
import time

import pytest

from investigator.broker import jwt, operator
from investigator.broker.claims import push_claims
from investigator.broker.connection import State, connect
from investigator.broker.credentials import Credentials
from investigator.broker.problems import ExpiredError, NotPermittedError
from investigator.broker.scopes import Account, Scope
from investigator.broker.server import EmbeddedServer
from investigator.errors import BrokerError
from investigator.protocol.subjects import RESULTS


class FullResolver(EmbeddedServer):
    """A server that keeps the accounts itself, as those of a cluster do."""

    def _settings(self):
        return {**super()._settings(), "resolver": {"type": "full", "dir": str(self.folder / "jwt")}}


@contextlib.asynccontextmanager
async def reading_accounts(server, hear):
    """The server is told of changed accounts, as `investigator broker` does it; yields what it notices."""
    notices, errors = hear(), hear()
    watching = asyncio.create_task(server.wait(errors, notices))
    try:
        yield notices, errors
    finally:
        watching.cancel()


def revoke(folder, user, account=Account.AGENTS):
    operator.revoke_user(folder, account=account, user_key=user.public_key, now_s=int(time.time()))


async def test_who_is_shut_out_is_disconnected_and_nobody_else(running, hear):
    async with running() as broker, reading_accounts(broker.server, hear) as (notices, errors):
        bad, good = broker.agents_credentials("bad"), broker.agents_credentials("good")
        told, others = hear(), hear()
        thief = await broker.connect(bad, on_state=told)
        honest = [await broker.connect(good, on_state=others), await broker.investigator(on_state=others)]
        revoke(broker.server.folder, bad)
        await told.until(lambda states: State.REFUSED in states)
        assert told == [State.CONNECTED, State.DISCONNECTED, State.REFUSED]
        assert "does not know these credentials" in thief.problem
        with pytest.raises(NotPermittedError):
            await connect(broker.server.url, bad, name="thief", give_up_after_s=60)
        await notices.until(1)
        for one in honest:
            await one.flush()
        assert others == [State.CONNECTED] * 2
        assert errors == []
        await broker.restart()
        with pytest.raises(NotPermittedError):
            await connect(broker.server.url, bad, name="thief", give_up_after_s=60)


async def test_a_revoked_key_comes_back_with_a_token_made_later(running):
    async with running(streams=False) as broker:
        folder, user = broker.server.folder, broker.agents_credentials("a1")
        now_s = int(time.time())
        operator.revoke_user(folder, account=Account.AGENTS, user_key=user.public_key, now_s=now_s)
        await broker.restart()
        with pytest.raises(NotPermittedError):
            await broker.connect(user, give_up_after_s=60)
        token = operator.mint_agent(folder, agent="a1", user_key=user.public_key, lives_s=60, now_s=now_s + 1)
        await broker.connect(user.with_jwt(token))


@pytest.mark.parametrize("kind", [EmbeddedServer, FullResolver])
async def test_a_server_that_is_told_through_the_system_account_shuts_out_at_once(broker_folder, hear, kind):
    async with kind(broker_folder, port=0) as server:
        system = Credentials.load(broker_folder / "system.creds")
        bad = Credentials.load(broker_folder / "investigator.creds")
        told = hear()
        async with (
            await connect(server.url, system, name="system") as teller,
            await connect(server.url, bad, name="thief", on_state=told),
        ):
            revoke(broker_folder, bad, Account.MIG)
            await push_claims(teller, broker_folder)
            await told.until(lambda states: State.REFUSED in states)
            await push_claims(teller, broker_folder)  # once more changes nothing


@pytest.mark.parametrize("kind", [EmbeddedServer, FullResolver])
async def test_pushed_accounts_of_another_deployment_let_nobody_in(broker_folder, tmp_path, kind):
    operator.create(tmp_path / "other", now_s=int(time.time()))
    async with kind(broker_folder, port=0) as server:
        system = Credentials.load(broker_folder / "system.creds")
        async with await connect(server.url, system, name="system") as teller:
            with contextlib.suppress(BrokerError):
                await push_claims(teller, tmp_path / "other")
            await push_claims(teller, broker_folder)
        stranger = Credentials.load(tmp_path / "other" / "services.creds")
        with pytest.raises(NotPermittedError):
            await connect(server.url, stranger, name="stranger", give_up_after_s=60)


async def test_an_account_that_is_none_is_refused_by_name(broker_folder, monkeypatch):
    monkeypatch.setattr("investigator.broker.claims.account_tokens", lambda folder: {"A" * 56: "rubbish"})
    async with FullResolver(broker_folder, port=0) as server:
        system = Credentials.load(broker_folder / "system.creds")
        async with await connect(server.url, system, name="system") as teller:
            with pytest.raises(BrokerError, match=r"^account A{56} is not changed: .+"):
                await push_claims(teller, broker_folder)


async def test_only_the_system_user_pushes_accounts(running):
    async with running(streams=False) as broker:
        for user in (Scope.SERVICES, Scope.INVESTIGATOR, Scope.ENROL):
            with pytest.raises(NotPermittedError):
                await push_claims(await broker.connect(user), broker.server.folder)


async def test_a_person_who_is_added_comes_in_and_is_shut_out_when_removed(running, hear):
    async with running() as broker, reading_accounts(broker.server, hear):
        folder, told = broker.server.folder, hear()
        bob = operator.add_person(folder, "bob", now_s=int(time.time()))
        connection = await broker.connect(bob, on_state=told)
        with pytest.raises(NotPermittedError):
            await connection.subscribe("_INBOX.investigator.>", hear())
        operator.remove_person(folder, "bob", now_s=int(time.time()))
        await told.until(lambda states: State.REFUSED in states)


async def test_an_agent_whose_token_ends_is_told_lives_on_and_comes_back_with_another(running, hear):
    async with running() as broker:
        told, actions = hear(), hear()
        short = broker.agents_credentials("a1", lives_s=2)
        agent = await broker.connect(short, on_state=told)
        await agent.subscribe("mig.action.all.*", actions)
        await told.until(lambda states: State.REFUSED in states)
        assert told == [State.CONNECTED, State.DISCONNECTED, State.REFUSED]
        assert "these credentials expired at 20" in agent.problem
        with pytest.raises(BrokerError, match="these credentials expired at"):
            await agent.publish("mig.hb.a1", b"")
        await agent.become(broker.agents_credentials("a1"))
        await told.until(lambda states: State.RECONNECTED in states)
        await (await broker.investigator()).publish_acked("mig.action.all.x", b"do", message_id="1")
        await actions.until(1)


async def test_a_token_is_renewed_before_its_end_and_what_was_said_before_has_arrived(running, hear, caplog):
    async with running() as broker:
        told = hear()
        old, investigator = broker.agents_credentials("a1"), await broker.investigator()
        agent = await broker.connect(old, on_state=told)
        for number in range(1000):
            await agent.publish(f"mig.result.{number}.a1", bytes(1000))
        await agent.become(broker.agents_credentials("a1"))
        await told.until(lambda states: State.RECONNECTED in states)
        assert len([item async for item in investigator.read_stream(RESULTS, "mig.result.*.a1")]) == 1000
        revoke(broker.server.folder, old)  # whom it is not any more
        await push_claims(await broker.connect(Scope.SYSTEM), broker.server.folder)
        await agent.flush()
        assert told == [State.CONNECTED, State.DISCONNECTED, State.RECONNECTED]
        assert agent.problem == ""
    assert "trying on" not in caplog.text, "nothing failed: nobody is warned, and nothing is waited for"


async def test_other_credentials_win_over_an_attempt_with_the_old_ones(running, wire, hear):
    async with running() as broker, wire(broker.server.url) as between:
        told = hear()
        agent = await broker.agent("a1", url=between.url, on_state=told)
        between.freeze()
        between.cut()
        async with asyncio.timeout(20):
            while not between.connections:  # noqa: ASYNC110 - it is the listener's own task that counts
                await asyncio.sleep(0.01)
        await agent.become(broker.agents_credentials("a2"))
        between.thaw()
        await told.until(lambda states: State.RECONNECTED in states)
        await agent.publish("mig.hb.a2", b"")
        await agent.flush()


async def test_others_refused_in_place_of_refused_ones_are_told_again(running, hear):
    async with running(streams=False) as broker:
        told = hear()
        stranger, other = (made(broker.server.folder, "a1", lives_s=-10) for _ in range(2))
        agent = asyncio.create_task(connect(broker.server.url, stranger, name="x", on_state=told, give_up_after_s=None))
        await told.until([State.REFUSED].__eq__)
        agent.cancel()
        with pytest.raises(ExpiredError, match="expired at"):
            await connect(broker.server.url, other, name="x", give_up_after_s=float("inf"))


def made(folder, name, *, lives_s=60, **changes):
    """An agent's credentials whose token says what no minter would sign."""
    user = Credentials.generate(name)
    account = operator.load_account(folder, Account.AGENTS)
    now_s = int(time.time())
    seed = changes.pop("seed", (folder / "keys" / "agent.nk").read_text().strip())
    nats = {"type": "user", "issuer_account": changes.pop("account", account.sub), **changes}
    token = jwt.encode(
        seed, subject=user.public_key, name=name, nats=nats, now_s=now_s - 3600, expires_s=now_s + lives_s
    )
    return user.with_jwt(token)


async def test_what_the_tests_forge_from_would_be_let_in(running):
    async with running(streams=False) as broker:
        await broker.connect(made(broker.server.folder, "a1"))


EVERYTHING = {"allow": [">"]}


@pytest.mark.parametrize(
    "changes",
    [
        {"pub": EVERYTHING},
        {"sub": EVERYTHING},
        {"resp": {"max": -1, "ttl": 0}},
        {"payload": -1},
        {"subs": -1},
        {"bearer_token": True},
        {"allowed_connection_types": ["STANDARD", "LEAFNODE"]},
    ],
    ids=str,
)
async def test_a_token_that_widens_itself_is_refused(running, changes):
    """Signed by the scope's own key: whoever holds it mints users of that scope, and of no other."""
    async with running(streams=False) as broker:
        with pytest.raises(NotPermittedError, match="does not know these credentials"):
            await broker.connect(made(broker.server.folder, "a1", **changes), give_up_after_s=60)


async def test_a_forged_token_is_refused(running, tmp_path):
    async with running(streams=False) as broker:
        folder, other = broker.server.folder, tmp_path / "other"
        operator.create(other, now_s=int(time.time()))
        mig = operator.load_account(folder, Account.MIG).sub
        agent = made(folder, "a1")
        forged = [
            made(folder, "a1", seed=(folder / "offline" / "AGENTS.nk").read_text().strip()),  # not by a scope's key
            made(folder, "a1", seed=(other / "keys" / "agent.nk").read_text().strip()),
            made(folder, "a1", account=mig),  # an agents' key in the investigators' account
            made(other, "a1"),
            made(folder, "a1", lives_s=-1),
            Credentials("a1", Credentials.generate("a1").seed, agent.jwt),  # another's token, and no key to it
            Credentials("a1", agent.seed, agent.jwt[:-6] + "AAAAAA"),
            Credentials("a1", agent.seed, "rubbish"),
            Credentials("a1", agent.seed),
        ]
        for credentials in forged:
            with pytest.raises(NotPermittedError, match=r"does not know these credentials|expired at"):
                await connect(broker.server.url, credentials, name="forger", give_up_after_s=60)


async def test_accounts_that_an_older_version_made_are_brought_up_to_date_at_the_start(broker_folder):
    claims = operator.load_account(broker_folder, Account.MIG)
    seed = (broker_folder / "keys" / "operator.nk").read_text().strip()
    old = jwt.encode(seed, subject=claims.sub, name="MIG", nats={**claims.nats, "exports": []}, now_s=claims.iat)
    (broker_folder / "accounts" / "MIG.jwt").write_text(old)
    async with EmbeddedServer(broker_folder, port=0) as server:
        assert server.notices == ["changed account MIG: its permissions are those of this version"]
    assert operator.load_account(broker_folder, Account.MIG).nats == claims.nats


async def test_accounts_that_are_broken_while_it_runs_are_told_and_change_nothing(running, hear):
    async with running(streams=False) as broker, reading_accounts(broker.server, hear) as (notices, errors):
        (broker.server.folder / "accounts" / "MIG.jwt").write_text("rubbish")
        await errors.until(1)
        assert "MIG.jwt: not a NATS token; accounts stay as they were" in errors[0]
        await broker.investigator()
        assert notices == []
