"""A module that does what no module should, one way for each value of `how`; loaded by the fork server under test."""

import ctypes
import mmap
import os
import random
import resource
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec

from investigator.modules.interface import Context, Spec
from investigator.protocol.result import Result


class Parameters(msgspec.Struct, forbid_unknown_fields=True):
    how: str
    path: str = ""
    """A file to which the pids of what it started are written, one a line."""
    count: int = 0


class Misbehaving:
    spec = Spec(name="misbehaving", summary="For tests.", parameters=Parameters, flags=None)

    def check(self, parameters: Parameters, *, local: bool) -> None:
        pass

    def run(self, parameters: Parameters, context: Context) -> Any:
        return getattr(self, parameters.how)(parameters, context)

    def behave(self, parameters, context):
        return Result(success=True, foundanything=True, elements=["here"])

    def surroundings(self, parameters, context):
        """What a worker finds itself in."""
        return Result(
            success=True,
            elements={
                "pid": os.getpid(),
                "parent": os.getppid(),
                "session": os.getsid(0),
                "folder": str(Path.cwd()),
                "nice": os.getpriority(os.PRIO_PROCESS, 0),
                "oom_score_adj": int(Path("/proc/self/oom_score_adj").read_text()),
                "umask": os.umask(0o077),
                "core": resource.getrlimit(resource.RLIMIT_CORE)[0],
                "files": resource.getrlimit(resource.RLIMIT_NOFILE)[0],
                "memory": resource.getrlimit(resource.RLIMIT_DATA)[0],
                "stdin": os.read(0, 10).decode(),
                "random": random.random(),
                "descriptors": sorted(int(name) for name in os.listdir("/proc/self/fd"))[:-1],
                "asyncio": "asyncio" in sys.modules,
                "threads": len(os.listdir(f"/proc/{os.getppid()}/task")),
                "environment": sorted(os.environ),
                "deadline_s": context.deadline_s,
                "sigterm": signal.getsignal(signal.SIGTERM) == signal.SIG_DFL,
                "privileges": "NoNewPrivs:\t1" in Path("/proc/self/status").read_text(),
            },
        )

    def spin(self, parameters, context):
        """Use a processor for `count` milliseconds of real time; with a `path`, so does a child of its own session."""
        ends_s = time.monotonic() + parameters.count / 1000
        child = os.fork() if parameters.path else -1
        if child == 0:
            os.setsid()
        while time.monotonic() < ends_s:
            pass
        if child == 0:
            os._exit(0)
        if child > 0:
            Path(parameters.path).write_text(f"{child}\n")
            os.waitpid(child, 0)
        used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return Result(success=True, elements={"used_s": sum(one.ru_utime + one.ru_stime for one in used)})

    def open_too_many(self, parameters, context):
        return [open("/dev/null") for _ in range(parameters.count)]

    def share_memory(self, parameters, context):
        """Anonymous memory that processes share, which no limit of a process counts."""
        shared = mmap.mmap(-1, parameters.count)
        for place in range(0, parameters.count, 4096):
            shared[place] = 1

    def write_too_much(self, parameters, context):
        Path(parameters.path).write_bytes(bytes(parameters.count))

    def hand_over(self, parameters, context):
        """Hand over `count` times, and keep what nobody takes."""
        kept = [number for number in range(parameters.count) if not context.hand_over({"s": [number]})]
        return Result(success=True, foundanything=True, elements={"s": kept})

    def hand_over_and_hang(self, parameters, context):
        self.hand_over(parameters, context)
        return self.hang(parameters, context)

    def hand_over_too_much(self, parameters, context):
        return Result(success=True, elements={"taken": context.hand_over(["x" * (300 << 10)])})

    def hand_over_garbage(self, parameters, context):
        _socket().sendall((5 | 1 << 31).to_bytes(4, "big") + b"[no]!")
        _forever()

    def flood_with_pieces(self, parameters, context):
        connection = _socket()
        while True:
            connection.sendall((2 | 1 << 31).to_bytes(4, "big") + b"[]")

    def fail(self, parameters, context):
        return Result.failed("it could not be done")

    def hang(self, parameters, context):
        _note(parameters, os.getpid())
        _forever()

    def ignore_signals(self, parameters, context):
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
            signal.signal(number, signal.SIG_IGN)
        os.killpg(0, signal.SIGTERM)
        return self.hang(parameters, context)

    def abort(self, parameters, context):
        os.abort()

    def segfault(self, parameters, context):
        ctypes.string_at(0)

    def kill_itself(self, parameters, context):
        os.kill(os.getpid(), signal.SIGKILL)

    def exit_silently(self, parameters, context):
        os._exit(0)

    def raise_it(self, parameters, context):
        raise ValueError("no\nsuch\nluck")

    def system_exit(self, parameters, context):
        sys.exit(0)

    def allocate(self, parameters, context):
        kept = []
        while True:
            kept.append(bytes(1 << 16))

    def recurse(self, parameters, context):
        return self.recurse(parameters, context)

    def return_nonsense(self, parameters, context):
        return {"success": True}

    def return_no_json(self, parameters, context):
        return Result(success=True, elements=["\udcff"])

    def return_too_much(self, parameters, context):
        return Result(success=True, elements=["x" * parameters.count])

    def print_garbage(self, parameters, context):
        print("\x00\xff garbage on standard output")
        print("garbage on standard error", file=sys.stderr)
        os.write(1, b"\xff" * 1000)
        os.write(2, b"\xff" * 1000)
        return self.behave(parameters, context)

    def print_a_gigabyte(self, parameters, context):
        block = b"x" * (1 << 20)
        for _ in range(1024):
            os.write(1, block)
        for _ in range(100):
            print("y" * 10_000, file=sys.stderr)
        return self.behave(parameters, context)

    def last_words(self, parameters, context):
        print("this is\x1b[31m why", file=sys.stderr)
        os.abort()

    def write_garbage(self, parameters, context):
        _socket().sendall(b"\x00\x00\x00\x10not JSON at all!")
        os._exit(0)

    def write_part(self, parameters, context):
        _socket().sendall(b"\x00\x00\x10\x00{")
        os._exit(0)

    def write_something_else(self, parameters, context):
        body = b'{"code": "", "result": {"success": "perhaps"}}'
        _socket().sendall(len(body).to_bytes(4, "big") + body)
        os._exit(0)

    def write_endlessly(self, parameters, context):
        connection = _socket()
        connection.sendall(b"\xff\xff\xff\xff")
        while True:
            connection.sendall(b"[" * (1 << 16))

    def answer_and_stay(self, parameters, context):
        body = b'{"code": "", "result": {"success": true}}'
        _socket().sendall(len(body).to_bytes(4, "big") + body)
        _forever()

    def close_socket(self, parameters, context):
        os.closerange(3, 100)
        return self.behave(parameters, context)

    def close_socket_and_stay(self, parameters, context):
        os.closerange(3, 100)
        _forever()

    def leave_children(self, parameters, context):
        """Children of every kind: in its group, in sessions of their own, forked twice, another program."""
        _start_children(parameters)
        return self.behave(parameters, context)

    def hang_with_children(self, parameters, context):
        _start_children(parameters)
        _forever()

    def crash_with_children(self, parameters, context):
        _start_children(parameters)
        os.abort()

    def exit_like_a_good_one_with_children(self, parameters, context):
        _start_children(parameters)
        os._exit(83)

    def grow(self, parameters, context):
        """Start so many children that live on."""
        for _ in range(parameters.count):
            if os.fork() == 0:
                _forever()
        _forever()

    def fork_bomb(self, parameters, context):
        """Doubling, up to 2 ** count processes; every second one leaves for a session of its own."""
        for step in range(parameters.count):
            if os.fork() == 0 and step % 2:
                os.setsid()
        time.sleep(60)
        os._exit(0)

    def flee(self, parameters, context):
        """A chain of processes: each starts the next in a session of its own, and ends."""
        if os.fork():
            return self.behave(parameters, context)
        until = time.monotonic() + 20
        while time.monotonic() < until:
            if os.fork():
                os._exit(0)
            os.setsid()
        os._exit(0)


