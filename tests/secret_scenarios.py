"""A host with secrets on it, for each module of the catalogue: what is planted, and what is then asked.

Each module of the catalogue needs one: a context manager that plants something in a folder of its own (or starts
something, and ends it) and yields a `Scenario`. It stands here, in `SCENARIOS`, or is called `planted` in the module's
own test file, tests/unit/modules/test_NAME.py.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Final

CONTENT: Final = "Kh7-the-launch-code-is-0000"
"""Planted wherever a module looks into something: contents of files, memory, arguments, key material's comment."""
NAME: Final = "quarterly-numbers-of-ada"
"""Planted as the name of whatever a module finds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """What is asked, and which planted texts a result must not hold."""

    asked: tuple[Any, ...]
    """The parameters of each run; none of them holds a planted text."""
    content: tuple[str, ...] = (CONTENT,)
    """In no mode."""
    named: tuple[str, ...] = ()
    """Not in extra privacy mode; without it each must come back, which proves that the module met it."""
    module: Any = None
    """Where the host's own files would have to be changed: the module, looking at others."""


@contextlib.contextmanager
def file(folder: Path) -> Iterator[Scenario]:
    """Matched by content and by name, a match in a gzip file, files that cannot be read."""
    import gzip

    inner = folder / NAME
    inner.mkdir()
    (inner / f"{NAME}.txt").write_text(f"{CONTENT}\nwhatever\n")
    (inner / "dangling").symlink_to(NAME + "-nowhere")
    (inner / f"{NAME}.gz").write_bytes(gzip.compress(f"{CONTENT}\n".encode())[:-9])
    search = {"paths": [str(folder)], "contents": ["^Kh7-the-launch", "code"]}
    options = {"returnsha256": True, "decompress": True}
    yield Scenario(
        asked=(
            {"searches": {"s1": {**search, "options": {**options, "matchall": True}}}},
            {"searches": {"s1": {**search, "names": ["txt$"], "options": options}}},
            {"searches": {"s1": {**search, "options": {**options, "mismatch": ["content"], "macroal": True}}}},
            {"searches": {"s1": {"paths": [str(folder)], "names": ["."], "options": {"matchall": True}}}},
        ),
        named=(NAME,),
    )


@contextlib.contextmanager
def sshkey(folder: Path) -> Iterator[Scenario]:
    """Private keys with and without passphrase, authorized keys with options and comments, broken ones."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import (
        BestAvailableEncryption,
        Encoding,
        NoEncryption,
        PrivateFormat,
        PublicFormat,
    )

    inner = folder / NAME
    inner.mkdir()
    key = Ed25519PrivateKey.generate()
    plain = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    locked = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x"))
    public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    (inner / "id_ed25519").write_bytes(plain)
    (inner / "locked.pem").write_bytes(locked)
    (inner / "authorized_keys").write_text(f'command="{CONTENT}" {public} {CONTENT}\nssh-rsa {CONTENT}\n')
    (inner / "authorized_keys2").symlink_to(NAME + "-nowhere")
    material = [line for text in (plain, locked) for line in text.decode().splitlines()[1:-1]]
    yield Scenario(asked=({"paths": [str(folder)]},), content=(CONTENT, public.split()[1], *material), named=(NAME,))


@contextlib.contextmanager
def agentdestroy(folder: Path) -> Iterator[Scenario]:
    """A process that is no agent, with a secret among its arguments: it is refused."""
    with running(f"{CONTENT}") as pid:
        yield Scenario(asked=({"pid": pid, "version": "1"}, {"pid": 2, "version": "1"}))


@contextlib.contextmanager
def memory(folder: Path) -> Iterator[Scenario]:
    """A process of a telling name with a secret in its memory."""
    program = folder / NAME
    shutil.copy("/bin/sh", program)
    with running(CONTENT, program=str(program)):
        found = {"names": ["numbers-of"], "contents": ["Kh7-the-launch"], "bytes": [CONTENT[:8].encode().hex()]}
        options = {"matchall": True, "logfailures": True}
        yield Scenario(
            asked=(
                {"searches": {"s1": {**found, "options": options}}},
                {"searches": {"s1": {"names": ["numbers-of"], "libraries": ["libc"]}}},
            ),
            named=(NAME,),
        )


@contextlib.contextmanager
def netstat(folder: Path) -> Iterator[Scenario]:
    """A connection to a peer on the loopback network, and a port on which this process listens."""
    import socket

    with (
        socket.create_server(("127.7.7.7", 0)) as server,
        socket.create_connection(server.getsockname()),
        socket.create_server(("127.0.0.1", 0)) as other,
    ):
        asked = {"connectedip": ["127.7.7.0/24"], "listeningport": [str(other.getsockname()[1])]}
        yield Scenario(asked=(asked,), named=("127.7.7.7", Path(sys.executable).resolve().name))


@contextlib.contextmanager
def pkg(folder: Path) -> Iterator[Scenario]:
    """This host's packages; of their database it gives names and versions, not what stands beside them."""
    database = Path("/var/lib/dpkg/status")
    beside = [line for line in database.read_text().splitlines() if line.startswith(" ")] if database.exists() else []
    yield Scenario(asked=({"pkgmatch": {"matches": ["."]}},), content=(CONTENT, *beside[:5]))


