"""The host's own log, on real sockets: said where it is, dropped where it does not listen, and never waited for."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from investigator.agent.audit import Audit
from investigator.agent.host_log import HostLog


@contextmanager
def listening(path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(path))
        listener.settimeout(5)
        yield listener


@pytest.fixture
def log(tmp_path: Path) -> Iterator[HostLog]:
    log = HostLog(journal=str(tmp_path / "journal"), syslogs=(str(tmp_path / "log"),))
    yield log
    log.close()


def test_the_journal_has_it_as_fields(log: HostLog, tmp_path: Path) -> None:
    with listening(tmp_path / "journal") as journal:
        log.say(b'{"n":1}', warning=True)
        assert journal.recv(4096).splitlines() == [
            b'MESSAGE={"n":1}',
            b"PRIORITY=4",
            b"SYSLOG_FACILITY=10",
            b"SYSLOG_IDENTIFIER=investigator",
        ]


def test_without_a_journal_syslog_has_it_as_authpriv(log: HostLog, tmp_path: Path) -> None:
    with listening(tmp_path / "log") as syslog:
        log.say(b'{"n":1}', warning=False)
        said = syslog.recv(4096)
    assert said.startswith(b"<86>investigator[")
    assert said.endswith(b']: {"n":1}')


def test_without_either_nothing_happens_until_one_comes(log: HostLog, tmp_path: Path) -> None:
    log.say(b"lost", warning=False)
    with listening(tmp_path / "log") as syslog:
        log.say(b"heard", warning=False)
        assert syslog.recv(4096).endswith(b"heard")
    log.say(b"lost", warning=False)


def test_a_log_that_reads_nothing_holds_nobody_up(log: HostLog, tmp_path: Path) -> None:
    with listening(tmp_path / "journal") as journal:
        for number in range(2000):
            log.say(b"%d " % number + b"x" * 5000, warning=False)
        assert journal.recv(10_000).startswith(b"MESSAGE=0 ")


def test_every_line_of_the_audit_is_said_and_refusals_are_warnings(tmp_path: Path) -> None:
    log = HostLog(journal=str(tmp_path / "journal"), syslogs=())
    with (
        listening(tmp_path / "journal") as journal,
        Audit(tmp_path, agent="a", key_is_new=True, host_log=log) as audit,
    ):
        audit.decided("action", "admitted", action="x")
        audit.decided("action", "refused", action="x", code="expired")
        said = [journal.recv(4096).splitlines()[:2] for _ in range(3)]
    lines = (tmp_path / "audit.jsonl").read_bytes().splitlines()
    assert [message for message, _ in said] == [b"MESSAGE=" + line for line in lines]
    assert [priority[-1:] for _, priority in said] == [b"4", b"6", b"4"]
