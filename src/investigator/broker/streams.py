"""The JetStream streams of a deployment: made, and brought up to date, by whoever runs the broker.

Roll-up, message schedules and counters stay off everywhere (they are, unless asked for): with roll-up one heartbeat could
wipe every other. What agents write to keeps what it has when it is full (`discard: new`), so that nobody can push
another's messages out. Streams have a thousand consumers at most unless told otherwise (nats-server 2.15).

Heartbeats are not worth a disk's whole attention: where one server has to have each message on the disk before the next
(`sync_interval: always`), a hundred thousand agents' would take all of its writes. So theirs is the stream that it may write
when it likes (`persist_mode`, nats-server 2.12, one replica; more are never synced one by one).

The records are written by the server, which copies every message of the actions' stream. So that none is gone before it is
copied, nothing replaces a message there: each subject takes `MAX_PER_ACTION_SUBJECT`, and agents ask for the last one.
"""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

import msgspec

from investigator.broker.jetstream_api import NO_SUCH_STREAM, ApiAnswer, ask_stream
from investigator.broker.problems import JetStreamError, NotPermittedError
from investigator.errors import BrokerError
from investigator.protocol import subjects

if TYPE_CHECKING:
    from collections.abc import Mapping

    from investigator.broker.connection import Broker

_KIB: Final = 1 << 10
_MIB: Final = 1 << 20
_GIB: Final = 1 << 30
_HOUR_NS: Final = 3600 * 10**9
_DAY_NS: Final = 24 * _HOUR_NS
MAX_PER_ACTION_SUBJECT: Final = 16
"""An action, sent again, and its cancels; what comes beyond that is refused."""
RECORDS_KEPT_DAYS: Final = 400
_PERSIST: Final = "persist_mode"
"""Set when a stream is made, and never changed after that."""
_PERSISTS_FROM: Final = (2, 12)
_ASK_AGAIN_AFTER_S: Final = 0.2
FORMS_WITHIN_S: Final = 30.0
_FORMING: Final = frozenset((10004, 10005, 10008, 10009))
"""Incomplete results; no suitable peers for placement; temporarily unavailable; not the leader."""

_ALL: Final = {
    "retention": "limits",
    "storage": "file",
    "discard": "new",
    "allow_direct": True,
    "max_consumers": 10_000,
    "duplicate_window": _HOUR_NS,
    # said, so that a stream that somebody changed is changed back
    "allow_rollup_hdrs": False,
    "allow_msg_ttl": False,
    "allow_msg_schedules": False,
    "allow_msg_counter": False,
}

STREAMS: Final[Mapping[str, Mapping[str, Any]]] = {
    subjects.ACTIONS: {
        **_ALL,
        "description": "signed actions and cancels, until they expire",
        "subjects": [subjects.ALL_ACTIONS],
        "max_age": 30 * _DAY_NS,
        "max_bytes": _GIB,
        "max_msg_size": _MIB,
        "max_msgs_per_subject": MAX_PER_ACTION_SUBJECT,
        "discard_new_per_subject": True,
        "allow_msg_ttl": True,
    },
    subjects.RECORDS: {
        **_ALL,
        "description": "every action and cancel that was ever sent, how each ended, statements",
        "subjects": [subjects.ALL_RECORDS],
        "sources": [
            {
                "name": subjects.ACTIONS,
                "subject_transforms": [{"src": subjects.ALL_ACTIONS, "dest": subjects.ALL_ACTION_RECORDS}],
            }
        ],
        "max_age": RECORDS_KEPT_DAYS * _DAY_NS,
        "max_bytes": 4 * _GIB,
        "max_msg_size": _MIB,
        "compression": "s2",
        # what is recorded stays, whoever asks
        "deny_delete": True,
        "deny_purge": True,
    },
    subjects.RESULTS: {
        **_ALL,
        "description": "signed, sealed results",
        "subjects": [subjects.ALL_RESULTS],
        "max_age": 7 * _DAY_NS,
        "max_bytes": 8 * _GIB,
        "max_msg_size": _MIB,
        "compression": "s2",
    },
    subjects.FACTS: {
        **_ALL,
        "description": "each agent's facts, for good",
        "subjects": [subjects.ALL_FACTS],
        "max_bytes": 4 * _GIB,  # of two million agents
        "max_msg_size": 128 * _KIB,
        "max_msgs_per_subject": 1,
    },
    subjects.HEARTBEATS: {
        **_ALL,
        "description": "each agent's last heartbeat",
        "subjects": [subjects.ALL_HEARTBEATS],
        "max_age": _DAY_NS,
        "max_bytes": 256 * _MIB,
        "max_msg_size": 2 * _KIB,
        "max_msgs_per_subject": 1,
        "no_ack": True,
    },
    subjects.ALERTS: {
        **_ALL,
        "description": "signed alerts, until an investigator acknowledges them",
        "subjects": [subjects.ALL_ALERTS],
        "max_age": 30 * _DAY_NS,
        "max_bytes": _GIB,
        "max_msg_size": 256 * _KIB,
        # One module that raises alarms all day fills its own subject, not the stream; the rest waits on its host.
        "max_msgs_per_subject": 1000,
        "discard_new_per_subject": True,
        "compression": "s2",
    },
}


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamState:
    """How a stream stands, as the broker tells it."""

    name: str
    exists: bool = True
    messages: int = 0
    bytes: int = 0
    max_bytes: int = 0
    """0: no limit of its own."""
    replicas: int = 1
    leader: str = ""
    """The server that writes it; empty on a broker that stands alone, and while a cluster has none."""
    behind: tuple[str, ...] = ()
    """Replicas that are offline, or have not all of it."""
    in_cluster: bool = False
    told_s: float = 0.0
    """The broker's clock when it said so, in seconds since 1970; 0: it did not say."""

    @property
    def full(self) -> float:
        """From 0 to 1, of its own limit; at 1 it takes nothing more."""
        return self.bytes / self.max_bytes if self.max_bytes > 0 else 0.0

    @property
    def room_bytes(self) -> float:
        """What it takes until its own limit; infinity, where it has none."""
        return max(0, self.max_bytes - self.bytes) if self.max_bytes > 0 else math.inf


