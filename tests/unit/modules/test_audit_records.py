"""Hostile records, read in time and never refused; the kernel's own, over its own socket."""

from __future__ import annotations

import socket
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from investigator.modules.audit import MODULE, Settings, netlink
from investigator.modules.audit.listening import Listening
from investigator.modules.audit.netlink import Record, parse
from investigator.modules.audit.records import MAX_FIELDS, read_record
from investigator.modules.audit.telling import Rate, alert_of
from investigator.modules.persistent import NoParameters, NotAvailable
from investigator.protocol.alert import Alert, alert_bytes

SYSCALL = (
    b"audit(1364481363.243:24287): arch=c000003e syscall=2 success=no exit=-13 a0=7fffd19c5592 items=1 ppid=2686 pid=3538 "
    b'auid=1000 uid=1000 tty=pts0 ses=1 comm="cat" exe="/bin/cat" key="sshd_config"'
)


class Told:
    folder = Path("/nonexistent")

    def __init__(self, *, private: bool = False) -> None:
        self.private = private
        self.alerts: list[Alert] = []

    def alert(self, *alerts: Alert) -> None:
        self.alerts += alerts

    def beat(self) -> None:
        pass


def alert(kind: int, text: bytes, **more: Any) -> Alert:
    made = alert_of(Record(kind, text), include_raw=more.get("raw", False), private=more.get("private", False))
    assert made is not None
    return made


def test_a_record_has_migs_fields() -> None:
    made = alert(1300, SYSCALL)
    assert made.severity == "medium"
    assert made.alert == "SYSCALL 24287 key=sshd_config exe=/bin/cat comm=cat success=no pid=3538 auid=1000"
    assert made.time_s == 1364481363.243
    details = made.details
    assert list(details) == ["Serial", "Timestamp", "Type", "Data", "Raw"]
    assert (details["Serial"], details["Timestamp"], details["Type"]) == ("24287", "1364481363.243", "SYSCALL")
    assert (details["Data"]["exit"], details["Data"]["key"], details["Raw"]) == ("-13", "sshd_config", "")
    assert alert(1300, SYSCALL, raw=True).details["Raw"] == SYSCALL.decode()


@pytest.mark.parametrize(
    ("kind", "text", "field", "value"),
    [
        (1327, b"proctitle=" + b"ls\0-l /root".hex().upper().encode(), "proctitle", "ls -l /root"),
        (1302, b"name=" + b"/tmp/a b\xff".hex().upper().encode(), "name", "/tmp/a b\\xff"),
        (1302, b'name="/tmp/ABCD"', "name", "/tmp/ABCD"),
        (1300, b"a0=6162", "a0", "6162"),
        (1309, b"argc=1 a0=" + b"x y".hex().upper().encode(), "a0", "x y"),
        (1112, b"pid=1 msg='op=login acct=\"root\" addr=10.0.0.1 res=failed'", "addr", "10.0.0.1"),
        (1319, b"tty pid=1 data=7365637265740D", "data", ""),
        (1124, b"pid=1 msg='op=tty data=736563726574'", "data", ""),
    ],
)
def test_fields_are_read_as_the_kernel_writes_them(kind: int, text: bytes, field: str, value: str) -> None:
    event = read_record(kind, b"audit(1.5:1): " + text)
    assert event is not None
    assert event.data[field] == value


@pytest.mark.parametrize("raw", [False, True])
def test_what_people_type_is_in_no_alert(raw: bool) -> None:
    typed = b"audit(1.5:1): tty pid=1 uid=0 data=7365637265740D"
    assert "736563" not in str(alert(1319, typed, raw=raw))


@pytest.mark.parametrize(
    ("kind", "text", "severity"),
    [
        (1700, b"dev=eth0", "high"),
        (1805, b"x=1", "high"),
        (1400, b"avc=1", "medium"),
        (1300, b"key=(null)", "low"),
        (1300, b'key="k"', "medium"),
        (1100, b"x=1", "low"),
    ],
)
def test_severities_follow_the_kinds_of_records(kind: int, text: bytes, severity: str) -> None:
    assert alert(kind, b"audit(1.5:1): " + text).severity == severity


