"""Stage 5, in the worker: read what is asked, run the module, write what it found, end.

The process was forked by `agent.forkserver`. Whatever it does, it never returns into the fork server's code.
"""

from __future__ import annotations

import contextlib
import errno
import faulthandler
import functools
import gc
import io
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

import msgspec
import orjson

from investigator.agent.channel import CATALOGUE, FRAME_HEAD, REQUEST_BYTES, Answer, Request
from investigator.agent.limits import Limits, adopt_orphans, bound, die_with, yield_to_others
from investigator.agent.pieces import Pieces
from investigator.agent.privacy import MASKED_FAILURE, as_dict, masked
from investigator.agent.survey import survey
from investigator.errors import BadInput, InvestigatorError
from investigator.modules import get_module
from investigator.modules.interface import Context, load_parameters
from investigator.modules.needs import missing
from investigator.protocol.result import Result

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from investigator.modules.interface import Module

RESULT_ROOM_BYTES: Final = 1 << 20
"""Of the limit on a result, what is left for all but the module's elements."""
ENDED_ALONE: Final = 83
"""The exit status of a worker that answered and left no process behind; any other has the fork server look for them."""
_LEFT_SOMETHING: Final = 84
_LIMITS_MET: Final = {
    errno.EMFILE: ("open-files", "too many open files: the limit is {0.open_files:,}"),
    errno.EFBIG: ("file-size", "a file grew too large: the limit is {0.file_bytes:,} bytes"),
}
"""What the kernel says when a module meets a limit that it can survive, and did not."""


def work(connection: socket.socket, stderr: int, parent: int) -> NoReturn:
    """Be the worker: one request from `connection`, one answer to it, and the end of the process.

    Standard output goes nowhere; standard error to `stderr`, as much as that takes.
    """
    status = 1
    try:
        _settle(stderr, parent)
        _serve(connection)
        status = ENDED_ALONE if _is_alone() else _LEFT_SOMETHING
    except BaseException as error:  # noqa: BLE001 - nothing may get back into the fork server
        print(one_line(error), file=sys.stderr)  # noqa: T201 - the agent reads it
    finally:
        os._exit(status)


def answer(request: Request, pieces: Pieces | None = None) -> Answer:
    """Do what is asked, in this process; whatever goes wrong is an answer too. Findings may go ahead through `pieces`."""
    if request.module == CATALOGUE:
        return Answer(code="", result=survey())
    try:
        module = get_module(request.module)
    except BadInput as error:
        return Answer(code="unknown-module", result=Result.failed(str(error)))
    lacks = missing(module.spec)
    if lacks is not None:
        return Answer(code="unavailable", result=Result.failed(lacks))
    return answer_by(module, module.run, request, pieces)


def answer_by(
    module: Module[Any], run: Callable[[Any, Context], Any], request: Request, pieces: Pieces | None = None
) -> Answer:
    """Have `run` answer with a module's result, as the module is asked in this request."""
    try:
        return _run(module, run, request, pieces)
    except MemoryError:
        pass  # answered below, when the frames that hold the memory are gone
    gc.collect()
    return Answer(
        code="memory",
        result=Result.failed(f"out of memory: the limit is {request.limits.memory_bytes:,} bytes"),
    )


def _run(module: Module[Any], run: Callable[[Any, Context], Any], request: Request, pieces: Pieces | None) -> Answer:
    """Run it; raises `MemoryError`, and nothing else."""
    running = False
    try:
        parameters = load_parameters(module, request.parameters, local=request.local)
        running = True  # what is said before comes of the request alone
        context = _context(request)
        if pieces is not None:
            context = replace(context, hand_over=functools.partial(pieces.hand_over, module, parameters))
        result: Any = run(parameters, context)
        if not isinstance(result, Result):
            return Answer(code="garbage", result=Result.failed(f"module {request.module} returned no result"))
        if request.private:
            result = masked(module, result, parameters)
    except MemoryError:
        raise
    except InvestigatorError as error:
        text = MASKED_FAILURE if request.private and running else str(error)
        return Answer(code=error.code, result=Result.failed(text))
    except BaseException as error:  # noqa: BLE001 - module code is the only code we distrust; SystemExit included
        if isinstance(error, OSError) and error.errno in _LIMITS_MET:
            code, text = _LIMITS_MET[error.errno]
            return Answer(code=code, result=Result.failed(text.format(request.limits)))
        text = one_line(error, private=request.private)
        return Answer(code="raised", result=Result.failed(f"module {request.module} raised {text}"))
    return Answer(code="", result=result)