class _State(msgspec.Struct):
    last_seq: int = 0
    subjects: dict[str, int] | None = None
    messages: int = 0
    bytes: int = 0


class _Replica(msgspec.Struct):
    name: str = ""
    current: bool = False
    offline: bool = False


class _Cluster(msgspec.Struct):
    leader: str = ""
    name: str = ""
    replicas: list[_Replica] = []


class _Info(ApiAnswer):
    config: dict[str, Any] = msgspec.field(default_factory=dict)
    created: str = ""
    state: _State = msgspec.field(default_factory=_State)
    total: int = 0
    cluster: _Cluster | None = None
    ts: datetime | None = None


@dataclass(frozen=True, slots=True)
class StreamExtent:
    """Which stream it is, and how far it goes."""

    made: str
    """When it was made, by the broker's clock; another stream of its name says another time."""
    last_sequence: int
    subjects: dict[str, int]
    """How many messages each subject has, as far as it was asked."""
    messages: int = 0
    """In all."""


async def stream_states(broker: Broker) -> list[StreamState]:
    """How each stream of a deployment stands; an investigator may ask this.

    Raises:
        BrokerError: the server does not answer, or will not say.
    """
    states = []
    for name in STREAMS:
        found = await _info_if_there(broker, name)
        states.append(StreamState(name=name, exists=False) if found is None else _state(name, found))
    return states


async def how_full(broker: Broker, stream: str) -> StreamState:
    """How one stream stands; an investigator may ask this.

    Raises:
        BrokerError: there is no such stream, or no answer.
    """
    return _state(stream, await _info(broker, stream))


async def when_ready(broker: Broker, *, within_s: float = 30.0) -> None:
    """Return when the servers can make streams: a cluster that has just started first finds a leader.

    Raises:
        BrokerError: why they cannot, after that time.
    """
    loop = asyncio.get_running_loop()
    ends_s = loop.time() + within_s
    while True:
        try:
            await _info_if_there(broker, subjects.ACTIONS)
        except NotPermittedError:
            raise
        except BrokerError as error:
            if loop.time() > ends_s:
                raise BrokerError(f"the servers are not ready for streams: {error}") from None
        else:
            return
        await asyncio.sleep(_ASK_AGAIN_AFTER_S)


def _state(name: str, found: _Info) -> StreamState:
    cluster = found.cluster or _Cluster()
    limit = found.config.get("max_bytes", 0)
    replicas = found.config.get("num_replicas", 1)
    return StreamState(
        name=name,
        messages=found.state.messages,
        bytes=found.state.bytes,
        max_bytes=max(0, limit) if isinstance(limit, int) else 0,
        replicas=replicas if isinstance(replicas, int) else 1,
        leader=cluster.leader if cluster.name else "",
        behind=tuple(one.name for one in cluster.replicas if one.offline or not one.current),
        in_cluster=bool(cluster.name),
        told_s=found.ts.timestamp() if found.ts is not None else 0.0,
    )