def test_extra_privacy_mode_leaves_no_name() -> None:
    made = alert(1300, SYSCALL, raw=True, private=True)
    assert not any(word in str(made) for word in ("cat", "1000", "sshd_config", "3538"))
    assert made.details["Data"]["syscall"] == "2"


def test_the_end_of_an_event_and_what_is_no_record_are_no_alert() -> None:
    for record in (Record(1320, b"audit(1.5:1): "), Record(1300, b"nothing"), Record(1300, b"")):
        assert alert_of(record, include_raw=True, private=False) is None


@given(st.integers(0, 65535), st.binary(max_size=2000), st.booleans(), st.booleans())
def test_any_record_is_an_alert_that_can_be_told(kind: int, rest: bytes, raw: bool, private: bool) -> None:
    made = alert_of(Record(kind, b"audit(1.5:1): " + rest), include_raw=raw, private=private)
    assert made is None or alert_bytes(made)
    parse(rest)


@pytest.mark.parametrize(
    "rest", [b"\xff" * 8900, b"a=" * 4000, b"=" * 8000, b'a="' * 3000, b"'" * 8000, b"x=\x01" * 2900]
)
def test_the_largest_records_take_no_time_and_fit(rest: bytes) -> None:
    made = alert_of(Record(1300, b"audit(1.5:1): msg='" + rest), include_raw=True, private=False)
    assert made is not None
    assert len(made.details["Data"]) <= MAX_FIELDS
    assert alert_bytes(made)


def test_beyond_the_rate_records_are_counted() -> None:
    rate = Rate(3)
    assert [rate.take() for _ in range(5)] == [True, True, True, False, False]
    assert rate.untold == 2


@pytest.fixture
def listener() -> Any:
    try:
        made = netlink.Listener()
    except netlink.NotPermitted as error:
        pytest.skip(str(error))
    with made:
        yield made


def say(text: bytes) -> None:
    """Have the kernel make a record of ours; of this kind it does so even where auditing is off."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, netlink.NETLINK_AUDIT) as kernel:
        kernel.bind((0, 0))
        kernel.settimeout(5)
        kernel.send(struct.pack("=IHHII", 17 + len(text), 1107, 5, 1, 0) + text + b"\0")
        if struct.unpack_from("=i", kernel.recv(100), 16)[0]:
            pytest.skip("the kernel takes no record from here")


def test_the_kernels_own_records_are_heard(listener: Any) -> None:
    say(b'op=investigator-test exe="/bin/true"')
    host = Told()
    listening = Listening(Settings(), host)
    listening.gather(listener)
    ours = [one for one in host.alerts if one.details["Data"].get("op") == "investigator-test"]
    assert len(ours) == 1
    assert (ours[0].details["Type"], ours[0].severity) == ("USER_AVC", "medium")
    assert listening.statistics["alerts"] == len(host.alerts)


def test_a_flood_is_told_as_a_number(listener: Any) -> None:
    for number in range(5):
        say(b"op=investigator-flood n=%d" % number)
    host = Told()
    Listening(Settings(ratelimit=2), host).gather(listener)
    assert "are not told: more than 2 a second" in host.alerts[-1].alert
    assert len(host.alerts) == 3


def test_where_the_kernel_does_not_audit_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(netlink, "enabled", lambda: False)
    with pytest.raises(
        NotAvailable, match="module audit is not available here: kernel auditing is off; `auditctl -e 1`"
    ):
        MODULE.watch(Settings(), Told())
    assert MODULE.answer(NoParameters()).elements == {"ok": True}


def test_where_it_may_not_be_listened_to_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    class Refused(socket.socket):
        def bind(self, address: Any) -> None:
            refuse()

    monkeypatch.setattr(netlink, "enabled", lambda: None)
    monkeypatch.setattr("investigator.modules.audit.netlink.socket.socket", Refused)
    with pytest.raises(
        NotAvailable, match="not available here: the kernel's audit cannot be listened to: Operation not"
    ):
        MODULE.watch(Settings(), Told())
