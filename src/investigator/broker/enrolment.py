"""The enrolment service's decisions: who is let in, who is not, who no more. `Decisions` is fed bytes, and answers.

It keeps strangers off the broker. Whom a *console* believes is the console's own to judge (`console.standing`), by the same
statements and proofs: this service, the keys that it mints with and the machine that it runs on could all be an attacker's.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec
import orjson

from investigator.broker.enrolment_book import Entry
from investigator.errors import BadInput, DeploymentError, Refused
from investigator.logs import about
from investigator.printable import printable
from investigator.protocol.codec import strict_loads
from investigator.protocol.enrolment import (
    LIST_AT_ONCE,
    Answer,
    Known,
    Request,
    State,
    Told,
    decode_listing,
    decode_request,
    request_mark,
)
from investigator.protocol.rulings import Rulings
from investigator.protocol.statement import (
    MAX_STATEMENT_ENVELOPE_BYTES,
    Pin,
    Stated,
    Token,
    Unenrol,
    decode_statement_envelope,
    judge_statement,
)
from investigator.protocol.token import Proof, check_proof, check_succession, same_machine

if TYPE_CHECKING:
    from collections.abc import Callable

    from investigator.broker.enrolment_book import Book
    from investigator.config import EnrolmentSettings
    from investigator.protocol.acl import Acl
    from investigator.protocol.admission import Keyring

FRAMES_PER_S: Final = 300
"""Checking a signature costs 0.1 ms: what comes faster is told to come again, known agents too."""
NEW_STATEMENTS_PER_MINUTE: Final = 120
"""An OpenPGP signature costs more, and anybody who may ask can bring one."""
MAX_USERS: Final = 8
"""Broker users of one agent at a time; an honest one has one, and a new one after it lost its state."""
MAX_SUCCESSORS: Final = 16
MAX_TOKENS_HELD: Final = 10_000
MAX_NOTICED: Final = 10_000
MAX_NOTICES: Final = 10
"""Of each agent."""
NOTICES_LAST_S: Final = 30 * 86_400
_log = logging.getLogger(__name__)


class Trust(Protocol):
    """Whose word counts, as current as its files: `agent.trust.TrustFiles`."""

    @property
    def keyring(self) -> Keyring:
        """Their keys."""

    @property
    def acl(self) -> Acl:
        """Their weights."""

    def look(self) -> bool:
        """Look at the files again; true if anything changed."""


class Authority(Protocol):
    """What mints and revokes the broker's users."""

    def mint(self, agent: str, user: str, *, lives_s: int, now_s: int) -> str:
        """A JWT for this agent's user."""

    def shut_out(self, user: str, *, now_s: int) -> None:
        """No JWT of this user counts any more."""


class Bucket:
    """So many at once, and so many per second on average."""

    def __init__(self, per_s: float, at_once: float) -> None:
        self._per_s, self._at_once, self._left, self._at_s = per_s, at_once, at_once, 0.0

    def take(self, now_s: float) -> bool:
        """Whether one more may pass; a clock that goes back fills nothing."""
        self._left = min(self._at_once, self._left + max(0.0, now_s - self._at_s) * self._per_s)
        self._at_s = now_s
        if self._left < 1:
            return False
        self._left -= 1
        return True


