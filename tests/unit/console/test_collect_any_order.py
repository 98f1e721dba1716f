"""What an action comes to at the console is the same for any order and any repetition of what arrives, and whoever sends rubbish."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from investigator.console.collect import Collection
from investigator.console.expecting import placed_for
from investigator.console.inventory import Inventory
from investigator.protocol.action import Action, Operation
from investigator.protocol.answer import pack
from investigator.protocol.facts import Heartbeat, encode_facts, encode_heartbeat
from investigator.protocol.identity import Identity
from investigator.protocol.piece import Piece
from investigator.protocol.result import Outcome, Result
from investigator.protocol.sealing import generate_sealing_key, public_sealing_key
from investigator.protocol.tally import STATES
from signed import ACTION_ID

ENVELOPE = hashlib.sha256(b"envelope").hexdigest()
DIGEST = "d" * 64
AGENTS = [Identity(bytes([number]) * 32) for number in (1, 2, 3)]
STRANGER = Identity(bytes([9]) * 32)
NOW = datetime.now(UTC)


def action(*, expired: bool = False, sealto: str | None = None) -> Action:
    ends = NOW + timedelta(seconds=-60 if expired else 86_400)
    return Action(
        id=ACTION_ID, name="n", target="all", condition=[], validfrom=NOW - timedelta(seconds=120), expireafter=ends,
        operations=(Operation(module="file"), Operation(module="file")), sealto=sealto,
    )  # fmt: skip


def outcome(state: Any, **more: Any) -> Outcome:
    return Outcome(state=state, name="n", **more)


BIG = outcome("found", results=[Result(success=True, foundanything=True, elements=["x" * 300_000])], finished_s=2.0)
SAID: list[Outcome | Piece] = [
    BIG,
    outcome("notfound"),
    outcome("failed", code="memory", finished_s=1.0),
    outcome("timeout", code="deadline", finished_s=2.0),
    outcome("cancelled", code="by-signer"),
    outcome("refused", code="permission", envelope=ENVELOPE),
    outcome("refused", code="replayed", envelope=ENVELOPE),
    outcome("refused", code="signature", envelope="e" * 64),  # of a copy that was not sent from here
    outcome("found", results=[Result(success=True, elements=["z"])], pieces=[2, 0]),
    Piece(operation=0, number=1, elements=["x"]),
    Piece(operation=0, number=2, elements=["y"]),
    Piece(operation=1, number=1, elements=["w"]),
    Piece(operation=7, number=1, elements=["nothing of this was asked"]),
]
WHO = st.sampled_from(range(len(AGENTS)))
ARRIVING = st.lists(st.tuples(WHO, st.sampled_from(range(len(SAID))), st.booleans()), min_size=1, max_size=8)
RUBBISH = [b"", b"\x00", b"\x01" + bytes(80), b"\x02x", b"\x00" + bytes(64) + b"{}\nx", b"\xff" * 500]


def payloads(arriving: list[tuple[int, int, bool]], kind: bytes) -> list[tuple[str, bytes]]:
    """(agent id, payload): of each told thing its parts, of this action or (last) of other bytes under its id."""
    made = [(AGENTS[0].id, kind)]
    for who, what, ours in arriving:
        digest = DIGEST if ours else "f" * 64
        packed = pack(SAID[what], AGENTS[who], action=ACTION_ID, digest=digest, sealto=None)
        made += [(AGENTS[who].id, payload) for payload in packed]
    # a stranger's answer in the first agent's name
    made += [(AGENTS[0].id, p) for p in pack(BIG, STRANGER, action=ACTION_ID, digest=DIGEST, sealto=None)]
    return made


async def one_batch(*payloads: tuple[str, bytes]) -> AsyncIterator[list[tuple[str, bytes]]]:
    yield list(payloads)


class Nothing:
    """A store that keeps nothing."""

    async def keep_answers(self, *_: Any) -> int:
        return 0


class Watched(Collection):
    def __init__(self, **more: Any) -> None:
        hosts = [SimpleNamespace(id=agent.id, name=f"web-{at}") for at, agent in enumerate(AGENTS)]
        self.told: list[tuple[str, Outcome]] = []
        self.warnings: list[str] = []
        plain: dict[str, Any] = {
            "action": action(),
            "digest": DIGEST,
            "envelope": ENVELOPE,
            "broker": None,
            "store": Nothing(),
            "inventory": SimpleNamespace(hosts={host.id: host for host in hosts}),
            "targeted": hosts,
            "private_key": None,
            "on_outcome": lambda agent, _name, said: self.told.append((agent, said)),
            "on_warning": self.warnings.append,
        }
        super().__init__(**{**plain, **more})

    def hear(self, agent: str, payload: bytes) -> None:
        asyncio.run(self._take_all(one_batch((agent, payload))))


def come_to(arriving: list[tuple[str, bytes]]) -> Any:
    watched = Watched()
    for agent, payload in arriving:
        watched.hear(agent, payload)
    states = watched.states()
    assert set(states) >= {agent.id for agent in AGENTS}
    assert all(state in STATES for state in states.values())
    assert sum(watched.tally.counts(seen_since=watched.seen_since).values()) == len(states)
    assert len({agent for agent, _ in watched.told}) == len(watched.told)
    return states, watched.tally.said, watched.dropped, watched.tally.waiting(set(states))


@given(ARRIVING, st.sampled_from(RUBBISH), st.integers(0, 6), st.randoms(use_true_random=False))
def test_any_order_and_repetition_comes_to_the_same(
    arriving: list[tuple[int, int, bool]], rubbish: bytes, repeated: int, rng: random.Random
) -> None:
    made = payloads(arriving, rubbish)
    again = made + rng.choices(made, k=repeated)
    rng.shuffle(again)
    assert come_to(made) == come_to(again)


def test_a_part_that_never_comes_leaves_the_agent_waiting_and_one_that_comes_last_ends_it() -> None:
    watched = Watched()
    first, *others = pack(BIG, AGENTS[0], action=ACTION_ID, digest=DIGEST, sealto=None)
    for payload in reversed(others):
        watched.hear(AGENTS[0].id, payload)
    assert not watched.told
    assert watched.states()[AGENTS[0].id] == "expired"
    watched.hear(AGENTS[0].id, first)
    assert [said.state for _, said in watched.told] == ["found"]


@pytest.mark.parametrize("rubbish", RUBBISH)
def test_rubbish_is_one_line_and_stops_nothing(rubbish: bytes) -> None:
    watched = Watched()
    watched.hear(AGENTS[0].id, rubbish)
    for payload in pack(outcome("notfound"), AGENTS[0], action=ACTION_ID, digest=DIGEST, sealto=None):
        watched.hear(AGENTS[0].id, payload)
    assert (len(watched.warnings), watched.dropped) == (1, 1)
    assert "\n" not in watched.warnings[0]
    assert watched.states()[AGENTS[0].id] == "notfound"


def test_what_is_sealed_to_another_key_is_counted_and_has_no_state() -> None:
    mine, theirs = generate_sealing_key(), generate_sealing_key()
    import base64

    sealto = base64.b64encode(public_sealing_key(theirs)).decode()
    made = list(pack(outcome("found"), AGENTS[0], action=ACTION_ID, digest=DIGEST, sealto=sealto))
    without = Watched(action=action(sealto=sealto), private_key=mine)
    with_key = Watched(action=action(sealto=sealto), private_key=theirs)
    for watched in (without, with_key):
        watched.hear(AGENTS[0].id, made[0])
        watched.hear(AGENTS[1].id, b"\x01" + bytes(200))  # nobody sealed this
    assert without.sealed == {AGENTS[0].id, AGENTS[1].id}
    assert not without.dropped
    assert with_key.states()[AGENTS[0].id] == "found"
    assert (with_key.sealed, with_key.dropped) == (set(), 1)


def fleet(*seen: int) -> Inventory:
    """The agents, each with a heartbeat that says up to which sequence it has seen the actions' stream."""
    inventory = Inventory()
    for agent, sequence in zip(AGENTS, seen, strict=True):
        row = {"id": agent.id, "name": f"web-{sequence}", "os": "linux", "tags": {"role": "web"}}
        frame, digest = encode_facts(agent, row, heartbeat_s=60)
        inventory.hear_facts(agent.id, frame, NOW)
        beat = Heartbeat(t=int(NOW.timestamp()), f=digest, s=sequence)
        assert inventory.hear_heartbeat(agent.id, encode_heartbeat(agent, beat), NOW)
    return inventory