async def ensure_streams(broker: Broker, *, records_days: int = RECORDS_KEPT_DAYS, replicas: int = 1) -> list[str]:
    """Make the streams that are missing, and change those that differ; one line for each thing done.

    The connection must be of the user `services`. On a cluster `replicas` servers keep each stream; one whose servers are
    still finding each other is waited for. `records_days`: how long records are kept.

    Raises:
        BrokerError: the server refused, naming the stream (some settings can never be changed).
    """
    done = []
    own: dict[str, dict[str, Any]] = {subjects.RECORDS: {"max_age": records_days * _DAY_NS}}
    loop = asyncio.get_running_loop()
    forms_until_s = loop.time() + (FORMS_WITHIN_S if replicas > 1 else 0.0)
    for name, usual in STREAMS.items():
        if name == subjects.HEARTBEATS and replicas == 1 and _version(broker) >= _PERSISTS_FROM:
            own[name] = {_PERSIST: "async"}
        wanted = {**usual, **own.get(name, {}), "num_replicas": replicas}
        while True:
            try:
                done += await _ensure_stream(broker, name, wanted)
            except JetStreamError as error:
                if error.number not in _FORMING or loop.time() > forms_until_s:
                    raise
                await asyncio.sleep(_ASK_AGAIN_AFTER_S)
            else:
                break
    return done


async def _ensure_stream(broker: Broker, name: str, wanted: Mapping[str, Any]) -> list[str]:
    """One of them; done again, it does what is left to do."""
    found = await _info_if_there(broker, name)
    if found is None:
        await ask_stream(broker, "CREATE", name, {"name": name, **wanted}, ApiAnswer)
        return [f"made stream {name} ({', '.join(wanted['subjects'])})"]
    if name == subjects.HEARTBEATS and _persists(found.config) != _persists(wanted):
        await ask_stream(broker, "DELETE", name, None, ApiAnswer)
        await ask_stream(broker, "CREATE", name, {"name": name, **wanted}, ApiAnswer)
        return [f"made stream {name} anew: heartbeats come again within a minute"]
    return await _bring_up_to_date(broker, name, wanted, found.config)


def without_persistence(config: Mapping[str, Any]) -> dict[str, Any]:
    """A stream's settings for more than one replica, of which the server takes no other way to persist than the usual one."""
    return {key: value for key, value in config.items() if key != _PERSIST}


def _persists(config: Mapping[str, Any]) -> str:
    return str(config.get(_PERSIST) or "default")


def _version(broker: Broker) -> tuple[int, ...]:
    return tuple(int(part) for part in broker.peer().version.lstrip("v").split(".")[:2] if part.isdigit())


async def stream_state(broker: Broker, stream: str, *, subjects_filter: str = "") -> StreamExtent:
    """Ask a stream for its state; without a filter no subjects are told.

    Raises:
        BrokerError: there is no such stream, or no answer; NotPermittedError, if this user may not ask.
    """
    subjects_seen: dict[str, int] = {}
    while True:
        question = {"subjects_filter": subjects_filter, "offset": len(subjects_seen)} if subjects_filter else {}
        found = await _info(broker, stream, question)
        page = found.state.subjects or {}
        subjects_seen |= page
        if not page or len(subjects_seen) >= found.total:  # the server tells 100,000 at a time
            return StreamExtent(found.created, found.state.last_seq, subjects_seen, found.state.messages)


async def _bring_up_to_date(
    broker: Broker, name: str, wanted: Mapping[str, Any], present: Mapping[str, Any]
) -> list[str]:
    """What the server leaves out of its answer is off, or without limit."""
    changes = {key: value for key, value in wanted.items() if present.get(key, False) != value}
    if not changes:
        return []
    await ask_stream(broker, "UPDATE", name, {**present, **changes}, ApiAnswer)
    told = ", ".join(f"{key} {present.get(key, 'off')} is now {value}" for key, value in changes.items())
    return [f"changed stream {name}: {told}"]


async def _info(broker: Broker, stream: str, question: Mapping[str, Any] | None = None) -> _Info:
    return await ask_stream(broker, "INFO", stream, question, _Info)


async def _info_if_there(broker: Broker, stream: str) -> _Info | None:
    try:
        return await _info(broker, stream)
    except JetStreamError as error:
        if error.number != NO_SUCH_STREAM:
            raise
        return None
