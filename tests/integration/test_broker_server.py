"""The embedded server as a process: it starts, says why not, and never outlives its parent."""

import asyncio
import contextlib
import os
import select
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time

import pytest

from investigator.broker import binary, operator
from investigator.broker.connection import connect
from investigator.broker.credentials import Credentials
from investigator.broker.operator import USERS
from investigator.broker.scopes import Scope
from investigator.broker.server import EmbeddedServer
from investigator.broker.streams import ensure_streams
from investigator.errors import BrokerError, DeploymentError
from real_broker import minted

PARENT = """
import asyncio, sys
from pathlib import Path
from investigator.broker.server import EmbeddedServer

async def main():
    server = EmbeddedServer(Path(sys.argv[1]), port=0)
    server._watched = sys.argv[2] == "watch"
    async with server:
        print((Path(sys.argv[1]) / "run" / "pid").read_text(), flush=True)
        await server.wait()

asyncio.run(main())
"""


def ends_soon(pid_descriptor):
    """Whether the process ends; a pidfd is readable as soon as it has, reaped or not."""
    readable, _, _ = select.select([pid_descriptor], [], [], 20)
    os.close(pid_descriptor)
    return bool(readable)


async def test_it_tells_the_free_port_that_it_took(broker_folder):
    async with EmbeddedServer(broker_folder, port=0) as server:
        with socket.create_connection(("127.0.0.1", server.port), timeout=5) as connection:
            assert connection.recv(5) == b"INFO "


async def test_ctrl_c_on_the_terminal_is_not_for_the_server(broker_folder):
    """A terminal signals its whole process group; the parent stops the server in order."""
    async with EmbeddedServer(broker_folder, port=0) as server:
        assert os.getpgid(server.pid) != os.getpgid(0)


async def test_after_stop_nothing_listens_and_it_can_be_started_again(broker_folder):
    server = EmbeddedServer(broker_folder, port=0)
    await server.start()
    port, pid = server.port, server.pid
    await server.stop()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=5)
    async with server:
        assert server.port == port


async def test_its_configuration_is_private_and_holds_no_secret(broker_folder):
    async with EmbeddedServer(broker_folder, port=0):
        configuration = broker_folder / "server.conf"
        assert stat.S_IMODE(configuration.stat().st_mode) == 0o600
        seeds = [path.read_text().strip() for path in broker_folder.rglob("*.nk")]
        seeds += [Credentials.load(path).seed for path in broker_folder.glob("*.creds")]
        assert len(seeds) == 4 + 1 + len(Scope) + len(USERS)
        assert not [seed for seed in seeds if seed in configuration.read_text()]


async def test_a_folder_with_any_name_will_do(tmp_path):
    folder = tmp_path / 'a "quoted" $name, Ünïcode \\ too'
    operator.create(folder, now_s=int(time.time()))
    async with EmbeddedServer(folder, port=0) as server:
        assert server.url.startswith("nats://127.0.0.1:")


async def test_a_taken_port_is_one_clear_line(broker_folder):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(BrokerError, match=rf"^port {port} of 127\.0\.0\.1 is taken by another program$"):
            await EmbeddedServer(broker_folder, port=port).start()


async def test_an_address_that_is_not_ours_is_one_clear_line(broker_folder):
    with pytest.raises(BrokerError, match="cannot assign requested address"):
        await EmbeddedServer(broker_folder, host="192.0.2.1", port=0).start()


async def test_a_store_that_is_no_folder_is_a_matter_of_the_deployment(broker_folder):
    (broker_folder / "store").write_text("in the way")
    with pytest.raises(DeploymentError, match="store: File exists"):
        await EmbeddedServer(broker_folder, port=0).start()


async def test_a_store_that_the_server_cannot_use_is_a_matter_of_the_deployment(broker_folder):
    (broker_folder / "store").mkdir()
    (broker_folder / "store" / "jetstream").write_text("in the way")
    with pytest.raises(DeploymentError, match=r"cannot use .*: Can't start JetStream: storage directory is not a dir"):
        await EmbeddedServer(broker_folder, port=0).start()


async def test_a_folder_without_a_deployment_says_how_to_make_them(tmp_path):
    with pytest.raises(DeploymentError, match=r"operator\.jwt: No such file") as caught:
        await EmbeddedServer(tmp_path / "none", port=0).start()
    assert "investigator init" in caught.value.hint


async def test_a_program_that_does_not_run_is_one_clear_line(broker_folder, tmp_path):
    program = tmp_path / "nats-server"
    program.write_text("no program")
    with pytest.raises(BrokerError, match="nats-server: Permission denied"):
        await EmbeddedServer(broker_folder, port=0, program=program).start()


