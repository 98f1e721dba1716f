"""Real processes: an agent that is proven ends, and its file goes; whatever else a pid belongs to stays as it is."""

import asyncio
import contextlib
import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from investigator import __version__
from investigator.agent.limits import Limits
from investigator.agent.runner import Runner
from investigator.agent.state import AgentState
from investigator.errors import BadParameters
from investigator.modules import get_module
from investigator.modules.agentdestroy.ending import INSTALLED, SHARED, end
from investigator.modules.agentdestroy.presence import LOCK_FILE, presence_of, read_presence, write_presence
from investigator.modules.agentdestroy.proof import NotProven, ancestors, look, prove
from investigator.modules.interface import Context, load_parameters

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="what proves an agent is Linux's")
MODULE = get_module("agentdestroy")
AGENT = """
import pathlib, signal, sys, time
import investigator.agent.state as state
state.archive_path = lambda: sys.argv[2]
if sys.argv[3] == "deaf":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
with state.AgentState(pathlib.Path(sys.argv[1])) as opened:
    print(opened.identity.id, flush=True)
    time.sleep(300)
"""
HOLDER = """
import fcntl, os, sys, time
lock = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT, 0o600)
if sys.argv[2] == "locked":
    fcntl.flock(lock, fcntl.LOCK_EX)
print("ready", flush=True)
time.sleep(300)
"""


@contextlib.contextmanager
def started(code: str, *arguments: object) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A Python process, and the first line that it printed."""
    words = [sys.executable, "-c", code, *map(str, arguments)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


@contextlib.contextmanager
def agent(folder: Path, program: Path | str = "", how: str = "") -> Iterator[tuple[subprocess.Popen[str], str]]:
    with started(AGENT, folder, program, how) as running:
        yield running


def run(pid: int, version: str = __version__, **more: Any) -> Any:
    return MODULE.run(load_parameters(MODULE, {"pid": pid, "version": version, **more}), Context())


def reason_of(result: Any) -> str:
    assert (result.success, result.foundanything, result.elements) == (False, False, None)
    (text,) = result.errors
    return str(text)


def test_an_agent_is_ended_and_the_one_file_that_it_runs_from_removed(tmp_path: Path) -> None:
    program = tmp_path / "investigator.pyz"
    program.write_text("#!")
    with agent(tmp_path / "state", program) as (process, _):
        result = run(process.pid)
        assert (result.success, result.foundanything, result.errors) == (True, True, None)
        told = f"PID {process.pid} from agent {__version__} has been killed"
        assert result.elements == f"{told} and its executable removed from {program}"
        assert process.wait(10) == -15
    assert not program.exists()
    assert (tmp_path / "state/agent.key").exists()


def test_one_that_does_not_stop_when_told_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("investigator.modules.agentdestroy.ending.ORDERLY_S", 0.2)
    with agent(tmp_path, how="deaf") as (process, _):
        assert run(process.pid).success
        assert process.wait(10) == -9


def test_the_file_of_an_installation_stays_and_so_does_one_that_is_to_be_kept(tmp_path: Path) -> None:
    with agent(tmp_path / "state") as (process, _):
        result = run(process.pid)
        assert (result.success, result.errors) == (True, [INSTALLED])
    program = tmp_path / "investigator.pyz"
    program.write_text("#!")
    with agent(tmp_path / "state", program) as (process, _):
        result = run(process.pid, remove=False)
        assert (result.elements.endswith("has been killed"), result.errors) == (True, None)
    assert program.exists()


def test_a_file_that_another_agent_runs_from_is_not_removed(tmp_path: Path) -> None:
    program = tmp_path / "investigator.pyz"
    program.write_text("#!")
    with agent(tmp_path / "a", program) as (first, _), agent(tmp_path / "b", program) as (second, _):
        result = run(first.pid)
        assert (result.success, result.errors) == (True, [SHARED])
        assert second.poll() is None
    assert program.exists()


def test_a_file_that_was_replaced_since_the_agents_start_is_not_removed(tmp_path: Path) -> None:
    program = tmp_path / "investigator.pyz"
    program.write_text("#!")
    with agent(tmp_path / "state", program) as (process, _):
        program.rename(tmp_path / "old")
        program.symlink_to(tmp_path / "old")
        result = run(process.pid)
        assert result.success
        assert "is not the file that the agent was started from" in result.errors[0]
    assert (tmp_path / "old").exists()
    assert program.is_symlink()


def test_another_version_or_id_than_the_one_meant_is_left_alone(tmp_path: Path) -> None:
    with agent(tmp_path) as (process, name):
        assert f"it runs version '{__version__}', not '9.9'" in reason_of(run(process.pid, "9.9"))
        assert f"its id is '{name}', not 'other'" in reason_of(run(process.pid, agent="other"))
        assert process.poll() is None
        assert run(process.pid, agent=name).success


def test_a_process_that_is_no_agent_is_left_alone_whatever_its_program_would_print() -> None:
    with started("print('x', flush=True); import time; time.sleep(300)") as (process, _):
        told = f"PID '{process.pid}' is not proven to be an agent: it does not hold the lock of an agent's state folder"
        assert reason_of(run(process.pid)) == f"{told}. Refusing to kill it."
        assert process.poll() is None
    assert "no such process runs" in reason_of(run(process.pid))


def write_for(lock: Path, process: subprocess.Popen[str], *, later: int = 0, mode: int = 0o600) -> None:
    """The presence of this process, in a lock file of somebody's making."""
    found = look(process.pid)
    assert found is not None
    with lock.open("r+b") as file:
        presence = presence_of(
            pid=process.pid, started_ticks=found.started_ticks + later, version=__version__, agent="a", program=""
        )
        write_presence(file.fileno(), presence)
    lock.chmod(mode)


