r"""One record of the kernel's audit as fields: `audit(TIME:SERIAL): key=value key="text" key=48455821 msg='op=...'`.

Texts that others chose are quoted, or in hexadecimal where they hold a quote, a blank or worse (audit_log_untrustedstring).
Every byte may be an attacker's: a record is cut, never refused, and never takes long.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

MAX_FIELDS: Final = 256
MAX_VALUE_CHARACTERS: Final = 4096
_HEAD: Final = re.compile(rb"audit\(([0-9]{1,12}\.[0-9]{1,9}):([0-9]{1,20})\):? ?")
_FIELD: Final = re.compile(rb"""([A-Za-z_][A-Za-z0-9_\-\[\]]{0,63})=("[^"]*"|'[^']*'|[^ ]*)""")
_HEX: Final = re.compile(rb"(?:[0-9A-F]{2})+")
_ARGUMENT: Final = re.compile(r"a[0-9]{1,3}(\[[0-9]{1,3}\])?")
_TEXTS: Final = frozenset(
    (
        "exe",
        "comm",
        "name",
        "cwd",
        "proctitle",
        "key",
        "path",
        "acct",
        "cmd",
        "dev",
        "new-disk",
        "vm",
        "device",
        "ocomm",
    )
)
"""Fields that may be in hexadecimal; of EXECVE also the arguments."""
KEYSTROKES: Final = frozenset((1124, 1319))
"""USER_TTY and TTY: their data is what people typed, passwords included."""
EXECVE: Final = 1309
TYPES: Final[dict[int, str]] = {
    1100: "USER_AUTH", 1101: "USER_ACCT", 1102: "USER_MGMT", 1103: "CRED_ACQ", 1104: "CRED_DISP", 1105: "USER_START",
    1106: "USER_END", 1107: "USER_AVC", 1108: "USER_CHAUTHTOK", 1109: "USER_ERR", 1110: "CRED_REFR", 1112: "USER_LOGIN",
    1113: "USER_LOGOUT", 1114: "ADD_USER", 1115: "DEL_USER", 1116: "ADD_GROUP", 1117: "DEL_GROUP", 1123: "USER_CMD",
    1124: "USER_TTY", 1127: "SYSTEM_BOOT", 1128: "SYSTEM_SHUTDOWN", 1130: "SERVICE_START", 1131: "SERVICE_STOP",
    1300: "SYSCALL", 1302: "PATH", 1303: "IPC", 1304: "SOCKETCALL", 1305: "CONFIG_CHANGE", 1306: "SOCKADDR", 1307: "CWD",
    1309: "EXECVE", 1311: "IPC_SET_PERM", 1312: "MQ_OPEN", 1313: "MQ_SENDRECV", 1314: "MQ_NOTIFY", 1315: "MQ_GETSETATTR",
    1316: "KERNEL_OTHER", 1317: "FD_PAIR", 1318: "OBJ_PID", 1319: "TTY", 1320: "EOE", 1321: "BPRM_FCAPS", 1322: "CAPSET",
    1323: "MMAP", 1324: "NETFILTER_PKT", 1325: "NETFILTER_CFG", 1326: "SECCOMP", 1327: "PROCTITLE",
    1328: "FEATURE_CHANGE", 1329: "REPLACE", 1330: "KERN_MODULE", 1331: "FANOTIFY", 1332: "TIME_INJOFFSET",
    1333: "TIME_ADJNTPVAL", 1334: "BPF", 1335: "EVENT_LISTENER", 1336: "URINGOP", 1337: "OPENAT2", 1338: "DM_CTRL",
    1339: "DM_EVENT", 1400: "AVC", 1401: "SELINUX_ERR", 1403: "MAC_POLICY_LOAD", 1404: "MAC_STATUS",
    1405: "MAC_CONFIG_CHANGE", 1700: "ANOM_PROMISCUOUS", 1701: "ANOM_ABEND", 1702: "ANOM_LINK", 1703: "ANOM_CREAT",
    1800: "INTEGRITY_DATA", 1801: "INTEGRITY_METADATA", 1802: "INTEGRITY_STATUS", 1803: "INTEGRITY_HASH",
    1804: "INTEGRITY_PCR", 1805: "INTEGRITY_RULE", 2000: "KERNEL",
}  # fmt: skip
"""Names of linux/audit.h, as ausearch writes them."""
EOE: Final = 1320
"""Marks the end of an event, and says nothing."""


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """A record's fields; the names are those of MIG's alert."""

    serial: str
    timestamp: str
    type: str
    data: dict[str, str]


def read_record(number: int, text: bytes) -> Event | None:
    """The fields of a record; None if it does not begin as one."""
    head = _HEAD.match(text)
    if head is None:
        return None
    data: dict[str, str] = {}
    _read_fields(text[head.end() :], data, number)
    return Event(
        serial=head[2].decode(),
        timestamp=head[1].decode(),
        type=TYPES.get(number, f"UNKNOWN[{number}]"),
        data=data,
    )


def _read_fields(text: bytes, data: dict[str, str], number: int, *, nested: bool = False) -> None:
    for found in _FIELD.finditer(text):
        if len(data) >= MAX_FIELDS:
            return
        name, value = found[1].decode(), found[2]
        if name == "msg" and value[:1] == b"'" and not nested:
            _read_fields(value[1:-1], data, number, nested=True)
        elif number in KEYSTROKES and name in ("data", "msg"):
            data[name] = ""
        else:
            data.setdefault(name, _value(name, value, number))


def _value(name: str, value: bytes, number: int) -> str:
    if value[:1] in (b'"', b"'"):
        value = value[1:-1]
    elif _is_text(name, number) and _HEX.fullmatch(value):
        # the arguments in a process's title are separated by zeros
        value = bytes.fromhex(value.decode()).replace(b"\0", b" " if name == "proctitle" else b"\0").rstrip()
    return value.decode("utf-8", "backslashreplace")[:MAX_VALUE_CHARACTERS]


def _is_text(name: str, number: int) -> bool:
    return name in _TEXTS or (number == EXECVE and _ARGUMENT.fullmatch(name) is not None)
