"""The console's own copy of what it asked and of every answer, as received: SQLite, one file (`schema` has its tables).

What the streams have it takes from there (`sync`), and never gives up.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import sqlite3
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal, NamedTuple, Self

import aiosqlite

from investigator.console.heads import ChainHead
from investigator.console.inventory import Beat
from investigator.console.schema import is_damage, open_database
from investigator.console.standing import Pinned
from investigator.console.statements import Kept
from investigator.errors import DeploymentError
from investigator.protocol.envelope import Envelope

ALERTS_KEPT_S: Final = 400 * 86_400.0
ANSWERS_PER_PAGE: Final = 500
MAX_HEADS: Final = 64
"""Per agent, on average. Beyond it every second one of each agent's older half goes: the first stay, as evidence of what was."""
_THIN_OUT: Final = f"""
DELETE FROM heads WHERE place IN (
    SELECT place FROM (
        SELECT place, count(*) OVER mine AS all_of_them,
            row_number() OVER (mine ORDER BY place ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS number
        FROM heads WINDOW mine AS (PARTITION BY agent)
    ) WHERE all_of_them > {MAX_HEADS // 2} AND number <= all_of_them / 2 AND number % 2 = 0
)
"""  # noqa: S608 - its only value is ours


@dataclass(frozen=True, slots=True)
class Targeted:
    """An agent of one action."""

    agent: str
    name: str
    state: str = ""
    """What it came to; empty: nothing yet."""
    sequence: int = 0
    """Where in the actions' stream the action stands for this agent; 0 if that is not known."""


SignedKind = Literal["facts", "heartbeats"]


class Signed(NamedTuple):
    """What an agent said of itself, and what came of verifying it."""

    agent: str
    sequence: int
    """In its stream."""
    seen_s: float
    content: bytes
    """JSON; empty if it does not verify."""
    problem: str


@dataclass(frozen=True, slots=True)
class Record:
    """One thing that is on record, as it was published."""

    kind: str
    """`action`, `cancel`, `revocation`, `tally` or `statement`; by what it claims."""
    action: str
    """The id that its subject names; empty for a statement."""
    payload: bytes
    stored_s: float
    """When the broker recorded it, by the broker's clock."""