def test_the_lock_must_be_held_by_that_process_in_a_file_that_nobody_else_can_write(tmp_path: Path) -> None:
    lock = tmp_path / LOCK_FILE
    with started(HOLDER, lock, "open") as (process, _):
        write_for(lock, process)
        assert "does not hold the lock" in reason_of(run(process.pid))
        with lock.open() as mine:  # held, but not by it
            fcntl.flock(mine, fcntl.LOCK_EX)
            assert "does not hold the lock" in reason_of(run(process.pid))
    with started(HOLDER, lock, "locked") as (process, _):
        for wrong in ({"mode": 0o622}, {"later": 1}):
            write_for(lock, process, **wrong)
            assert "does not hold the lock" in reason_of(run(process.pid))
        write_for(lock, process)
        (tmp_path / "second").hardlink_to(lock)
        assert "does not hold the lock" in reason_of(run(process.pid))
        (tmp_path / "second").unlink()
        lock.write_bytes(b"{}")
        assert "does not hold the lock" in reason_of(run(process.pid))
        write_for(lock, process)
        prove(process.pid)  # and with all of it in order, it is taken for one
        assert process.poll() is None


def test_a_lock_of_another_name_proves_nothing(tmp_path: Path) -> None:
    with started(HOLDER, tmp_path / "other.lock", "locked") as (process, _):
        write_for(tmp_path / "other.lock", process)
        assert "does not hold the lock" in reason_of(run(process.pid))


@pytest.mark.skipif(os.geteuid() != 0, reason="starts a process as another user")
def test_root_takes_no_other_users_process_for_an_agent(tmp_path: Path) -> None:
    as_nobody = HOLDER.replace("lock =", "os.setuid(65534)\nlock =", 1)
    with started(as_nobody, "/dev/null", "open") as (process, said):
        assert said == "ready"
        assert "it runs as another user" in reason_of(run(process.pid))
        assert process.poll() is None


def test_a_successor_under_the_same_pid_is_never_signalled(tmp_path: Path) -> None:
    with agent(tmp_path) as (process, _):
        presence = prove(process.pid)
        process.kill()
        process.wait()
        with pytest.raises((NotProven, ProcessLookupError)):
            end(presence, deadline_s=time.monotonic() + 5)