@contextlib.contextmanager
def process(folder: Path) -> Iterator[Scenario]:
    """An executable of a telling name that was deleted since, with a secret among its arguments and an open file."""
    program = folder / NAME
    shutil.copy("/bin/sh", program)
    with (folder / f"{NAME}.log").open("w") as log, running(CONTENT, program=str(program), stderr=log):
        program.unlink()
        found = {"exes": ["numbers-of"], "cmdlines": ["^[^ ]+ -c .*Kh7-the-launch"], "openfiles": ["of-ada\\.log"]}
        options = {"matchall": True, "returnsha256": True}
        yield Scenario(
            asked=({"searches": {"s": {**found, "options": options}}}, {"searches": {"s": found}}), named=(NAME,)
        )


@contextlib.contextmanager
def scribe(folder: Path) -> Iterator[Scenario]:
    """Settings with a secret as value, compared in each way; one comparison fails on the value itself."""
    (folder / f"{NAME}.conf").write_text(f"password = {CONTENT}\n")
    (folder / f"{NAME}.broken").symlink_to(NAME + "-nowhere")
    where = {"path": str(folder), "file": "conf$"}
    objects = [
        {"object": "value", "filecontent": {**where, "expression": "^password = (.*)$"}},
        {"object": "line", "hasline": {**where, "expression": "^password"}},
        {"object": "name", "filename": {"path": str(folder), "file": "^(.*)\\.conf$"}},
        {"object": "missing", "hasline": {"path": str(folder / "nowhere"), "file": ".", "expression": "x"}},
    ]
    tests = [
        {"test": "exact", "object": "value", "exactmatch": {"value": "another"}},
        {"test": "regexp", "object": "value", "regexp": {"value": "launch-code"}},
        {"test": "evr", "object": "value", "evr": {"operation": "<", "value": "1.0"}},
        {"test": "line", "object": "line"},
        {"test": "name", "object": "name", "regexp": {"value": "of-ada"}},
        {"test": "missing", "object": "missing"},
    ]
    document = {"objects": objects, "tests": tests}
    yield Scenario(
        asked=tuple({"scribedoc": document, way: True} for way in ("onlytrue", "humanoutput", "jsonoutput")),
        named=(NAME,),
    )


@contextlib.contextmanager
def user(folder: Path) -> Iterator[Scenario]:
    """An account with a hash of a password, and a sudo rule with a password among its arguments."""
    from investigator.modules.user import UserModule

    (folder / "etc").mkdir()
    name = NAME[:31]
    (folder / "etc/passwd").write_text(f"{name}:x:1007:1007:{NAME}:/home/{name}:/bin/sh\nbroken line\n")
    (folder / "etc/group").write_text(f"{name}:x:1007:\nwheel:x:10:{name}\n")
    (folder / "etc/shadow").write_text(f"{name}:$6$salt${CONTENT}:19000:0:99999:7:::\n")
    (folder / "etc/sudoers").write_text(f"{name} ALL = NOPASSWD: /usr/bin/mysql -p{CONTENT}\n")
    asked: Any = ({"uids": ["1007"]}, {"sudo": ["mysql .*launch"]}, {"groups": ["."]}, {"passwords": ["set"]})
    yield Scenario(asked=asked, named=(name,), module=UserModule(str(folder)))


