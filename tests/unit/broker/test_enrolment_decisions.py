"""What the enrolment service decides, without a broker: each rule alone, and what a flood or a liar comes to."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from investigator.broker.enrolment import MAX_SUCCESSORS, MAX_USERS, Decisions
from investigator.broker.enrolment_book import Book
from investigator.config import EnrolmentSettings
from investigator.errors import DeploymentError
from investigator.protocol.acl import parse_acl
from investigator.protocol.enrolment import Answer, Request, encode_request, request_mark
from investigator.protocol.envelope import Envelope
from investigator.protocol.identity import Identity
from investigator.protocol.statement import Pin, Statement, Token, Unenrol, encode_statement
from investigator.protocol.token import SecretToken, machine_mark, prove, succeed
from signed import ALICE, MALLORY, NOW_S, FakeKeyring, sign

NOW = datetime.fromtimestamp(NOW_S, UTC)
PRIVATE = b"t" * 32
HERE, THERE = machine_mark("1", "1"), machine_mark("2", "2")
A, B, C = (Identity(bytes([number]) * 32) for number in range(1, 4))


def user(number: int = 0) -> str:
    return "U" + base64.b32encode(number.to_bytes(34, "big")).decode().rstrip("=")[:55].rjust(55, "A")


def envelope(statement: Statement, signer: str = ALICE) -> bytes:
    text = encode_statement(statement)
    return Envelope(action=text.decode(), pgpsignatures=(sign(text, signer),)).encode()


def token(signer: str = ALICE, **changes: Any) -> SecretToken:
    key = SecretToken(PRIVATE, "").key
    plain = {"key": key, "count": 2, "created": NOW, "expires": NOW + timedelta(days=7), **changes}
    return SecretToken(PRIVATE, envelope(Token(**plain), signer).decode())


class Trust:
    def __init__(self) -> None:
        people = {"alice": {"fingerprint": ALICE, "weight": 1}}
        document = {"default": {"minimumweight": 1, "investigators": people}}
        self.acl = parse_acl(orjson.dumps(document), modules=[], keys=[ALICE])
        self.keyring = FakeKeyring((ALICE,))
        self.changed = False

    def look(self) -> bool:
        changed, self.changed = self.changed, False
        return changed


class Authority:
    def __init__(self) -> None:
        self.minted: list[tuple[str, str]] = []
        self.out: list[str] = []

    def mint(self, agent: str, user: str, *, lives_s: int, now_s: int) -> str:
        self.minted.append((agent, user))
        return f"jwt of {agent} for {user} until {now_s + lives_s}"

    def shut_out(self, user: str, *, now_s: int) -> None:
        self.out.append(user)


class Service:
    """The decisions, with clocks that a test sets."""

    def __init__(self, book: Book, **settings: Any) -> None:
        self.now_s, self.monotonic_s = NOW_S + 100, 0.0
        self.trust, self.authority, self.gone = Trust(), Authority(), list[str]()
        self.book, self.settings = book, EnrolmentSettings(**settings)
        self.restart()

    def restart(self) -> None:
        self.decisions = Decisions(
            self.book,
            self.trust,
            self.authority,
            self.settings,
            gone=self.gone.append,
            monotonic_s=lambda: self.monotonic_s,
            now_s=lambda: self.now_s,
        )

    def ask(
        self,
        who: Identity,
        name: str = "web-1",
        *,
        by: SecretToken | None = None,
        number: int | None = None,
        **more: Any,
    ) -> Answer:
        self.monotonic_s += 1
        key = base64.b64encode(who.public_key).decode()
        machine = more.pop("machine", HERE)
        proof = None
        if by is not None:
            proof = prove(by, key=who.public_key, name=name, machine=machine, now_s=int(self.now_s))
        request = Request(
            key=key,
            user=user(who.private_bytes[0] if number is None else number),
            name=name,
            machine=machine,
            t=int(self.now_s),
            proof=proof,
            **more,
        )
        frame = encode_request(who, request)
        answer = self.decisions.answer(frame)
        assert answer.request == request_mark(frame)
        return answer

    def state(self, who: Identity) -> str:
        entry = self.book.find(who.id)
        return "" if entry is None else entry.state


@pytest.fixture
def book(tmp_path: Path) -> Iterator[Book]:
    with Book(tmp_path) as opened:
        yield opened


def test_an_agent_with_a_token_gets_a_credential_for_its_own_id_and_user(book: Book) -> None:
    service = Service(book)
    answer = service.ask(A, by=token())
    assert answer.state == "enrolled"
    assert answer.jwt == f"jwt of {A.id} for {user(1)} until {int(NOW_S) + 100 + 30 * 86_400}"
    assert service.state(A) == "enrolled"


def test_whom_it_knows_by_its_key_needs_no_token_also_after_a_restart_and_after_the_token(book: Book) -> None:
    service = Service(book)
    service.ask(A, by=token())
    service.now_s += 365 * 86_400
    service.restart()
    assert service.ask(A).state == "enrolled"


@pytest.mark.parametrize(
    ("by", "reason"),
    [
        (None, "it has no token"),
        (token(MALLORY), "not trusted"),
        (token(names="db-*"), "for names like"),
        (SecretToken(b"x" * 32, token().statement), "not signed by the key"),
        (SecretToken(PRIVATE, envelope(Pin(agent=B.id, key=base64.b64encode(B.public_key).decode(), name="b", created=NOW)).decode()), "is none"),
        (SecretToken(PRIVATE, "rubbish"), "no JSON"),
    ],
)  # fmt: skip
def test_without_a_good_token_nobody_comes_in_and_the_reason_is_said(
    book: Book, by: SecretToken | None, reason: str
) -> None:
    service = Service(book)
    answer = service.ask(A, by=by)
    assert (answer.state, answer.jwt) == ("denied", "")
    assert reason in answer.reason
    assert service.authority.minted == []
    assert service.ask(A, by=token()).state == "enrolled", "with a good one it does"


def test_a_token_is_over_by_the_services_own_clock_whatever_the_agent_claims(book: Book) -> None:
    service = Service(book)
    proven_in_time = prove(token(), key=A.public_key, name="web-1", machine=HERE, now_s=int(NOW_S))
    service.now_s = NOW_S + 8 * 86_400
    key = base64.b64encode(A.public_key).decode()
    request = Request(key=key, user=user(1), name="web-1", machine=HERE, t=1, proof=proven_in_time)
    answer = service.decisions.answer(encode_request(A, request))
    assert answer.state == "denied"
    assert "expired" in answer.reason


def test_a_token_is_used_up_by_different_agents_and_not_by_one_that_asks_again(book: Book) -> None:
    service = Service(book)
    for _ in range(3):
        assert service.ask(A, by=token()).state == "enrolled"
    assert service.ask(B, "web-2", by=token()).state == "enrolled"
    answer = service.ask(C, "web-3", by=token())
    assert (answer.state, answer.reason) == ("denied", "its token was good for 2, and is used up")
    service.decisions.rule(envelope(Unenrol(agent=A.id, created=NOW)))
    assert service.ask(C, "web-3", by=token()).state == "denied", "who is revoked gives no place free"


def test_what_is_revoked_is_shut_out_purged_and_stays_out_until_a_later_word(book: Book) -> None:
    service = Service(book)
    service.ask(A, by=token())
    service.ask(A, by=token(), number=9)
    gone = envelope(Unenrol(agent=A.id, reason="stolen", created=NOW))
    assert service.decisions.rule(gone) == f"{A.id} is shut out"
    assert set(service.authority.out) == {user(1), user(9)}
    assert service.gone == [A.id]
    for _ in range(2):
        assert service.ask(A, by=token()).reason == "stolen"
        service.decisions.rule(gone)
        service.restart()
    assert service.gone == [A.id], "played back, it does nothing more"
    assert service.state(A) == "revoked"
    key = base64.b64encode(A.public_key).decode()
    service.decisions.rule(envelope(Pin(agent=A.id, key=key, name="web-1", created=NOW + timedelta(seconds=1))))
    assert service.ask(A).state == "enrolled"
    service.decisions.rule(gone)
    assert service.ask(A).state == "enrolled", "an old word played back changes nothing"


def test_who_is_revoked_before_it_ever_came_does_not_come(book: Book) -> None:
    service = Service(book)
    service.decisions.rule(envelope(Unenrol(agent=A.id, created=NOW)))
    assert service.ask(A, by=token()).state == "denied"


def test_a_statement_that_nobody_entitled_signed_changes_nothing(book: Book) -> None:
    service = Service(book)
    service.ask(A, by=token())
    for raw in (envelope(Unenrol(agent=A.id, created=NOW), MALLORY), b"{}", b"", b"\xff" * 100):
        assert not service.decisions.hear(raw).ok
    assert service.state(A) == "enrolled"
    assert book.statements() == []


def test_who_took_a_name_by_a_signed_change_pushes_the_former_out(book: Book) -> None:
    service = Service(book)
    service.ask(A, by=token())
    service.ask(B, by=token())
    assert "has the name of" in service.decisions.notices[B.id][0]
    key = base64.b64encode(B.public_key).decode()
    service.decisions.rule(envelope(Pin(agent=B.id, key=key, name="web-1", replaces=A.id, created=NOW)))
    assert (service.state(A), service.state(B), service.gone) == ("revoked", "enrolled", [A.id])


def test_by_policy_open_all_come_in_and_by_policy_approve_those_that_are_signed_for(book: Book) -> None:
    assert Service(book, policy="open").ask(A).state == "enrolled"
    service = Service(book, policy="approve")
    assert service.ask(B, by=token()).state == "pending"
    service.decisions.rule(
        envelope(Pin(agent=B.id, key=base64.b64encode(B.public_key).decode(), name="b", created=NOW))
    )
    assert service.ask(B).state == "enrolled"


def test_whoever_approves_is_told_that_it_may_be_a_clone(book: Book) -> None:
    service = Service(book, policy="approve")
    answer = service.ask(B, machine=THERE, succession=succeed(A, B, machine=THERE, now_s=int(NOW_S)))
    assert answer.state == "pending"
    assert f"its state was that of {A.id}, on another machine: a clone, or it moved" in answer.reason
    assert service.ask(C, machine=THERE, succession=succeed(A, B, machine=THERE, now_s=1), number=3).reason == (
        "an investigator has to approve it"
    )


def test_the_list_of_who_waits_is_capped_and_who_waits_stays(book: Book) -> None:
    service = Service(book, policy="approve", pending_at_most=5)
    crowd = [Identity(bytes([1, number]) * 16) for number in range(8)]
    states = [service.ask(each, number=number).state for number, each in enumerate(crowd)]
    assert states == ["pending"] * 5 + ["busy"] * 3
    service = Service(book, policy="token", pending_at_most=5)
    for number, each in enumerate(Identity(bytes([2, number]) * 16) for number in range(8)):
        service.now_s += 1
        assert service.ask(each, number=number).state == "denied"
    assert len(book.page("denied", after="", at_most=100)) == 5
    assert len(book.page("pending", after="", at_most=100)) == 5


def test_a_flood_of_newcomers_does_not_keep_known_agents_from_renewing(book: Book) -> None:
    service = Service(book, requests_per_minute=60)
    service.ask(A, by=token())
    crowd = [Identity(bytes([3, number]) * 16) for number in range(60)]
    frozen = service.monotonic_s

    def at_once(who: Identity) -> str:
        service.monotonic_s = frozen - 1
        return service.ask(who).state

    states = [at_once(each) for each in crowd]
    assert states.count("busy") >= 30
    assert at_once(A) == "enrolled"


def test_an_agent_has_few_users_of_the_broker_and_none_of_anothers(book: Book) -> None:
    service = Service(book)
    service.ask(A, by=token(count=50))
    assert "another agent's" in service.ask(B, by=token(count=50), number=1).reason
    states = [service.ask(A, number=100 + number).state for number in range(MAX_USERS)]
    assert states == ["enrolled"] * (MAX_USERS - 1) + ["denied"]
    service.now_s += 31 * 86_400
    assert service.ask(A, number=200).state == "enrolled", "those whose time is over do not count"


def test_a_state_that_is_found_on_another_machine_comes_in_as_a_follower_of_one_that_is_known(book: Book) -> None:
    service = Service(book)
    word = succeed(A, B, machine=THERE, now_s=int(NOW_S))
    assert "not enrolled" in service.ask(B, machine=THERE, succession=word).reason
    service.ask(A, by=token())
    assert "another agent's" in service.ask(C, machine=THERE, succession=word, number=3).reason
    answer = service.ask(B, machine=THERE, succession=word)
    assert (answer.state, answer.reason) == ("enrolled", f"its state was that of {A.id}, on another machine")
    more = [Identity(bytes([4, number]) * 16) for number in range(MAX_SUCCESSORS)]
    states = [
        service.ask(each, succession=succeed(A, each, machine=THERE, now_s=1), number=50 + number).state
        for number, each in enumerate(more)
    ]
    assert states[-2:] == ["enrolled", "denied"], "a stolen key does not let in a fleet"


def test_one_id_that_asks_from_two_machines_is_noticed(book: Book) -> None:
    service = Service(book)
    service.ask(A, by=token())
    assert service.ask(A, machine=THERE).state == "enrolled"
    assert "another machine" in service.decisions.notices[A.id][0]


def test_what_was_noticed_is_known_after_a_restart_until_somebody_approves_the_agent_again(book: Book) -> None:
    service = Service(book)
    service.ask(A, by=token())
    for notice in ("floods", "is a copy", "floods"):
        service.decisions.note(A.id, notice)
    approval = envelope(Pin(agent=A.id, key=base64.b64encode(A.public_key).decode(), name="web-1", created=NOW))
    for _ in range(2):
        assert sorted(service.decisions.notices[A.id]) == ["floods", "is a copy"]
        service.restart()
    service.decisions.rule(approval)
    assert service.decisions.notices == {}
    service.decisions.note(A.id, "floods")
    service.decisions.rule(approval)
    service.restart()
    assert service.decisions.notices == {A.id: ["floods"]}, (
        "the old approval, played back, says nothing of what came after it"
    )


def test_what_was_noticed_more_than_a_month_ago_is_forgotten_and_an_agent_has_ten_notices_at_most(book: Book) -> None:
    service = Service(book)
    for number in range(12):
        service.decisions.note(A.id, f"notice {number}")
    service.restart()
    assert len(service.decisions.notices[A.id]) == 10
    service.now_s += 31 * 86_400
    service.restart()
    assert service.decisions.notices == {}


def test_what_counts_follows_the_keyring(book: Book) -> None:
    service = Service(book)
    service.ask(A, by=token())
    service.decisions.rule(envelope(Unenrol(agent=B.id, created=NOW)))
    service.trust.keyring, service.trust.changed = FakeKeyring(()), True
    assert service.ask(C, "web-3", by=token()).state == "denied", "its signer is trusted no more"
    assert service.ask(A).state == "enrolled"


def test_a_list_comes_in_pages(book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("investigator.broker.enrolment.LIST_AT_ONCE", 2)
    service = Service(book, policy="open")
    for number in range(5):
        service.ask(Identity(bytes([5, number]) * 16), number=number)
    seen: list[str] = []
    more = True
    while more:
        told = service.decisions.hear(orjson.dumps({"list": {"after": seen[-1] if seen else ""}}))
        assert told.ok
        seen += [known.agent for known in told.agents]
        more = told.more
    assert seen == sorted(set(seen))
    assert len(seen) == 5


@given(raw=st.binary(max_size=200))
def test_any_bytes_are_denied_or_busy(tmp_path_factory: pytest.TempPathFactory, raw: bytes) -> None:
    with Book(tmp_path_factory.mktemp("book")) as opened:
        service = Service(opened)
        assert service.decisions.answer(raw).state == "denied"
        assert not service.decisions.hear(raw).ok


def test_two_services_do_not_share_a_book(tmp_path: Path) -> None:
    with Book(tmp_path) as first:
        first.keep_statement(b"x")
        with pytest.raises(DeploymentError, match="another enrolment service"), Book(tmp_path):
            pass


def test_a_book_that_is_none_is_said(tmp_path: Path) -> None:
    (tmp_path / "enrolment.sqlite").write_bytes(b"no database" * 100)
    with pytest.raises(DeploymentError, match=r"enrolment\.sqlite"), Book(tmp_path):
        pass