def test_the_agent_that_is_asked_is_left_to_end_itself_and_the_process_that_runs_this_is_refused(
    tmp_path: Path,
) -> None:
    assert reason_of(run(os.getpid())) == f"PID '{os.getpid()}' is mine. Refusing to suicide."

    async def ask() -> Any:
        async with Runner(Limits()) as runner:
            parameters = {"pid": os.getpid(), "version": __version__}
            return await runner.run("agentdestroy", parameters, deadline_s=time.monotonic() + 60)

    with AgentState(tmp_path):  # this test is an agent, as far as can be seen
        ran = asyncio.run(ask())
    assert ran.state == "done", ran
    result = ran.result.read()
    assert result.elements == f"PID {os.getpid()} from agent {__version__} stops once this answer is acknowledged"
    assert (result.foundanything, result.errors) == (True, [INSTALLED])
    assert asyncio.run(ask()).code == "module"  # without its state it is none


def test_the_processes_above_this_one_are_known() -> None:
    assert ancestors(os.getpid())[0] == os.getppid()
    assert ancestors(1) == []
    assert look(1 << 30) is None


@pytest.mark.parametrize(
    ("parameters", "told"),
    [
        ({"pid": 1, "version": "1"}, "pid: Expected"),
        ({"pid": (1 << 22) + 1, "version": "1"}, "pid: Expected"),
        ({"pid": 10**9, "version": "1"}, "pid: Expected"),
        ({"pid": "12", "version": "1"}, "pid: Expected"),
        ({"pid": 12}, "missing required field 'version'"),
        ({"version": "1"}, "missing required field 'pid'"),
        ({"pid": 12, "version": ""}, "version: Expected"),
        ({"pid": 12, "version": "1\n2"}, "version: control characters"),
        ({"pid": 12, "version": "1", "Pid": 12}, "there is no parameter 'Pid'; did you mean 'pid'?"),
    ],
)
def test_bad_parameters_are_named(parameters: dict[str, Any], told: str) -> None:
    with pytest.raises(BadParameters) as caught:
        load_parameters(MODULE, parameters)
    assert told in str(caught.value)


def test_migs_parameters_load() -> None:
    loaded = load_parameters(MODULE, {"pid": 12345.0, "version": "20150910+3cf667c.prod"})
    assert (loaded.pid, loaded.version) == (12345, "20150910+3cf667c.prod")


KILLED = "PID 7 from agent 1 has been killed and its executable removed from /opt/x"


def test_the_lines_are_migs() -> None:
    result = {"success": True, "elements": KILLED, "errors": [SHARED]}
    assert list(MODULE.lines(result, everything=False)) == [KILLED]
    succeeded = "agentdestroy module has succeeded"
    assert list(MODULE.lines(result, everything=True)) == [KILLED, f"[error] {SHARED}", succeeded]
    failed = {"success": False, "elements": None, "errors": ["no"]}
    assert list(MODULE.lines(failed, everything=True)) == ["[error] no", "agentdestroy module has failed"]


def test_masked_results_name_no_file_and_no_error() -> None:
    parameters = load_parameters(MODULE, {"pid": 7, "version": "1"})
    masked = MODULE.masked({"success": True, "elements": KILLED, "errors": ["/opt/x: no"]}, parameters)
    assert masked["elements"] == "PID 7 from agent 1 has been killed and its executable removed from masked"
    assert masked["errors"] == ["masked"]
    assert MODULE.masked({"success": False, "elements": None, "errors": None}, parameters)["elements"] is None


@given(st.binary(max_size=200) | st.sampled_from([b'{"pid":1e999}', b"[" * 9000, b'{"pid":true}']))
def test_no_content_of_a_lock_file_breaks_the_reader(content: bytes) -> None:
    descriptor = os.memfd_create("lock")
    try:
        os.pwrite(descriptor, content, 0)
        assert read_presence(descriptor) is None
    finally:
        os.close(descriptor)
