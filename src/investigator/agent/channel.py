"""What the agent, its fork server and a worker say to each other, over Unix sockets that they inherit.

Agent and fork server exchange records of one size; a record that starts an operation carries two descriptors
(SCM_RIGHTS): the worker's socket and its standard error. Agent and worker exchange one frame each way: a length of four
bytes, big-endian, and that many bytes of JSON. Before its own a worker may send frames with `MORE`: findings, while it runs.
"""

from __future__ import annotations

import array
import enum
import os
import socket
import struct
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from investigator.agent.limits import Limits
from investigator.protocol.result import Result, UnreadResult

MARK: Final = "INVESTIGATOR_WORKERS"
"""The environment variable that marks a fork server and what came of it; it is written and never obeyed."""
OTHER_VERSION: Final = 75
"""The fork server's exit status when its code is not of the agent's version: the files were replaced while that ran."""
FRAME_HEAD: Final = struct.Struct(">I")
MORE: Final = 1 << 31
"""Added to the length of a frame that holds a piece of the findings; the answer is still to come."""
CATALOGUE: Final = ""
"""In place of a module's name: which modules can run here, and why the others cannot. No operation can ask it."""
REQUEST_BYTES: Final = 64 << 20
"""The largest request; an action is far smaller, but what it carries compressed may have been opened."""
_RECORD: Final = struct.Struct("<BB2xIIidQIQ")


class Kind(enum.IntEnum):
    """What a record says."""

    READY = 1
    """Fork server: everything is loaded."""
    RUN = 2
    """Agent: start `operation`; kill it at `deadline_s`, or when it has more than `number` processes; hold it to the rest."""
    KILL = 3
    """Agent: end `operation`."""
    ENDED = 4
    """Fork server: `operation` ended by itself, with the exit `status`; its peak memory was `number` bytes."""
    DEADLINE = 5
    """Fork server: it was killed at its deadline; it had used `number` milliseconds of processor time."""
    PROCESSES = 6
    """Fork server: it was killed for its `number` processes."""
    KILLED = 7
    """Fork server: it was killed as asked."""
    NOT_STARTED = 8
    """Fork server: no process could be forked; `status` is the errno."""
    MEMORY = 9
    """Fork server: the kernel killed it, because its cgroup had used `number` bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One record. `status` is as `os.waitstatus_to_exitcode` has it, `deadline_s` on `time.monotonic()`'s scale.

    In all that end an operation, `left` counts its processes that would not go within the fork server's patience.
    """

    kind: Kind
    operation: int = 0
    left: int = 0
    status: int = 0
    deadline_s: float = 0.0
    number: int = 0
    cpu_percent: int = 0
    memory_bytes: int = 0
    niceness: int = 0

    def pack(self) -> bytes:
        """Its bytes."""
        return _RECORD.pack(
            self.kind,
            self.niceness,
            self.operation,
            self.left,
            self.status,
            self.deadline_s,
            self.number,
            self.cpu_percent,
            self.memory_bytes,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a worker is asked for."""

    module: str
    parameters: Any
    deadline_s: float
    folder: str
    local: bool
    limits: Limits
    private: bool = False
    """Extra privacy mode: what names a file, person, peer or host leaves the worker masked."""
    in_pieces: bool = False
    """Whether findings may come in pieces, ahead of the answer."""
    keeps: str | None = None
    """For a persistent module, which runs until it is ended: its own folder. `parameters` are then its settings."""


class Answer(msgspec.Struct, kw_only=True):
    """What a worker says of an operation: why it failed, or "" with the module's own result."""

    code: str
    result: Result


class UnreadAnswer(msgspec.Struct, kw_only=True):
    """An `Answer` as the agent takes it: the findings stay JSON text."""

    code: str
    result: UnreadResult


def send_record(control: socket.socket, record: Record, descriptors: tuple[int, ...] = ()) -> None:
    """Send a record, whole.

    Raises:
        OSError: the other side is gone, or (BlockingIOError) reads no more.
    """
    ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
    control.sendmsg([record.pack()], ancillary)


def receive_record(control: socket.socket) -> tuple[Record, list[int]] | None:
    """The next record with its descriptors; None when the other side is gone.

    A record is sent by one call and is far smaller than a socket's buffer, so it arrives whole.

    Raises:
        BlockingIOError: the socket does not block and there is none yet.
    """
    try:
        data, ancillary, _, _ = control.recvmsg(_RECORD.size, socket.CMSG_SPACE(2 * array.array("i").itemsize))
    except ConnectionError:
        return None
    if len(data) < _RECORD.size:
        return None
    descriptors = array.array("i")
    for level, kind, content in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            descriptors.frombytes(content[: len(content) - len(content) % descriptors.itemsize])
    kind, niceness, operation, left, status, deadline_s, number, cpu_percent, memory_bytes = _RECORD.unpack(data)
    for descriptor in descriptors:
        # no program that a module starts shall hold an operation's socket
        os.set_inheritable(descriptor, False)  # noqa: FBT003 - it takes no keywords
    record = Record(
        kind=Kind(kind),
        operation=operation,
        left=left,
        status=status,
        deadline_s=deadline_s,
        number=number,
        cpu_percent=cpu_percent,
        memory_bytes=memory_bytes,
        niceness=niceness,
    )
    return record, descriptors.tolist()
