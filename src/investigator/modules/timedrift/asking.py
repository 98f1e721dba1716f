"""Asking NTP servers, in their order, until the first good answer.

A server that is silent for a second has the next one asked besides, so that a host that reaches only the last of them
does not wait for all the others in turn. Each is asked in a thread, for resolvers may hang; what is late is left behind.
"""

from __future__ import annotations

import queue
import socket
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from investigator.modules.timedrift.sntp import BadAnswer, Measurement, make_request, measure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from investigator.modules.timedrift.servers import Server

TIMEOUT_S: Final = 5.0
PATIENCE_S: Final = 1.0
_ATTEMPT_S: Final = 2.0
_BUFFER_BYTES: Final = 2048


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What became of asking one server: a measurement, or why there is none."""

    server: Server
    measurement: Measurement | None = None
    problem: str = ""


def ask_in_turn(servers: Sequence[Server], *, deadline_s: float) -> list[Reply]:
    """The replies of those that were asked, in their order; the last that came is the only good one, if any is."""
    came: queue.SimpleQueue[Reply] = queue.SimpleQueue()
    replies: dict[Server, Reply] = {}
    asked: list[Server] = []
    ends_s = float("-inf")
    while True:
        now_s = time.monotonic()
        if len(asked) < len(servers) and now_s < deadline_s:
            server = servers[len(asked)]
            asked.append(server)
            ends_s = min(now_s + TIMEOUT_S, deadline_s)
            threading.Thread(target=_ask_into, args=(came, server, ends_s), daemon=True, name="ntp").start()
        wait_s = PATIENCE_S if len(asked) < len(servers) else TIMEOUT_S
        try:
            reply = came.get(timeout=max(min(wait_s, ends_s - now_s), 0.0))
        except queue.Empty:
            if len(asked) == len(servers) or time.monotonic() >= deadline_s:
                break
            continue
        replies[reply.server] = reply
        if reply.measurement is not None or len(replies) == len(servers):
            break
    return [replies.get(each, Reply(server=each, problem="no answer in time")) for each in asked]


def ask(server: Server, *, ends_s: float) -> Measurement:
    """One server's answer; a lost datagram is sent once more.

    Raises:
        OSError: it cannot be reached, or is silent until `ends_s` on `time.monotonic()`'s scale.
        BadAnswer: it answered, and told no time.
    """
    # the host as bytes: for text, Python would load its tables of international names
    found = socket.getaddrinfo(server.host.encode("ascii"), server.port, type=socket.SOCK_DGRAM)
    family, _, _, _, address = found[0]
    problem: Exception = TimeoutError("no answer in time")
    while (left_s := ends_s - time.monotonic()) > 0:
        with socket.socket(family, socket.SOCK_DGRAM) as connection:
            connection.connect(address)
            try:
                return _exchange(connection, min(left_s, _ATTEMPT_S))
            except TimeoutError:
                continue
            except BadAnswer as error:
                problem = error
                break
    raise problem


def _exchange(connection: socket.socket, timeout_s: float) -> Measurement:
    """One question; answers to others are passed over, for anybody can send those."""
    request = make_request()
    deadline_s = time.monotonic() + timeout_s
    sent_ns, started_ns = time.time_ns(), time.perf_counter_ns()
    connection.send(request)
    while (left_s := deadline_s - time.monotonic()) > 0:
        connection.settimeout(left_s)
        answer = connection.recv(_BUFFER_BYTES)
        # by the steady clock, so that a clock that is set meanwhile spoils nothing
        received_ns = sent_ns + time.perf_counter_ns() - started_ns
        if answer[24:32] == request[-8:]:
            return measure(request, answer, sent_ns=sent_ns, received_ns=received_ns)
    raise TimeoutError("no answer in time")


def _ask_into(came: queue.SimpleQueue[Reply], server: Server, ends_s: float) -> None:
    try:
        reply = Reply(server=server, measurement=ask(server, ends_s=ends_s))
    except TimeoutError:
        reply = Reply(server=server, problem="no answer in time")
    except (OSError, BadAnswer, UnicodeError) as error:
        reply = Reply(server=server, problem=getattr(error, "strerror", None) or str(error))
    came.put(reply)