class _Denied(Exception):
    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Decisions:
    """The service without its connection: bytes and time in, answers out, what follows into the book."""

    def __init__(
        self,
        book: Book,
        trust: Trust,
        authority: Authority,
        settings: EnrolmentSettings,
        *,
        gone: Callable[[str], None],
        monotonic_s: Callable[[], float],
        now_s: Callable[[], float],
    ) -> None:
        """Judge again what was signed earlier.

        Args:
            book: what the service remembers.
            trust: whose statements count.
            authority: mints and revokes.
            settings: of broker.toml.
            gone: told the id of an agent that is let go: what streams hold of it is to be purged.
            monotonic_s: a clock for rates.
            now_s: the clock for everything else, seconds since 1970.
        """
        self._book, self._trust, self._authority, self._settings = book, trust, authority, settings
        self._gone, self._monotonic_s, self._now_s = gone, monotonic_s, now_s
        self._frames = Bucket(FRAMES_PER_S, 2 * FRAMES_PER_S)
        self._newcomers = Bucket(settings.requests_per_minute / 60, max(20.0, settings.requests_per_minute / 6))
        self._statements = Bucket(NEW_STATEMENTS_PER_MINUTE / 60, 30)
        self._tokens: dict[str, Token | str] = {}
        self._said: dict[str, str] = {}
        self.notices = book.notices(since_s=now_s() - NOTICES_LAST_S)
        """By agent: what an investigator should look at, until one approves it again, or for a month."""
        self._rulings = Rulings()
        self._judge_all()

    def answer(self, frame: bytes) -> Answer:
        """What an agent hears on its request."""
        mark = request_mark(frame)
        if not self._frames.take(self._monotonic_s()):
            return Answer(request=mark, state="busy")
        try:
            request = decode_request(frame)
        except (BadInput, Refused) as error:
            return Answer(request=mark, state="denied", reason=str(error))
        try:
            with self._book.at_once():
                return self._settle(request, mark)
        except DeploymentError as error:
            _log.error("enrolment: %s", error)
            return Answer(request=mark, state="busy", reason="the service cannot write or sign")

    def _settle(self, request: Request, mark: str) -> Answer:
        known = self._book.find(request.agent)
        if (known is None or known.state != "enrolled") and not self._newcomers.take(self._monotonic_s()):
            return Answer(request=mark, state="busy", reason="too many new agents at a time")
        at_most = self._settings.pending_at_most
        try:
            entry = self._decide(request, known)
            jwt = self._credential(request, entry) if entry.state == "enrolled" else ""
        except _Denied as denied:
            entry, jwt = self._entry(request, known, "denied", denied.reason), ""
            if known is not None and known.state in ("enrolled", "revoked"):
                self._log(entry, f"denied: {denied.reason}")
                return Answer(request=mark, state="denied", reason=denied.reason)
        if not jwt and not self._book.put(entry, at_most=at_most):
            return Answer(request=mark, state="busy", reason="too many agents wait for an approval")
        self._log(entry, f"{entry.state}: {entry.reason}")
        state: State = "enrolled" if jwt else "pending" if entry.state == "pending" else "denied"
        return Answer(request=mark, state=state, jwt=jwt, reason=entry.reason)

    def hear(self, raw: bytes) -> Told:
        """What follows of a message by an investigator: a statement, or the question whom the service knows."""
        try:
            document = strict_loads(raw, what="request", max_bytes=MAX_STATEMENT_ENVELOPE_BYTES)
            if isinstance(document, dict) and "list" in document:
                return self._list(document["list"])
            return Told(ok=True, said=self.rule(raw), policy=self._settings.policy)
        except (BadInput, Refused, DeploymentError) as error:
            return Told(ok=False, said=str(error), policy=self._settings.policy)

    def rule(self, raw: bytes) -> str:
        """Take a statement, from whom ever it comes; what follows of it, in words.

        Raises:
            BadInput, Refused: it is none, or nobody entitled signed it.
            DeploymentError: the disk does not take it, or a key is missing.
        """
        self._look()
        stated = self._stated(raw)
        is_new = self._book.keep_statement(raw)
        self._rulings.add(stated)
        by = ", ".join(stated.signers)
        match stated.statement:
            case Token(key=key):
                return f"token {key} is known"
            case Unenrol(token=key) if key:
                _log.warning("enrolment: token %s lets nobody more in, by %s", key, by)
                return f"token {key} lets nobody more in"
            case Unenrol(agent=agent):
                self._apply(agent, by)
                return (
                    f"{agent} is shut out" if self._rulings.unenrolled(agent) else f"{agent}: a later statement holds"
                )
            case Pin() as pin:
                if is_new:
                    self._forget_notices(pin.agent)
                self._apply(pin.agent, by)
                if pin.replaces:
                    self._apply(pin.replaces, by)
                held = self._rulings.owner(pin.name) == pin.agent
                return f"{pin.agent} is {pin.name}" if held else f"{pin.agent}: a later statement holds"

    def note(self, agent: str, notice: str) -> None:
        """Remember what an investigator should look at, and log it once."""
        if agent not in self.notices and len(self.notices) >= MAX_NOTICED:
            return
        told = self.notices.setdefault(agent, [])
        if notice in told or len(told) >= MAX_NOTICES:
            return
        told.append(notice)
        name = "?"
        try:
            self._book.add_notice(agent, notice, now_s=self._now_s())
            entry = self._book.find(agent)
            name = printable(entry.name) if entry else name
        except DeploymentError as error:
            _log.error("enrolment: %s", error)
        _log.warning("enrolment: %s (%s) %s", name, agent, notice, extra=about("noticed", agent=agent))

    def _forget_notices(self, agent: str) -> None:
        self.notices.pop(agent, None)
        self._book.forget_notices(agent)

    def _look(self) -> None:
        if self._trust.look():
            self._judge_all()

    def _judge_all(self) -> None:
        """By the rules of now: all that was signed, and what follows of it."""
        self._tokens.clear()
        self._rulings = Rulings()
        for raw in self._book.statements():
            try:
                self._rulings.add(self._stated(raw))
            except (BadInput, Refused) as error:
                _log.warning("enrolment: a statement counts no more: %s", error)
        after = ""
        while page := self._book.page("", after=after, at_most=LIST_AT_ONCE):
            for entry in page:
                self._apply(entry.agent, "an earlier statement")
            after = page[-1].agent

    def _stated(self, raw: bytes) -> Stated:
        envelope = decode_statement_envelope(raw)
        return judge_statement(envelope, keyring=self._trust.keyring, acl=self._trust.acl, now_s=self._now_s())

    def _apply(self, agent: str, by: str) -> None:
        """Bring the book, and the broker, in line with what was signed about an agent."""
        entry, ruling = self._book.find(agent), self._rulings.of(agent)
        if entry is None or ruling is None:
            return  # it is judged when it comes
        if isinstance(ruling, Unenrol):
            for user in self._book.users(agent):
                self._authority.shut_out(user, now_s=int(self._now_s()))
                self._book.note_shut_out(user)
            if entry.state != "revoked":
                reason = ruling.reason or "an investigator revoked it"
                self._book.put(replace(entry, state="revoked", reason=reason), at_most=self._settings.pending_at_most)
                self._gone(agent)
                _log.warning(
                    "enrolment: revoked %s (%s), by %s: %s",
                    printable(entry.name),
                    agent,
                    by,
                    printable(reason),
                    extra=about("revoked", agent=agent),
                )
        elif entry.state != "enrolled":
            self._book.put(replace(entry, state="enrolled", reason="approved"), at_most=self._settings.pending_at_most)
            name = printable(entry.name)
            _log.warning("enrolment: approved %s (%s), by %s", name, agent, by, extra=about("approved", agent=agent))

    def _decide(self, request: Request, known: Entry | None) -> Entry:
        """Numbered as in docs/threat-model.md."""
        # 1. An investigator's word about this very agent comes before everything.
        ruling = self._rulings.of(request.agent)
        if isinstance(ruling, Unenrol):
            raise _Denied(ruling.reason or "an investigator revoked it")
        if isinstance(ruling, Pin):
            return self._entry(request, known, "enrolled", "approved")
        # 2. Whom we know by its key needs nothing more: that is what renews, and what comes back after a long time.
        if known is not None and known.state == "enrolled":
            return self._entry(request, known, "enrolled", known.reason, token=known.token)
        # 3. The policy.
        if self._settings.policy == "open":
            return self._entry(request, known, "enrolled", "by policy open")
        if self._settings.policy == "approve":
            return self._entry(request, known, "pending", f"{_origin(request)}an investigator has to approve it")
        # 4. Its state was that of an agent which we know, on another machine: it comes in, and consoles name the two.
        if request.succession is not None and request.proof is None:
            return self._successor(request, known)
        self._look()
        # 5. A token: signed by whom we trust, in its time by our clock, and not used up.
        if request.proof is None:
            raise _Denied("it has no token")
        token = self._token(request.proof)
        try:
            check_proof(request.proof, token, key=request.key, name=request.name)
        except (BadInput, Refused) as error:
            raise _Denied(str(error)) from None
        if self._now_s() > token.expires.timestamp():
            raise _Denied(f"its token expired {token.expires:%Y-%m-%dT%H:%M:%SZ}")
        if self._rulings.is_closed(token.key, to=request.agent):
            raise _Denied("an investigator has closed its token")
        if self._book.enrolled_by(token.key) >= token.count:
            raise _Denied(f"its token was good for {token.count}, and is used up")
        return self._entry(request, known, "enrolled", "by token", token=token.key)

    def _successor(self, request: Request, known: Entry | None) -> Entry:
        assert request.succession is not None
        try:
            former = check_succession(request.succession, key=request.key)
        except (BadInput, Refused) as error:
            raise _Denied(str(error)) from None
        before = self._book.find(former)
        if before is None or before.state != "enrolled":
            raise _Denied(f"its state was that of {former}, which is not enrolled")
        reason = f"its state was that of {former}, on another machine"
        if self._book.enrolled_by(f"after {former}") >= MAX_SUCCESSORS:
            raise _Denied(f"{reason}, like that of {MAX_SUCCESSORS} others")
        return self._entry(request, known, "enrolled", reason, token=f"after {former}")

    def _token(self, proof: Proof) -> Token:
        if proof.mark not in self._tokens:
            if not self._statements.take(self._monotonic_s()):
                raise _Denied("too many unknown tokens at a time")
            if len(self._tokens) >= MAX_TOKENS_HELD:
                self._tokens.clear()
            try:
                statement = self._stated(proof.statement.encode()).statement
                self._tokens[proof.mark] = statement if isinstance(statement, Token) else "its token is none"
            except (BadInput, Refused) as error:
                self._tokens[proof.mark] = f"its token: {error}"
        found = self._tokens[proof.mark]
        if isinstance(found, str):
            raise _Denied(found)
        return found

    def _credential(self, request: Request, entry: Entry) -> str:
        now_s, lives_s = int(self._now_s()), self._settings.credentials_last_s
        expires_s = now_s + lives_s
        if not self._book.add_user(request.user, entry.agent, expires_s=expires_s, now_s=now_s, at_most=MAX_USERS):
            raise _Denied("it asks for too many users of the broker, or for another agent's")
        jwt = self._authority.mint(entry.agent, request.user, lives_s=lives_s, now_s=now_s)
        self._book.put(replace(entry, expires_s=float(expires_s)), at_most=self._settings.pending_at_most)
        others = self._book.named(entry.name, but=entry.agent)
        if others:
            self.note(entry.agent, f"has the name of {', '.join(others[:5])}")
        return jwt

    def _entry(self, request: Request, known: Entry | None, state: Any, reason: str, *, token: str = "") -> Entry:
        if known is not None and state == "enrolled" and not same_machine(known.machine, request.machine):
            self.note(request.agent, "asks from another machine than before: a copy of its state runs there")
        now_s = self._now_s()
        return Entry(
            agent=request.agent,
            key=request.key,
            name=request.name,
            machine=request.machine if known is None else known.machine or request.machine,
            state=state,
            reason=reason,
            first_s=now_s if known is None else known.first_s,
            last_s=now_s,
            expires_s=0.0 if known is None else known.expires_s,
            token=token or ("" if known is None else known.token),
        )

    def _list(self, document: Any) -> Told:
        listing = decode_listing(document)
        entries = self._book.page(listing.state, after=listing.after, at_most=LIST_AT_ONCE + 1)
        agents = [_known(entry, self.notices.get(entry.agent, [])) for entry in entries[:LIST_AT_ONCE]]
        return Told(ok=True, agents=agents, more=len(entries) > LIST_AT_ONCE, policy=self._settings.policy)

    def _log(self, entry: Entry, what: str) -> None:
        """One line when it is news; renewals are none, and who is denied every minute is told once."""
        if self._said.get(entry.agent) != what:
            if len(self._said) > MAX_TOKENS_HELD:
                self._said.clear()
            self._said[entry.agent] = what
            name, on = printable(entry.name), about(entry.state, agent=entry.agent)
            _log.warning("enrolment: %s (%s) %s", name, entry.agent, printable(what), extra=on)


def _known(entry: Entry, notices: list[str]) -> Known:
    return msgspec.convert(
        orjson.loads(orjson.dumps({**{name: getattr(entry, name) for name in Entry.__slots__}, "notices": notices})),
        Known,
    )


def _origin(request: Request) -> str:
    """For whoever approves: that this may be a copy of an agent, by the word of that one's key; empty if it is not known to be."""
    if request.succession is None:
        return ""
    try:
        former = check_succession(request.succession, key=request.key)
    except (BadInput, Refused):
        return ""
    return f"its state was that of {former}, on another machine: a clone, or it moved; "
