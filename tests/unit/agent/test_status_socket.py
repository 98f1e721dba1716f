"""Whoever owns the state folder is told, at any length of its path; nobody else, and nothing is read from them."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from investigator.agent.status_socket import AT_A_TIME, MAX_REPORT_BYTES, SOCKET_FILE, ask_agent, status_served
from investigator.errors import BadInput, DeploymentError

REPORT = b'{"agent": "a"}'


@pytest.mark.parametrize("levels", [0, 6])
async def test_it_tells_the_report_whatever_the_length_of_its_path(tmp_path: Path, levels: int) -> None:
    folder = tmp_path.joinpath(*["a-folder-with-a-long-name"] * levels)
    folder.mkdir(parents=True, exist_ok=True)
    async with status_served(folder, lambda: REPORT):
        assert await asyncio.to_thread(ask_agent, folder) == REPORT
        assert (folder / SOCKET_FILE).stat().st_mode & 0o777 == 0o600
    assert list(folder.iterdir()) == []


async def test_what_a_killed_agent_left_is_in_nobodys_way(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / SOCKET_FILE))
    with pytest.raises(DeploymentError, match="Connection refused"):
        ask_agent(tmp_path)
    async with status_served(tmp_path, lambda: REPORT):
        assert await asyncio.to_thread(ask_agent, tmp_path) == REPORT


async def test_who_connects_and_waits_holds_up_nobody(tmp_path: Path) -> None:
    async with status_served(tmp_path, lambda: REPORT):
        idle = [await asyncio.open_unix_connection(tmp_path / SOCKET_FILE) for _ in range(3 * AT_A_TIME)]
        assert await asyncio.to_thread(ask_agent, tmp_path) == REPORT
        for _, writer in idle:
            writer.close()


async def test_without_a_folder_there_is_no_socket() -> None:
    async with status_served(None, lambda: REPORT):
        pass


async def test_a_folder_that_takes_no_socket_is_told_and_the_agent_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / SOCKET_FILE).mkdir()
    async with status_served(tmp_path, lambda: REPORT):
        pass
    assert "nobody can ask here how the agent fares" in caplog.text


def test_where_no_agent_runs_that_is_said(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nowhere", tmp_path / ("long" * 40)):
        with pytest.raises(DeploymentError, match="No such file"):
            ask_agent(folder)


async def test_an_answer_without_end_is_refused(tmp_path: Path) -> None:
    async with status_served(tmp_path, lambda: b"x" * (MAX_REPORT_BYTES + 2)):
        with pytest.raises(BadInput, match="more than 1,048,576 bytes"):
            await asyncio.to_thread(ask_agent, tmp_path)