@contextlib.contextmanager
def yara(folder: Path) -> Iterator[Scenario]:
    """A file and a process that match, and a file that cannot be read."""
    program = folder / NAME
    shutil.copy("/bin/sh", program)
    (folder / f"{NAME}.txt").write_text(CONTENT)
    (folder / "dangling").symlink_to(NAME + "-nowhere")
    rules = 'rule planted { strings: $a = "Kh7-the-launch" condition: $a }'
    with running(CONTENT, program=str(program)):
        yield Scenario(
            asked=(
                {"yara": rules, "filesearch": f"-path {folder} -name ."},
                {"yara": rules, "processes": "numbers-of"},
            ),
            named=(NAME,),
        )


@contextlib.contextmanager
def persistent(folder: Path) -> Iterator[Scenario]:
    """Those that run all the time cannot be asked without an agent; what they tell of a host are alerts."""
    yield Scenario(asked=({},))


@contextlib.contextmanager
def running(*arguments: str, program: str = "/bin/sh", stderr: Any = None) -> Iterator[int]:
    """A process that waits, with these arguments."""
    with subprocess.Popen(
        [program, "-c", "read line", *arguments], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=stderr
    ) as child:
        try:
            yield child.pid
        finally:
            child.kill()


Planting = Callable[[Path], contextlib.AbstractContextManager[Scenario]]


def planting(module: str) -> Planting | None:
    """The module's scenario, here or in its own test file; None where there is neither."""
    if module in SCENARIOS:
        return SCENARIOS[module]
    try:
        return getattr(import_module(f"test_{module}"), "planted", None)
    except ModuleNotFoundError:
        return None


@contextlib.contextmanager
def ping(folder: Path) -> Iterator[Scenario]:
    """A port that answers with a secret, at an address that is asked for by a shorter way to write it."""
    with _answering(lambda _: CONTENT.encode()) as port:
        asked = {"destination": "127.1", "protocol": "udp", "destinationport": port, "count": 1}
        yield Scenario(asked=(asked,), named=("127.0.0.1",))


@contextlib.contextmanager
def timedrift(folder: Path) -> Iterator[Scenario]:
    """A time server that sends a secret behind its time, and one that tells none."""
    from investigator.modules.timedrift.sntp import timestamp

    now = timestamp(10**18)

    def answer(request: bytes) -> bytes:
        return bytes((0x24, 1, 6, 0xEC)) + bytes(12) + now + request[40:48] + now + now + CONTENT.encode()

    with _answering(lambda _: CONTENT.encode()) as useless, _answering(answer) as good:
        asked = {"drift": "5s", "servers": [f"127.0.0.1:{useless}", f"127.0.0.1:{good}"]}
        yield Scenario(asked=(asked,))


@contextlib.contextmanager
def status(folder: Path) -> Iterator[Scenario]:
    """The agent's name, and a text of its log."""
    from status_report import NAME as AGENT
    from status_report import Telling

    yield Scenario(asked=({},), named=(AGENT,), module=Telling())


@contextlib.contextmanager
def _answering(reply: Callable[[bytes], bytes]) -> Iterator[int]:
    """A UDP port on loopback that answers whatever comes."""
    import socket
    import threading

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))

        def serve() -> None:
            while (received := server.recvfrom(1000))[0] != b"end":
                server.sendto(reply(received[0]), received[1])

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            server.sendto(b"end", server.getsockname())
            thread.join()


SCENARIOS: Final[dict[str, Planting]] = {
    "agentdestroy": agentdestroy,
    "audit": persistent,
    "file": file,
    "fswatch": persistent,
    "memory": memory,
    "netstat": netstat,
    "ping": ping,
    "pkg": pkg,
    "process": process,
    "scribe": scribe,
    "sshkey": sshkey,
    "status": status,
    "timedrift": timedrift,
    "user": user,
    "yara": yara,
}
