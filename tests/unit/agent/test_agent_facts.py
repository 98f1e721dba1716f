"""What an agent says of its host."""

from __future__ import annotations

import ipaddress
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from investigator.agent import facts
from investigator.modules.netstat.rows import Unreadable

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="netlink is Linux's")


@on_linux
def test_the_kernels_addresses_are_psutils(monkeypatch: pytest.MonkeyPatch) -> None:
    told = facts.addresses()
    monkeypatch.setattr(facts, "_LINUX", False)
    assert facts.addresses() == told
    assert ("127.0.0.1", "/8") in facts._told_by_the_kernel(), "there is something to compare anywhere"
    assert all(not ipaddress.ip_interface(one).is_loopback for one in told)


@on_linux
def test_the_first_process_is_psutils(monkeypatch: pytest.MonkeyPatch) -> None:
    row = facts.gather_row(agent="a", name="n", tags={}, started="2026-11-24T00:00:00Z")
    assert row["environment"]["init"] == psutil.Process(1).name() == Path("/proc/1/comm").read_text().strip()
    monkeypatch.setattr(facts, "_LINUX", False)
    assert facts.gather_row(agent="a", name="n", tags={}, started="2026-11-24T00:00:00Z") == row


@on_linux
def test_a_kernel_that_does_not_answer_leaves_the_addresses_out(monkeypatch: pytest.MonkeyPatch) -> None:
    class Silent:
        def __init__(self, protocol: int) -> None:
            raise Unreadable("netlink: no such thing")

    monkeypatch.setattr(facts, "Netlink", Silent)
    assert facts.addresses() == []


@on_linux
def test_a_linux_agent_does_without_psutil() -> None:
    program = "import sys, investigator.agent.main; assert 'psutil' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)
