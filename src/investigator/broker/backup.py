"""Streams into files and back, by the server's own snapshots: with every message's sequence and time.

This is how a deployment moves from the embedded broker to a cluster, or to another disk. What is in the files needs no
trust beyond the broker's: who reads it back checks signatures as ever, and sealed results stay sealed.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, Final

import msgspec
import orjson

from investigator.broker.jetstream_api import ApiAnswer, ask_stream, read_answer
from investigator.broker.streams import STREAMS, stream_states, without_persistence
from investigator.errors import BadInput, BrokerError, DeploymentError

if TYPE_CHECKING:
    from collections.abc import Awaitable
    from pathlib import Path

    from investigator.broker.connection import Broker, Message

CHUNK_BYTES: Final = 128 << 10
_CHUNK_WITHIN_S: Final = 30.0
_MAX_DESCRIPTION_BYTES: Final = 1 << 20


class _Answer(ApiAnswer):
    config: dict[str, Any] = msgspec.field(default_factory=dict)
    state: dict[str, Any] = msgspec.field(default_factory=dict)
    deliver_subject: str = ""


class _Description(msgspec.Struct):
    """The file `<stream>.json`: what the server wants to know of a snapshot."""

    config: dict[str, Any]
    state: dict[str, Any]


async def back_up(broker: Broker, folder: Path) -> list[str]:
    """Write each stream to `<stream>.snapshot` and `<stream>.json` in a new folder; one line for each.

    The connection must be of the user `services`. Who writes meanwhile is not held up, and may be in it or not.

    Raises:
        DeploymentError: the folder is there already, or the disk does not take it.
        BrokerError: the server does not give it.
    """
    done = []
    try:
        _make_folder(folder)
        for state in await stream_states(broker):
            if state.exists:
                size = await _save(broker, state.name, folder)
                done.append(f"saved stream {state.name}: {state.messages:,} messages, {size:,} bytes")
    except OSError as error:
        raise DeploymentError(f"{error.filename or folder}: {error.strerror}") from None
    return done


async def restore(broker: Broker, folder: Path, *, replicas: int = 1) -> list[str]:
    """Make the streams of a backup; those that are there must be empty. One line for each.

    Raises:
        DeploymentError: there is no backup, or it cannot be read.
        BadInput: a file is none of a backup.
        BrokerError: a stream holds messages already, before anything is changed; or the server refuses one.
    """
    saved = [name for name in STREAMS if (folder / f"{name}.json").exists()]
    if not saved:
        raise DeploymentError(f"{folder}: there is no backup of streams")
    states = {state.name: state for state in await stream_states(broker)}
    for name in saved:
        if states[name].messages:
            raise BrokerError(
                f"stream {name} holds {states[name].messages:,} messages already; nothing was changed",
                hint="A backup is read into new servers, before agents and consoles are pointed to them.",
            )
    done = []
    for name in saved:
        if states[name].exists:
            await _ask(broker, "DELETE", name, {})
        try:
            messages = await _load(broker, name, folder, replicas)
        except OSError as error:
            raise DeploymentError(f"{error.filename or folder}: {error.strerror}") from None
        done.append(f"restored stream {name}: {messages:,} messages")
    return done


@dataclass(slots=True)
class _Receiver:
    """Takes a snapshot's chunks, in their order, and says so, for the server sends no more than a few ahead."""

    broker: Broker
    file: IO[bytes]
    over: asyncio.Future[None]
    """Done at the end of the snapshot."""
    bytes: int = 0
    chunks: int = 0

    def __call__(self, message: Message) -> Awaitable[None] | None:
        if self.over.done():
            return None
        if message.headers.get("Status"):
            self.over.set_exception(BrokerError(message.headers.get("Description", "the snapshot broke off")))
        elif not message.data:
            self.over.set_result(None)
        else:
            try:
                self.file.write(message.data)
            except OSError as error:
                self.over.set_exception(error)
                return None
            self.bytes += len(message.data)
            self.chunks += 1
            return self.broker.publish(message.reply, b"") if message.reply else None
        return None


async def _save(broker: Broker, name: str, folder: Path) -> int:
    inbox = f"{broker.inbox}.snapshot.{name}"
    with _new(folder / f"{name}.snapshot") as file:
        receiver = _Receiver(broker, file, asyncio.get_running_loop().create_future())
        subscription = await broker.subscribe(inbox, receiver)
        try:
            wanted = {"deliver_subject": inbox, "chunk_size": CHUNK_BYTES, "no_consumers": True}
            found = await _ask(broker, "SNAPSHOT", name, wanted)
            while not receiver.over.done():
                before = receiver.chunks
                await asyncio.wait({receiver.over}, timeout=_CHUNK_WITHIN_S)
                if not receiver.over.done() and receiver.chunks == before:
                    raise BrokerError(f"stream {name}: the snapshot stopped after {receiver.bytes:,} bytes")
            receiver.over.result()
        finally:
            receiver.over.cancel()
            await subscription.unsubscribe()
    with _new(folder / f"{name}.json") as file:
        file.write(orjson.dumps({"config": found.config, "state": found.state}, option=orjson.OPT_INDENT_2))
    return receiver.bytes


async def _load(broker: Broker, name: str, folder: Path, replicas: int) -> int:
    """How many messages it has now."""
    description = _read_description(folder / f"{name}.json", name)
    usual = description.config if replicas == 1 else without_persistence(description.config)
    config = {**usual, "num_replicas": replicas}
    with (folder / f"{name}.snapshot").open("rb") as file:
        place = (await _ask(broker, "RESTORE", name, {"config": config, "state": description.state})).deliver_subject
        if not place.startswith("$JS.SNAPSHOT.RESTORE."):
            raise BrokerError(f"stream {name}: the broker names no place for it")
        while chunk := file.read(CHUNK_BYTES):
            raw = await broker.request(place, chunk, timeout_s=_CHUNK_WITHIN_S)
            if raw:
                read_answer(raw, name, ApiAnswer)
        end = read_answer(await broker.request(place, b"", timeout_s=_CHUNK_WITHIN_S), name, _Answer)
    messages = end.state.get("messages", 0)
    return messages if isinstance(messages, int) else 0


def _read_description(path: Path, name: str) -> _Description:
    with path.open("rb") as file:
        raw = file.read(_MAX_DESCRIPTION_BYTES)
    try:
        description = msgspec.convert(orjson.loads(raw), _Description)
    except ValueError:
        raise BadInput(f"{path}: not the description of a snapshot") from None
    if description.config.get("name") != name:
        raise BadInput(f"{path}: of another stream")
    return description


async def _ask(broker: Broker, verb: str, stream: str, question: dict[str, Any]) -> _Answer:
    return await ask_stream(broker, verb, stream, question, _Answer, timeout_s=_CHUNK_WITHIN_S)


def _make_folder(folder: Path) -> None:
    folder.mkdir(mode=0o700, parents=True)


def _new(path: Path) -> IO[bytes]:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