def _forever() -> None:
    """At most a minute: a test that fails leaves nothing for long."""
    time.sleep(60)
    os._exit(0)


def _note(parameters: Parameters, *pids: int) -> None:
    if parameters.path:
        with open(parameters.path, "a") as file:
            file.write("".join(f"{pid}\n" for pid in pids))


def _start_children(parameters: Parameters) -> None:
    child = os.fork()
    if child == 0:
        _forever()
    own_session = os.fork()
    if own_session == 0:
        os.setsid()
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        _forever()
    read, write = os.pipe()
    if os.fork() == 0:
        os.setsid()
        daemon = os.fork()
        if daemon == 0:
            os.setsid()
            _forever()
        os.write(write, str(daemon).encode())
        os._exit(0)
    daemon = int(os.read(read, 20))
    program = subprocess.Popen(["/bin/sleep", "60"], start_new_session=True, env={})
    _note(parameters, child, own_session, daemon, program.pid)


def _socket() -> socket.socket:
    """The worker's own, found as an intruder would."""
    for name in os.listdir("/proc/self/fd"):
        try:
            if str(Path(f"/proc/self/fd/{name}").readlink()).startswith("socket:"):
                return socket.socket(fileno=int(name))
        except OSError:
            continue
    raise AssertionError("no socket")


MODULE = Misbehaving()