async def test_two_servers_never_share_a_folder(broker_folder):
    async with EmbeddedServer(broker_folder, port=0):
        with pytest.raises(DeploymentError, match="another broker runs in"):
            await EmbeddedServer(broker_folder, port=0).start()
    async with EmbeddedServer(broker_folder, port=0):
        pass


async def test_a_server_that_a_killed_parent_left_is_ended_and_said(broker_folder):
    async with EmbeddedServer(broker_folder, port=0) as server:
        port = server.port
    command = [str(binary.find(broker_folder)), "-c", str(broker_folder / "server.conf"), "-p", str(port)]
    leftover = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.DEVNULL)
    try:
        async with asyncio.timeout(20):
            while True:
                try:
                    socket.create_connection(("127.0.0.1", port), timeout=5).close()
                    break
                except OSError:
                    await asyncio.sleep(0.01)
        async with EmbeddedServer(broker_folder, port=port) as server:
            assert server.notices == [f"ended a broker that its killed parent had left running (pid {leftover.pid})"]
    finally:
        with contextlib.suppress(ProcessLookupError):
            leftover.kill()
        await leftover.wait()


async def test_a_pid_that_is_another_program_now_is_left_alone(broker_folder):
    other = await asyncio.create_subprocess_exec(sys.executable, "-c", "input()", stdin=asyncio.subprocess.PIPE)
    try:
        (broker_folder / "run").mkdir()
        (broker_folder / "run" / "pid").write_text(str(other.pid))
        async with EmbeddedServer(broker_folder, port=0) as server:
            assert server.notices == []
        assert other.returncode is None
    finally:
        await other.communicate(b"\n")
    assert other.returncode == 0


async def test_a_server_that_ends_by_itself_is_told(broker_folder):
    async with EmbeddedServer(broker_folder, port=0) as server:
        os.kill(server.pid, signal.SIGKILL)
        with pytest.raises(BrokerError, match="the broker ended: killed by signal 9"):
            await server.wait()


async def test_what_the_server_cannot_do_is_told_while_it_runs(broker_folder, tmp_path, hear):
    """A full disk, played by a limit on the size of files."""
    program = tmp_path / "nats-server"
    program.write_text(f'#!/bin/sh\nulimit -f 200\nexec {binary.find(tmp_path)} "$@"\n')
    program.chmod(0o755)
    errors = hear()
    async with EmbeddedServer(broker_folder, port=0, program=program) as server:
        watching = asyncio.create_task(server.wait(errors))
        async with await connect(server.url, Credentials.load(broker_folder / "services.creds"), name="owner") as owner:
            await ensure_streams(owner)
        async with await connect(server.url, minted(broker_folder, "a1"), name="agent") as agent:
            with pytest.raises(BrokerError, match="no answer in time"):
                await agent.publish_acked("mig.result.x.a1", os.urandom(300_000), message_id="1", timeout_s=0.5)
        await errors.until(lambda lines: any("file too large" in line for line in lines))
        watching.cancel()


async def test_a_disk_without_room_is_said_before_the_start(broker_folder, monkeypatch):
    usage = shutil.disk_usage(broker_folder)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    with pytest.raises(DeploymentError, match="1,000 bytes are left on the disk"):
        await EmbeddedServer(broker_folder, port=0).start()


async def test_a_server_that_does_not_stop_is_killed(broker_folder):
    server = EmbeddedServer(broker_folder, port=0, stop_within_s=0.05)
    await server.start()
    pid = server.pid
    os.kill(pid, signal.SIGSTOP)
    await server.stop()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.mark.skipif(sys.platform != "linux", reason="parent-death signals and pidfds are Linux's")
@pytest.mark.parametrize("how", ["exec", "watch"])
def test_the_server_ends_with_a_parent_that_is_killed(broker_folder, how):
    command = [sys.executable, "-c", PARENT, str(broker_folder), how]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pid_descriptor = os.pidfd_open(int(parent.stdout.readline()))
        parent.kill()
    assert ends_soon(pid_descriptor)


@pytest.mark.parametrize("how", ["exec", "watch"])
async def test_both_ways_of_starting_stop_in_order(broker_folder, how):
    server = EmbeddedServer(broker_folder, port=0)
    server._watched = how == "watch"
    async with server:
        pid_descriptor = os.pidfd_open(int((broker_folder / "run" / "pid").read_text()))
    assert ends_soon(pid_descriptor)
    assert "Server Exiting.." in (broker_folder / "nats-server.log").read_text()
