"""Which machine this is, as files say."""

from __future__ import annotations

from pathlib import Path

import pytest

from investigator.agent.machine import this_machine
from investigator.protocol.token import machine_mark

ID, UUID = "0123456789abcdef0123456789abcdef", "4C4C4544-0042-3510-8052-B7C04F313233"


def root(folder: Path, **files: str) -> Path:
    names = {"id": "etc/machine-id", "dbus": "var/lib/dbus/machine-id", "firmware": "sys/class/dmi/id/product_uuid"}
    for name, text in files.items():
        path = folder / names[name]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def test_a_machine_is_its_id_and_its_firmwares(tmp_path: Path) -> None:
    assert this_machine(root(tmp_path, id=f"{ID}\n", firmware=f"{UUID}\n")) == machine_mark(ID, UUID)


def test_the_older_place_is_read_where_the_newer_has_none(tmp_path: Path) -> None:
    assert this_machine(root(tmp_path, id="uninitialized\n", dbus=ID)) == machine_mark(ID, "")


@pytest.mark.parametrize("uuid", ["00000000-0000-0000-0000-000000000000", "Not Settable", "", "x" * 500])
def test_what_a_board_says_without_a_uuid_is_unknown(tmp_path: Path, uuid: str) -> None:
    assert this_machine(root(tmp_path, id=ID, firmware=uuid)) == machine_mark(ID, "")


def test_where_nothing_can_be_read_the_machine_is_unknown(tmp_path: Path) -> None:
    assert this_machine(tmp_path) == "."
