"""What all statements together say: a fold, the same for any order and any repetition.

The statement that was written last counts; of two of the same second the one that takes away, else the larger digest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

from investigator.protocol.statement import Pin, Stated, Token, Unenrol

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

MAX_FORMER: Final = 100
_Rank: TypeAlias = "tuple[datetime, bool, str]"


class Rulings:
    """Statements that were judged (`judge_statement`), and what follows of them."""

    def __init__(self, stated: Iterable[Stated] = ()) -> None:
        self._agents: dict[str, tuple[_Rank, Pin | Unenrol]] = {}
        self._names: dict[str, tuple[_Rank, Pin]] = {}
        self._closed: dict[str, set[str]] = {}
        self._followed: dict[str, str] = {}
        for one in stated:
            self.add(one)

    def add(self, stated: Stated) -> None:
        """Take one more."""
        statement = stated.statement
        rank = (statement.created, isinstance(statement, Unenrol), stated.digest)
        match statement:
            case Token():
                pass  # it says nothing about an agent; whoever comes with it carries it in the proof
            case Unenrol(token=token) if token:
                self._closed.setdefault(token, set()).update(statement.keep)
            case Unenrol():
                self._rule(rank, statement)
            case Pin():
                self._rule(rank, statement)
                if statement.replaces not in ("", statement.agent):
                    reason = f"{statement.name} is {statement.agent} now"
                    gone = Unenrol(agent=statement.replaces, reason=reason, created=statement.created)
                    self._rule((statement.created, True, stated.digest), gone)
                    self._followed[statement.agent] = max(statement.replaces, self._followed.get(statement.agent, ""))
        if isinstance(statement, Pin) and (statement.name not in self._names or self._names[statement.name][0] < rank):
            self._names[statement.name] = rank, statement

    def _rule(self, rank: _Rank, statement: Pin | Unenrol) -> None:
        if statement.agent not in self._agents or self._agents[statement.agent][0] < rank:
            self._agents[statement.agent] = rank, statement

    def of(self, agent: str) -> Pin | Unenrol | None:
        """What was signed last about an agent."""
        ruling = self._agents.get(agent)
        return None if ruling is None else ruling[1]

    def unenrolled(self, agent: str) -> Unenrol | None:
        """The statement by which an agent is none of ours any more, if that is so."""
        ruling = self.of(agent)
        return ruling if isinstance(ruling, Unenrol) else None

    def owner(self, name: str) -> str:
        """The id of the agent to which a name was given last, unless that one was given another since, or let go."""
        given = self._names.get(name)
        if given is None:
            return ""
        ruling = self.of(given[1].agent)
        return given[1].agent if isinstance(ruling, Pin) and ruling.name == name else ""

    def former(self, agent: str) -> list[str]:
        """The ids that an agent's name had before it, the latest first: what they did is this host's history."""
        found: list[str] = []
        while (ruling := self._followed.get(agent)) is not None and ruling not in found and len(found) < MAX_FORMER:
            found.append(ruling)
            agent = ruling
        return found

    def is_closed(self, token: str, *, to: str) -> bool:
        """Whether this agent does not come in by the token with this key any more."""
        return token in self._closed and to not in self._closed[token]
