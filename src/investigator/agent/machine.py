"""Which machine this is, so that a copy of an agent's state notices that it runs elsewhere."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from investigator.protocol.token import machine_mark

_ID: Final = re.compile(r"[0-9a-f]{32}")
_UUID: Final = re.compile(r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
_IDS: Final = ("etc/machine-id", "var/lib/dbus/machine-id")
_FIRMWARE: Final = "sys/class/dmi/id/product_uuid"
_NO_FIRMWARE: Final = frozenset(("0" * 32, "f" * 32, "03000200040005000006000700080009"))
"""What boards say whose maker gave them no UUID."""


def this_machine(root: Path = Path("/")) -> str:
    """The mark of this machine (`token.machine_mark`): its machine id (machine-id(5)) and its firmware's UUID (SMBIOS).

    Only root can read the latter. What cannot be read is unknown, and so is everything where there are no such files: not Linux.
    """
    machine_id = next((found for name in _IDS if (found := _read(root / name, _ID))), "")
    firmware = _read(root / _FIRMWARE, _UUID)
    return machine_mark(machine_id, "" if firmware.replace("-", "").lower() in _NO_FIRMWARE else firmware)


def _read(path: Path, pattern: re.Pattern[str]) -> str:
    try:
        with path.open("rb") as file:
            text = file.read(100).decode("ascii", "replace").strip()
    except OSError:
        return ""
    return text if pattern.fullmatch(text) else ""