class Store:
    """Envelopes and payloads, byte for byte; an async context manager.

    What is sealed stays sealed in it. Every method raises `DeploymentError` where the disk does not take it.
    """

    def __init__(self, path: Path, *, thorough: bool = False) -> None:
        """The file is made when the store is entered; `thorough` looks at all of it then."""
        self.path = path
        self.moved_aside: Path | None = None
        """Where a damaged store was moved, in whose place this one is new: `sync.rebuild` fills it."""
        self._thorough = thorough
        self._database: aiosqlite.Connection
        self._one_at_a_time = asyncio.Lock()
        """Investigations of one process share the connection: one's rollback must not undo what another wrote meanwhile."""

    async def __aenter__(self) -> Self:
        """Open, or make; a damaged file is moved aside."""
        self._database, self.moved_aside = await open_database(self.path, thorough=self._thorough)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close; what was kept is on the disk."""
        with contextlib.suppress(sqlite3.Error):
            await self._database.close()

    async def keep_action(self, action_id: str, name: str, envelope: Envelope, *, published_s: float) -> None:
        """Keep what was asked, before it is published."""
        await self._write(
            "INSERT OR IGNORE INTO actions VALUES (?, ?, ?, ?)", [(action_id, name, envelope.encode(), published_s)]
        )

    async def action(self, action_id: str) -> bytes | None:
        """The envelope of an action that was asked from here."""
        rows = await self._read("SELECT envelope FROM actions WHERE id = ?", (action_id,))
        return bytes(rows[0][0]) if rows else None

    async def asked(self) -> list[tuple[str, float]]:
        """(id, when it was published, seconds since 1970) of each action that was asked from here, the last one last."""
        rows = await self._read("SELECT id, published_s FROM actions ORDER BY published_s, rowid")
        return [(str(action), float(published_s)) for action, published_s in rows]

    async def keep_answers(self, action_id: str, answers: Sequence[tuple[str, bytes]]) -> int:
        """Keep (agent id, payload) pairs; the same one twice is kept once. Returns how many are new."""
        return await self._write(
            "INSERT OR IGNORE INTO answers VALUES (?, ?, ?, ?)",
            [(hashlib.sha256(payload).hexdigest(), action_id, agent, payload) for agent, payload in answers],
        )

    async def answers(self, action_id: str) -> AsyncIterator[list[tuple[str, bytes]]]:
        """(agent id, payload) of all that was kept of an action, page by page, each agent's together."""
        agent, place = "", 0
        while True:
            rows = await self._read(
                "SELECT agent, rowid, payload FROM answers WHERE action = ? AND (agent, rowid) > (?, ?) "
                "ORDER BY agent, rowid LIMIT ?",
                (action_id, agent, place, ANSWERS_PER_PAGE),
            )
            if not rows:
                return
            agent, place = str(rows[-1][0]), int(rows[-1][1])
            yield [(str(row[0]), bytes(row[2])) for row in rows]

    async def keep_targeted(self, action_id: str, agents: Sequence[Targeted]) -> None:
        """Keep whom an action was sent to, before anybody answers; what they came to stays."""
        await self._write(
            "INSERT INTO outcomes (action, agent, state, name, sequence) VALUES (?, ?, ?, ?, ?) "
            "ON CONFLICT (action, agent) DO UPDATE SET name = excluded.name, sequence = excluded.sequence",
            [(action_id, each.agent, each.state, each.name, each.sequence) for each in agents],
        )

    async def targeted(self, action_id: str) -> list[Targeted]:
        """Whom an action was sent to from here, and who answered besides."""
        query = "SELECT agent, name, state, sequence FROM outcomes WHERE action = ?"
        return [Targeted(*row) for row in await self._read(query, (action_id,))]

    async def keep_states(self, action_id: str, states: Mapping[str, str]) -> None:
        """Keep what each agent (by id) came to; later ones replace earlier ones."""
        await self._write(
            "INSERT INTO outcomes (action, agent, state) VALUES (?, ?, ?) "
            "ON CONFLICT (action, agent) DO UPDATE SET state = excluded.state",
            [(action_id, agent, state) for agent, state in states.items()],
        )

    async def states(self, action_id: str) -> dict[str, str]:
        """What each agent had come to when it was looked at from here; agents without a state yet are left out."""
        query = "SELECT agent, state FROM outcomes WHERE action = ? AND state <> ''"
        return {str(agent): str(state) for agent, state in await self._read(query, (action_id,))}

    async def who_came_to(self) -> set[tuple[str, str, str]]:
        """(action id, agent id, state) of all that found something or nothing: for `--target-found`."""
        query = "SELECT action, agent, state FROM outcomes WHERE state IN ('found', 'notfound')"
        return {(str(row[0]), str(row[1]), str(row[2])) for row in await self._read(query)}

    async def keep_records(self, records: Sequence[Record]) -> int:
        """Keep what the records say; the same payload twice is kept once. Returns how many are new."""
        return await self._write(
            "INSERT OR IGNORE INTO records VALUES (?, ?, ?, ?, ?)",
            [
                (hashlib.sha256(one.payload).hexdigest(), one.kind, one.action, one.payload, one.stored_s)
                for one in records
            ],
        )

    async def records(self, *, action: str | None = None, since_s: float = 0.0) -> list[Record]:
        """The records that are kept, all or those of one action, that were stored since then; the oldest first."""
        where, words = ("action = ? AND ", (action,)) if action is not None else ("", ())
        query = (
            f"SELECT kind, action, payload, stored_s FROM records WHERE {where}stored_s >= ? "  # noqa: S608 - no value in it
            "ORDER BY stored_s, rowid"
        )
        rows = await self._read(query, (*words, since_s))
        return [Record(str(kind), str(of), bytes(raw), at) for kind, of, raw, at in rows]

    async def recorded_ids(self) -> set[str]:
        """The ids of all actions that are on record, as far as the records claim."""
        query = "SELECT DISTINCT action FROM records WHERE kind IN ('action', 'cancel')"
        return {str(row[0]) for row in await self._read(query)}

    async def read_up_to(self, stream: str, made: str) -> int:
        """Up to where a stream was read that was `made` then; one that was made anew is read from its start."""
        rows = await self._read("SELECT sequence FROM read_up_to WHERE stream = ? AND made = ?", (stream, made))
        return int(rows[0][0]) if rows else 0

    async def keep_read_up_to(self, stream: str, made: str, sequence: int) -> None:
        """Keep up to where it was read."""
        await self._write("INSERT OR REPLACE INTO read_up_to VALUES (?, ?, ?)", [(stream, made, sequence)])

    async def begin_reading(self, what: SignedKind, stream: str, made: str, last: int) -> int:
        """Up to where a stream was read that was `made` then and ends with `last`.

        0 where it was made anew since, or ends before: then what was kept of it goes. That is one transaction, so that of
        two consoles which begin at once the second takes nothing away that the first has read.
        """
        fits = "SELECT 1 FROM read_up_to WHERE stream = ? AND made = ? AND sequence <= ?"
        place = (stream, made, last)
        if not await self._read(fits, place):
            await self._write_all(
                (f"DELETE FROM {what} WHERE NOT EXISTS ({fits})", [place]),  # noqa: S608 - one of two names
                (
                    f"INSERT OR REPLACE INTO read_up_to SELECT ?, ?, 0 WHERE NOT EXISTS ({fits})",
                    [(stream, made, *place)],
                ),
            )
        return await self.read_up_to(stream, made)

    async def beats(self) -> dict[str, Beat]:
        """The newest heartbeat that was heard of each agent, by its own clock."""
        rows = await self._read("SELECT agent, told_s, seen_s, stopped FROM beats")
        return {str(agent): Beat(told_s, seen_s, bool(stopped)) for agent, told_s, seen_s, stopped in rows}

    async def keep_beats(self, beats: Mapping[str, Beat]) -> None:
        """Keep these."""
        await self._write(
            "INSERT OR REPLACE INTO beats VALUES (?, ?, ?, ?)",
            [(agent, beat.told_s, beat.seen_s, beat.stopped) for agent, beat in beats.items()],
        )

    async def forget_beats(self, agent: str) -> None:
        """Forget those of one agent, whose clock was set back for a known reason."""
        await self._write("DELETE FROM beats WHERE agent = ?", [(agent,)])
        await self.forget_signed("facts", [agent])
        await self.forget_signed("heartbeats", [agent])

    async def signed(self, what: SignedKind) -> list[Signed]:
        """The newest that each agent signed, as it was verified here."""
        query = f"SELECT agent, sequence, seen_s, content, problem FROM {what}"  # noqa: S608 - one of two names
        return [Signed(*row) for row in await self._read(query)]

    async def keep_signed(self, what: SignedKind, items: Sequence[Signed]) -> None:
        """Keep these in place of older ones."""
        await self._write(
            f"INSERT INTO {what} VALUES (?, ?, ?, ?, ?) ON CONFLICT (agent) DO UPDATE SET sequence = excluded.sequence, "  # noqa: S608
            "seen_s = excluded.seen_s, content = excluded.content, problem = excluded.problem "
            "WHERE excluded.sequence > sequence",
            [(one.agent, one.sequence, one.seen_s, one.content, one.problem) for one in items],
        )

    async def forget_signed(self, what: SignedKind, agents: Sequence[str]) -> None:
        """Forget what these agents signed."""
        await self._write(f"DELETE FROM {what} WHERE agent = ?", [(agent,) for agent in agents])  # noqa: S608

    async def heads(self, agent: str | None = None) -> list[ChainHead]:
        """Every head of an audit that is kept, or those of one agent, in the order in which they were heard."""
        where, words = ("WHERE agent = ? ", (agent,)) if agent is not None else ("", ())
        query = f"SELECT agent, count, head, told_s, seen_s FROM heads {where}ORDER BY place"  # noqa: S608 - no value in it
        return [ChainHead(*row) for row in await self._read(query, words)]

    async def newest_heads(self) -> dict[str, ChainHead]:
        """The head with the highest count, per agent."""
        rows = await self._read("SELECT agent, count, head, told_s, seen_s FROM newest_heads")
        return {str(row[0]): ChainHead(*row) for row in rows}

    async def heads_unlike_heartbeats(self) -> dict[str, ChainHead]:
        """Of agents whose kept heartbeat does not go on from it: the head with the highest count."""
        rows = await self._read(
            "SELECT agent, count, head, told_s, newest_heads.seen_s FROM newest_heads JOIN "
            "(SELECT agent, seen_s, CAST(content AS TEXT) AS told FROM heartbeats WHERE problem = '') USING (agent) "
            "WHERE coalesce(json_extract(told, '$.n'), 0) < count OR (json_extract(told, '$.n') = count AND json_extract(told, '$.h') <> head)"
        )
        return {str(row[0]): ChainHead(*row) for row in rows}

    async def keep_heads(self, heads: Sequence[ChainHead]) -> None:
        """Keep heads of chains that grew. Of an honest chain there is nothing else: what is shorter is not evidence of more."""
        if not heads:
            return
        newest = await self.newest_heads()
        grown = [head for head in heads if head.agent not in newest or head.count > newest[head.agent].count]
        if not grown:
            return
        rows = [(head.agent, head.count, head.head, head.told_s, head.seen_s) for head in grown]
        await self._write("INSERT INTO heads (agent, count, head, told_s, seen_s) VALUES (?, ?, ?, ?, ?)", rows)
        await self._write("INSERT OR REPLACE INTO newest_heads VALUES (?, ?, ?, ?, ?)", rows)
        ((kept, agents),) = await self._read("SELECT (SELECT count(*) FROM heads), (SELECT count(*) FROM newest_heads)")
        if kept > MAX_HEADS * agents:
            await self._write(_THIN_OUT, [()])

    async def forget_heads(self, agent: str) -> int:
        """Forget those of one agent, whose chain began anew for a known reason; returns how many there were."""
        known = len(await self.heads(agent))
        await self._write("DELETE FROM heads WHERE agent = ?", [(agent,)])
        await self._write("DELETE FROM newest_heads WHERE agent = ?", [(agent,)])
        return known

    async def acknowledge(self, alert: str) -> None:
        """Note that this letter of alerts is acknowledged from here; forget those that no stream can hold any more."""
        now_s = time.time()
        await self._write("INSERT OR IGNORE INTO acknowledged VALUES (?, ?)", [(alert, now_s)])
        await self._write("DELETE FROM acknowledged WHERE when_s < ?", [(now_s - ALERTS_KEPT_S,)])

    async def acknowledged(self) -> set[str]:
        """The ids of the letters that were acknowledged from here."""
        return {str(row[0]) for row in await self._read("SELECT id FROM acknowledged")}

    async def pins(self) -> list[Pinned]:
        """Who had each name first."""
        return [Pinned(*row) for row in await self._read("SELECT name, agent, machine, token, since_s FROM pins")]

    async def vouched(self) -> dict[str, list[str]]:
        """The agents that each token (by its key) let in."""
        used: dict[str, list[str]] = {}
        for agent, token in await self._read("SELECT agent, token FROM vouched"):
            used.setdefault(str(token), []).append(str(agent))
        return used

    async def keep_pins(self, pins: Sequence[Pinned]) -> None:
        """Keep who had a name first; a pin that was let go (`Register`) is replaced."""
        rows = [(pin.name, pin.agent, pin.machine, pin.token, pin.since_s) for pin in pins]
        await self._write("INSERT OR REPLACE INTO pins VALUES (?, ?, ?, ?, ?)", rows)
        await self._write("INSERT OR REPLACE INTO vouched VALUES (?, ?)", [(pin.agent, pin.token) for pin in pins])

    async def statements(self) -> list[Kept]:
        """Every statement that was ever heard, whatever the broker still has."""
        rows = await self._read("SELECT mark, envelope, rules, problem FROM statements")
        return [Kept(str(row[0]), bytes(row[1]), str(row[2]), str(row[3])) for row in rows]

    async def keep_statements(self, statements: Sequence[Kept]) -> None:
        """Keep statements, with what was found of them under which rules."""
        rows = [(one.mark, one.envelope, one.rules, one.problem) for one in statements]
        await self._write("INSERT OR REPLACE INTO statements VALUES (?, ?, ?, ?)", rows)

    async def _read(self, query: str, words: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        async with self._one_at_a_time:
            try:
                async with self._database.execute(query, tuple(words)) as cursor:
                    return [tuple(row) for row in await cursor.fetchall()]
            except sqlite3.Error as error:
                raise self._problem(error) from None

    async def _write(self, statement: str, rows: Sequence[tuple[object, ...]]) -> int:
        """How many rows it changed."""
        return await self._write_all((statement, rows)) if rows else 0

    async def _write_all(self, *statements: tuple[str, Sequence[tuple[object, ...]]]) -> int:
        """All of it or nothing; how many rows it changed."""
        changed = 0
        async with self._one_at_a_time:
            try:
                for statement, rows in statements:
                    changed += (await self._database.executemany(statement, rows)).rowcount
                await self._database.commit()
            except sqlite3.Error as error:
                with contextlib.suppress(sqlite3.Error):
                    await self._database.rollback()
                raise self._problem(error) from None
        return changed

    def _problem(self, error: sqlite3.Error) -> DeploymentError:
        hint = "`investigator sync` moves it aside and begins a new one from the streams." if is_damage(error) else ""
        return DeploymentError(f"{self.path}: {error}", hint=hint)