def test_an_agent_that_says_that_it_has_the_action_and_whose_result_never_came_is_named_when_time_is_over() -> None:
    inventory = fleet(41, 42, 43)
    hosts = list(inventory.hosts.values())
    placed = placed_for(hosts, {f"mig.action.all.{ACTION_ID}": 42, f"mig.action.tag.role.db.{ACTION_ID}": 1})
    assert set(placed.values()) == {42}
    over = Watched(action=action(expired=True), inventory=inventory, targeted=cast(Any, hosts), placed=placed)
    assert over.withheld() == ["web-42", "web-43"]
    for payload in pack(outcome("notfound"), AGENTS[2], action=ACTION_ID, digest=DIGEST, sealto=None):
        over.hear(AGENTS[2].id, payload)
    assert over.withheld() == ["web-42"]
    running = Watched(inventory=inventory, targeted=cast(Any, hosts), placed=placed)
    assert running.withheld() == []


def test_an_action_stands_where_the_agents_own_subjects_lead() -> None:
    hosts = list(fleet(1, 2, 3).hosts.values())
    sequences = {
        f"mig.action.os.windows.{ACTION_ID}": 1,
        f"mig.action.agent.{AGENTS[0].id}.{ACTION_ID}": 5,
        f"mig.action.tag.role.web.{ACTION_ID}": 7,
    }
    placed = placed_for(hosts, sequences)
    assert [placed[agent.id] for agent in AGENTS] == [5, 7, 7]
