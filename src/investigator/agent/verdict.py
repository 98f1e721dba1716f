"""Stage 5, judging: what became of an operation, from how its worker ended and what it said. Pure."""

from __future__ import annotations

import codecs
import os
import re
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from investigator.agent.channel import Kind, Record, UnreadAnswer
from investigator.protocol.result import MAX_PIECE_BYTES, Result

if TYPE_CHECKING:
    from collections.abc import Callable

    from investigator.agent.limits import Limits

STDERR_TAIL_CHARACTERS: Final = 2048
_PIECE_BYTES: Final = 1 << 20
_FAILURE_BYTES: Final = 64 << 10
_CODE: Final = re.compile(r"[a-z][a-z-]{0,31}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """What became of one operation.

    `code` is empty for "done", else one of these.

    - deadline: killed at the action's deadline or the limit of time (with "timeout"; all others come with "failed")
    - memory, processes, output, open-files, file-size: met that limit
    - crashed: the worker ended without an answer
    - garbage: what it answered is no result
    - raised: the module raised an exception
    - module: the module's own result says that it failed
    - unknown-module, bad-parameters, bad-regex, …: it could not be run; the latter are codes of `errors`
    """

    state: Literal["done", "failed", "timeout"]
    code: str
    result: Result
    """With its findings as JSON text: `Result.read` decodes them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What came from a worker: `size` is what its frame announced (None: not even that), `body` what came of it."""

    size: int | None = None
    body: bytes = b""


def failed(code: str, *errors: str) -> Ran:
    """An operation that failed, with the reason first."""
    return Ran(state="failed", code=code, result=Result.failed(*errors))


def timed_out(text: str) -> Ran:
    """An operation that was not done in time."""
    return Ran(state="timeout", code="deadline", result=Result.failed(text))


def largest_answer(limits: Limits) -> int:
    """The bytes of the largest frame that an honest worker sends: a result, or why there is none."""
    return max(limits.output_bytes, _FAILURE_BYTES)


def is_piece(body: bytes) -> bool:
    """Whether a worker's frame holds findings that can be passed on: an object or a list of JSON, not too large."""
    if len(body) > MAX_PIECE_BYTES or body[:1] not in (b"{", b"["):
        return False
    try:
        msgspec.json.decode(body, type=msgspec.Raw)
        _check_utf8(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
    return True


def judge(
    end: Record | None, heard: Heard, *, limits: Limits, took_s: float, last_words: Callable[[], str] = str
) -> Ran:
    """What became of it. `end` is None when the fork server went first.

    A complete answer counts, whatever happened to the worker afterwards. Without one `last_words` is asked what it wrote
    to its standard error.
    """
    ran = _answered(heard) or _unanswered(end, heard, limits, took_s, last_words)
    if end is not None and end.left:
        note = f"{end.left:,} of its processes could not be ended yet"
        ran.result.errors = [*(ran.result.errors or []), note]
    return ran


def _answered(heard: Heard) -> Ran | None:
    if heard.size is None or len(heard.body) < heard.size:
        return None
    try:
        answer = msgspec.json.decode(heard.body, type=UnreadAnswer)
        _check_utf8(heard.body)  # of what stays text, msgspec checks the syntax alone
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    result = answer.result.passed_on()
    if answer.code:
        return Ran(state="failed", code=answer.code, result=result) if _CODE.fullmatch(answer.code) else None
    return (
        Ran(state="done", code="", result=result)
        if result.success
        else Ran(state="failed", code="module", result=result)
    )


def _check_utf8(body: bytes) -> None:
    """Raise UnicodeDecodeError unless it is; piece by piece, since a text of the whole would be as large again."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    view = memoryview(body)
    for at in range(0, len(view), _PIECE_BYTES):
        decoder.decode(view[at : at + _PIECE_BYTES])
    decoder.decode(b"", final=True)


def _unanswered(end: Record | None, heard: Heard, limits: Limits, took_s: float, last_words: Callable[[], str]) -> Ran:
    if end is None:
        return failed("crashed", "the workers' server process ended, and all operations with it")
    match end.kind:
        case Kind.DEADLINE:
            limit = f"; the limit is {limits.wall_clock_s:g} s" if took_s >= limits.wall_clock_s else ""
            used = f"; it had {end.number / 1000:.3g} s of a processor, at most {limits.cpu_percent} % of one"
            return timed_out(f"killed at its deadline, {took_s:.3g} s after its start{limit}{used}")
        case Kind.MEMORY:
            text = f"out of memory, all its processes together: {end.number:,} bytes used; the limit is"
            return failed("memory", f"{text} {limits.memory_bytes:,}", *_tail(last_words()))
        case Kind.PROCESSES:
            return failed("processes", f"killed for its {end.number:,} processes; the limit is {limits.processes:,}")
        case Kind.NOT_STARTED:
            return failed("crashed", f"no worker could be started: {os.strerror(end.status)}")
        case _:
            code, text = _unexplained(end, heard, limits)
            return failed(code, text, *_tail(last_words()))


def _unexplained(end: Record, heard: Heard, limits: Limits) -> tuple[str, str]:
    """Code and text for a worker that ended without being told to, or was ended for what it said."""
    if heard.size is not None and heard.size > largest_answer(limits):
        return "garbage", f"an answer of {heard.size:,} bytes was announced; the limit is {limits.output_bytes:,}"
    if end.status < 0 and end.kind is not Kind.KILLED:
        return _signalled(end, limits)
    if heard.size is not None or heard.body:
        return "garbage", f"the worker's answer is no result ({len(heard.body):,} bytes)"
    if end.kind is Kind.KILLED:
        return "crashed", "the worker closed its socket without a result, and stayed"
    return "crashed", f"the worker ended without a result (exit status {end.status})"


def _signalled(end: Record, limits: Limits) -> tuple[str, str]:
    """Killed, by itself or from outside; a library that aborts when an allocation fails is told by the peak."""
    try:
        name = signal.Signals(-end.status).name
    except ValueError:
        name = f"signal {-end.status}"
    if end.number >= 0.9 * limits.memory_bytes:
        return "memory", f"out of memory ({name}): {end.number:,} bytes used; the limit is {limits.memory_bytes:,}"
    by = ", and not by this agent" if end.status == -signal.SIGKILL else ""
    return "crashed", f"the worker was killed by {name}{by}"


def _tail(stderr: str) -> list[str]:
    """The last of what it said, on one line, with nothing that a terminal would obey."""
    text = " | ".join(line.strip() for line in stderr.splitlines() if line.strip())
    text = "".join(character if character.isprintable() else "?" for character in text)
    return [f"its standard error ended with: {text[-STDERR_TAIL_CHARACTERS:]}"] if text else []