def encode(reply: Answer, limits: Limits, *, sent_bytes: int = 0) -> bytes:
    """The answer as JSON; in its stead a failure, if with what was `sent` before it is larger than the limit, or no JSON."""
    try:
        body = orjson.dumps(reply, default=as_dict)
    except (TypeError, ValueError, RecursionError) as error:
        return encode(Answer(code="garbage", result=Result.failed(f"a result that is no JSON: {error}")), limits)
    except MemoryError:
        text = f"out of memory while writing the result: the limit is {limits.memory_bytes:,} bytes"
        return encode(Answer(code="memory", result=Result.failed(text)), limits)
    if sent_bytes + len(body) > limits.output_bytes:
        text = f"the result has {sent_bytes + len(body):,} bytes; the limit is {limits.output_bytes:,}"
        return encode(Answer(code="output", result=Result.failed(text)), Limits())
    return body


def _context(request: Request) -> Context:
    """What the module may know; it is to cut its elements itself, and say so, before the whole result meets its limit."""
    return Context(
        deadline_s=request.deadline_s,
        folder=request.folder,
        result_bytes=max(request.limits.output_bytes - RESULT_ROOM_BYTES, 0),
    )


def _serve(connection: socket.socket) -> None:
    request = msgspec.convert(orjson.loads(receive_frame(connection)), Request)
    yield_to_others(request.limits.niceness)
    bound(request.limits)
    if request.keeps is not None:
        from investigator.agent.persistent_worker import stay

        stay(connection, request)
        return
    pieces = Pieces(connection.sendall, request) if request.in_pieces else None
    body = encode(answer(request, pieces), request.limits, sent_bytes=pieces.bytes if pieces is not None else 0)
    connection.sendall(FRAME_HEAD.pack(len(body)))
    connection.sendall(body)


def receive_frame(connection: socket.socket) -> bytes:
    """What the agent says next.

    Raises:
        EOFError: it is gone.
        ValueError: it says more than it may.
    """
    size = FRAME_HEAD.unpack(_exactly(connection, FRAME_HEAD.size))[0]
    if size > REQUEST_BYTES:
        raise ValueError(f"a request of {size:,} bytes; {REQUEST_BYTES:,} at most")
    return _exactly(connection, size)


def _exactly(connection: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        piece = connection.recv(min(size - len(data), 1 << 20))
        if not piece:
            raise EOFError("the agent is gone")
        data += piece
    return bytes(data)


def _settle(stderr: int, parent: int) -> None:
    """Leave the fork server's session, signals and output, and end when it ends."""
    os.setsid()
    die_with(parent)
    adopt_orphans()  # so that what this operation starts stays below it, until it ends
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    os.dup2(stderr, 2)
    os.close(stderr)
    sys.stderr = _Forgiving()
    faulthandler.enable(file=2)
    gc.enable()


class _Forgiving(io.TextIOBase):
    """Standard error that takes everything: what does not fit any more is lost, silently."""

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError):
            os.write(2, text.encode("utf-8", "backslashreplace"))
        return len(text)

    def writable(self) -> bool:
        return True


def _is_alone() -> bool:
    """Whether no descendant is left: they are all ours to wait for, since we adopt orphans."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return True
    return False


def one_line(error: BaseException, *, private: bool = False) -> str:
    """What was raised, and where in our source; with `private` not in its own words."""
    text = MASKED_FAILURE if private else " ".join(str(error).split())[:500]
    place: Any = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    where = f" ({Path(place.tb_frame.f_code.co_filename).name}:{place.tb_lineno})" if place else ""
    return f"{type(error).__name__}{': ' if text else ''}{text}{where}"
