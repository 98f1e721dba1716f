"""Unpacking: whole, checked, once; the rest is tried on the real zipapp in test_zipapp.py."""

from __future__ import annotations

import fcntl
import os
import zipfile
from hashlib import sha256
from pathlib import Path

import pytest

from investigator._bootstrap import unpack
from investigator._bootstrap.trouble import CannotStart
from investigator._bootstrap.unpack import Archive, unpacked

UID = os.geteuid()
CONTENTS = {"site-packages/a.py": b"A = 1\n", "site-packages/bin/tool": b"#!/bin/sh\n", "site-packages/empty": b""}


def archive_of(folder: Path, contents: dict[str, bytes], *, written: dict[str, bytes] | None = None) -> Archive:
    """An archive that lists and is named by `contents`, but holds `written`."""
    path = folder / "x.pyz"
    with zipfile.ZipFile(path, "w") as packed:
        for name, data in (contents if written is None else written).items():
            packed.writestr(name, data)
    files = [(name, name, len(data), 0o755 if "bin/" in name else 0o644) for name, data in contents.items()]
    lines = "".join(
        f"{sha256(contents[name]).hexdigest()} {size} {mode:o} {name}\n" for name, _, size, mode in files
    )  # fmt: skip
    return Archive(str(path), sha256(lines.encode()).hexdigest()[:32], files)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    place = tmp_path / "place"
    place.mkdir(mode=0o700)
    return place


def test_all_files_are_there_with_their_modes(tmp_path: Path, place: Path) -> None:
    packages = Path(unpacked(archive_of(tmp_path, CONTENTS), str(place), UID))
    assert {
        f"site-packages/{path.relative_to(packages)}": path.read_bytes()
        for path in packages.rglob("*")
        if path.is_file()
    } == CONTENTS
    assert (packages / "bin/tool").stat().st_mode & 0o7777 == 0o755
    assert (packages / "a.py").stat().st_mode & 0o7777 == 0o644


def test_modes_never_let_others_write(tmp_path: Path, place: Path) -> None:
    unpack.write_file(str(place / "f"), b"x", 0o6777)
    assert (place / "f").stat().st_mode & 0o7022 == 0


@pytest.mark.parametrize(
    "written",
    [
        CONTENTS | {"site-packages/a.py": b"A = 2\n"},
        CONTENTS | {"site-packages/a.py": b"A = 10\n"},
        {"site-packages/a.py": b"A = 1\n"},
        {},
    ],
)
def test_what_is_not_what_the_name_says_is_not_unpacked(tmp_path: Path, place: Path, written: dict[str, bytes]) -> None:
    archive = archive_of(tmp_path, CONTENTS, written=written)
    with pytest.raises(CannotStart, match="is damaged"):
        unpacked(archive, str(place), UID)
    assert [path.name for path in place.iterdir()] == [".lock"]


def test_files_that_are_not_listed_are_not_unpacked(tmp_path: Path, place: Path) -> None:
    archive = archive_of(tmp_path, CONTENTS, written=CONTENTS | {"site-packages/os.py": b"", "../../escape": b""})
    packages = Path(unpacked(archive, str(place), UID))
    assert not (packages / "os.py").exists()
    assert not list(tmp_path.rglob("escape"))


def test_what_one_python_alone_has_is_unpacked_beside_what_all_have(tmp_path: Path, place: Path) -> None:
    whole = archive_of(tmp_path, CONTENTS | {"site-packages/own name.so": b"for 3.11"})
    with zipfile.ZipFile(whole.path, "w") as packed:
        for name, data in CONTENTS.items():
            packed.writestr(name, data)
        packed.writestr("site-packages-311/own name.so", b"for 3.11")
        packed.writestr("site-packages-312/own name.so", b"for 3.12")
    files = [*whole.files[:-1], *unpack.listed("site-packages-311", b"644 8 own name.so\n")]
    packages = Path(unpacked(whole._replace(files=files), str(place), UID))
    assert (packages / "own name.so").read_bytes() == b"for 3.11"
    assert (packages / "a.py").exists()


def test_a_version_that_runs_is_held_against_removal(tmp_path: Path, place: Path) -> None:
    archive = archive_of(tmp_path, CONTENTS)
    folder = Path(unpacked(archive, str(place), UID)).parent
    unpack.remove_unused(str(folder))
    assert folder.is_dir()
    while unpack._held:
        os.close(unpack._held.pop())
    unpack.remove_unused(str(folder))
    assert not folder.exists()


def test_a_version_that_is_being_removed_is_not_used(tmp_path: Path, place: Path) -> None:
    folder = place / "version"
    folder.mkdir()
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        assert not unpack.hold(str(folder))
    finally:
        os.close(descriptor)
    assert unpack.hold(str(folder))


def test_a_start_that_never_ends_is_named(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpack, "LOCK_WAIT_S", 0.0)
    with open(place / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(CannotStart, match=r"\.lock"), unpack.exclusive(str(place)):
            pass


def test_a_link_in_the_place_of_the_lock_is_not_followed(tmp_path: Path, place: Path) -> None:
    (place / ".lock").symlink_to(tmp_path / "victim")
    with pytest.raises(CannotStart, match="cannot unpack into"), unpack.exclusive(str(place)):
        pass
    assert not (tmp_path / "victim").exists()
