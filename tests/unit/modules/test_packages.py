"""Package databases as hosts have them, broken ones, and ones that somebody prepared."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from investigator.modules.notes import Notes
from investigator.modules.packages import (
    NO_DATABASE,
    Inventory,
    Package,
    apk,
    dpkg,
    homebrew,
    installed,
    pacman,
    rpm,
    windows,
)
from investigator.modules.packages.program import ProgramFailed, find_program, output_of

STATUS = b"""\
Package: bash
Essential: yes
Status: install ok installed
Architecture: amd64
Multi-Arch: foreign
Version: 5.2.15-2+b8
Description: shell
 Version: 9
 .
 more

Package: libc6
Status: install ok installed
Architecture: amd64
Multi-Arch: same
Version: 2.36-9

Package: libc6
Status: install ok installed
Architecture: i386
Multi-Arch: same
Version: 2.36-9

Package: wine
Status: hold ok installed
Architecture: i386
Version: 8.0-1

Package: gone
Status: deinstall ok config-files
Architecture: amd64
Version: 1

Package: halfway
Status: install ok half-configured
Architecture: all
Version: 1:2

package: odd
STATUS: install ok installed
architecture: all
VERSION: 3
"""


def write(root: Path, path: str, content: bytes) -> Path:
    target = root / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content)
    return target


def look(root: Path, *, deadline_s: float = float("inf")) -> Inventory:
    return installed(root=os.fsencode(root), deadline_s=deadline_s)


def names(inventory: Inventory) -> list[str]:
    return [f"{one.name} {one.version}" for one in inventory.packages]


def test_dpkgs_names_states_and_architectures(tmp_path: Path) -> None:
    write(tmp_path, "var/lib/dpkg/status", STATUS)
    write(tmp_path, "var/lib/dpkg/arch", b"amd64\ni386\n")
    found = look(tmp_path)
    assert found.packages == [
        Package("bash", "5.2.15-2+b8", "dpkg", "amd64"),
        Package("halfway", "1:2", "dpkg", "all"),
        Package("libc6:amd64", "2.36-9", "dpkg", "amd64"),
        Package("libc6:i386", "2.36-9", "dpkg", "i386"),
        Package("odd", "3", "dpkg", "all"),
        Package("wine:i386", "8.0-1", "dpkg", "i386"),
    ]
    assert (found.errors, found.complete) == ([], True)
    assert [one.bare_name for one in found.packages[2:4]] == ["libc6", "libc6"]


def test_what_an_interrupted_dpkg_left_counts(tmp_path: Path) -> None:
    write(tmp_path, "var/lib/dpkg/status", STATUS)
    new = b"Package: bash\nStatus: install ok unpacked\nArchitecture: amd64\nVersion: 5.3-1\n"
    write(tmp_path, "var/lib/dpkg/updates/0001", new)
    removed = b"Package: halfway\nStatus: purge ok not-installed\nArchitecture: all\n"
    write(tmp_path, "var/lib/dpkg/updates/0002", removed)
    assert "bash 5.3-1" in names(look(tmp_path))
    assert not any(name.startswith("halfway") for name in names(look(tmp_path)))


def test_images_without_dpkg_have_a_folder_of_stanzas(tmp_path: Path) -> None:
    write(tmp_path, "var/lib/dpkg/status.d/base", b"Package: base-files\nVersion: 12.4\nArchitecture: amd64\n")
    write(tmp_path, "var/lib/dpkg/status.d/base.md5sums", b"0123  etc/os-release\n")
    assert names(look(tmp_path)) == ["base-files 12.4"]


def test_entries_that_are_none_are_counted_not_hidden(tmp_path: Path) -> None:
    write(tmp_path, "var/lib/dpkg/status", STATUS + b"\nPackage: x\nVersion: 1\n\nrubbish\n\n\xff\xfe\n")
    found = look(tmp_path)
    assert len(found.packages) == 6
    assert found.errors == [f"{tmp_path}/var/lib/dpkg/status: 3 entries are none that can be read"]


def test_a_fifo_in_the_databases_place_is_an_error_at_once(tmp_path: Path) -> None:
    (tmp_path / "var/lib/dpkg").mkdir(parents=True)
    os.mkfifo(tmp_path / "var/lib/dpkg/status")
    found = look(tmp_path)
    assert not found.complete
    assert found.errors == ["could not read the packages of dpkg: is a FIFO, not a regular file"]


def test_a_database_may_be_a_link_to_a_file(tmp_path: Path) -> None:
    write(tmp_path, "elsewhere/status", STATUS)
    (tmp_path / "var/lib/dpkg").mkdir(parents=True)
    (tmp_path / "var/lib/dpkg/status").symlink_to(tmp_path / "elsewhere/status")
    assert len(look(tmp_path).packages) == 6


def test_a_database_of_terabytes_is_an_error(tmp_path: Path) -> None:
    path = write(tmp_path, "lib/apk/db/installed", b"")
    os.truncate(path, 1 << 40)
    assert look(tmp_path).errors == ["could not read the packages of apk: more than 134,217,728 bytes"]


def test_no_database_at_all_is_said(tmp_path: Path) -> None:
    assert look(tmp_path) == Inventory([], [NO_DATABASE], complete=False)


def test_alpines_packages(tmp_path: Path) -> None:
    text = b"C:Q1x=\nP:musl\nV:1.2.5-r0\nA:x86_64\nF:lib\n\nP:busybox\nV:1.36.1-r29\nA:x86_64\n\nP:broken\n\n"
    write(tmp_path, "lib/apk/db/installed", text)
    found = look(tmp_path)
    assert found.packages == [
        Package("busybox", "1.36.1-r29", "apk", "x86_64"),
        Package("musl", "1.2.5-r0", "apk", "x86_64"),
    ]
    assert len(found.errors) == 1


def test_archs_packages(tmp_path: Path) -> None:
    local = "var/lib/pacman/local"
    write(tmp_path, f"{local}/ALPM_DB_VERSION", b"9\n")
    desc = b"%NAME%\nlinux\n\n%VERSION%\n6.9.1.arch1-1\n\n%DESC%\n%NAME%\n\n%ARCH%\nx86_64\n"
    write(tmp_path, f"{local}/linux-6.9.1.arch1-1/desc", desc)
    write(tmp_path, f"{local}/empty-1-1/desc", b"")
    (tmp_path / local / "gone-1-1").mkdir()
    found = look(tmp_path)
    assert found.packages == [Package("linux", "6.9.1.arch1-1", "pacman", "x86_64")]
    assert len(found.errors) == 2


def test_homebrews_formulae_and_casks(tmp_path: Path) -> None:
    write(tmp_path, "opt/homebrew/Cellar/wget/1.24.5/INSTALL_RECEIPT.json", b'{"arch":"arm64"}')
    write(tmp_path, "opt/homebrew/Cellar/openssl@3/3.3.0/INSTALL_RECEIPT.json", b"[")
    (tmp_path / "usr/local/Caskroom/firefox/126.0").mkdir(parents=True)
    (tmp_path / "usr/local/Caskroom/firefox/.metadata").mkdir()
    assert look(tmp_path).packages == [
        Package("firefox", "126.0", "cask", ""),
        Package("openssl@3", "3.3.0", "brew", ""),
        Package("wget", "1.24.5", "brew", "arm64"),
    ]


def test_windows_programs_from_recorded_keys() -> None:
    entries: list[tuple[str, dict[str, object]]] = [
        ("amd64", {"DisplayName": "7-Zip 23.01 (x64)", "DisplayVersion": "23.01"}),
        ("amd64", {"DisplayName": "7-Zip 23.01 (x64)", "DisplayVersion": "23.01"}),
        ("386", {"DisplayName": "Old\ud800 Tool"}),
        ("386", {"DisplayVersion": "1"}),
        ("", {"DisplayName": 5, "DisplayVersion": b"x"}),
    ]
    assert windows.programs_of(entries) == [
        Package("7-Zip 23.01 (x64)", "23.01", "windows", "amd64"),
        Package("Old\\ud800 Tool", "", "windows", "386"),
    ]


def test_rpms_rows() -> None:
    notes = Notes()
    text = b"bash\t5.1.8-6.el9\tx86_64\ngpg-pubkey\t1-2\t(none)\nkernel\t1:2-3\tx86_64\nbroken\trow\n\xff\t1\tnoarch\n"
    assert rpm.parse_rows(text, notes) == [
        Package("bash", "5.1.8-6.el9", "rpm", "x86_64"),
        Package("gpg-pubkey", "1-2", "rpm", "(none)"),
        Package("kernel", "1:2-3", "rpm", "x86_64"),
        Package("\\xff", "1", "rpm", "noarch"),
    ]
    assert notes.texts() == ["rpm -qa: 1 rows are none that can be read"]


SPEC = """\
Name: investigated
Epoch: 2
Version: 1.0~rc1
Release: 3
Summary: made by a test
License: MPL-2.0
BuildArch: noarch
%description
Made by a test.
%files
"""


@pytest.mark.skipif(not (shutil.which("rpmbuild") and find_program(("/usr/bin/rpm",))), reason="there is no rpm here")
def test_a_real_rpm_database(tmp_path: Path) -> None:
    spec = write(tmp_path, "made.spec", SPEC.encode())
    define = ["--define", f"_topdir {tmp_path}/build", "--define", f"_dbpath {tmp_path}/none"]
    subprocess.run(["rpmbuild", "-bb", "--quiet", *define, str(spec)], capture_output=True, check=True)
    (package,) = tmp_path.glob("build/RPMS/*/*.rpm")
    database = tmp_path / "root/var/lib/rpm"
    database.mkdir(parents=True)
    subprocess.run(
        ["rpm", "--dbpath", str(database), "-i", "--justdb", "--nodeps", str(package)], capture_output=True, check=True
    )
    found = look(tmp_path / "root")
    assert not Path("/nonexistent").exists()
    assert found.packages == [Package("investigated", "2:1.0~rc1-3", "rpm", "noarch")]
    assert (found.errors, found.complete) == ([], True)


def test_an_rpm_database_that_rpm_cannot_read_is_an_error(tmp_path: Path) -> None:
    write(tmp_path, "var/lib/rpm/rpmdb.sqlite", b"rubbish" * 1000)
    found = look(tmp_path)
    assert found.packages == []
    assert not found.complete
    assert found.errors[0].startswith("could not read the packages of rpm: ")


def test_programs_are_held_to_time_and_output() -> None:
    python = sys.executable
    assert output_of([python, "-c", "print(5)"], timeout_s=30, max_bytes=100) == b"5\n"
    with pytest.raises(ProgramFailed, match="did not end in time"):
        output_of([python, "-c", "import time; time.sleep(60)"], timeout_s=0.3, max_bytes=100)
    with pytest.raises(ProgramFailed, match="wrote more than 1,000 bytes"):
        output_of([python, "-c", "while True: print('x' * 999)"], timeout_s=30, max_bytes=1000)
    with pytest.raises(ProgramFailed, match="failed with status 3: because"):
        output_of(
            [python, "-c", "import sys; print('because', file=sys.stderr); sys.exit(3)"], timeout_s=30, max_bytes=9
        )
    with pytest.raises(ProgramFailed, match="could not be started"):
        output_of(["/nonexistent/rpm"], timeout_s=30, max_bytes=9)
    with pytest.raises(ProgramFailed, match="did not end in time"):
        output_of([python, "-c", "pass"], timeout_s=-1, max_bytes=100)


def test_programs_see_nothing_of_our_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RPM_CONFIGDIR", "/tmp/evil")
    said = output_of([sys.executable, "-c", "import os; print(*os.environ)"], timeout_s=30, max_bytes=1000)
    assert set(said.decode().split()) <= {"PATH", "LC_ALL", "HOME", "LC_CTYPE"}


def test_out_of_time_is_said(tmp_path: Path) -> None:
    write(tmp_path, "var/lib/pacman/local/ALPM_DB_VERSION", b"9\n")
    write(tmp_path, "var/lib/pacman/local/a-1-1/desc", b"%NAME%\na\n\n%VERSION%\n1\n")
    found = look(tmp_path, deadline_s=time.monotonic() - 1)
    assert found.packages == []
    assert found.errors[0].startswith("warning: out of time in ")


@pytest.mark.skipif(not shutil.which("dpkg-query"), reason="there is no dpkg here")
def test_this_systems_packages_are_those_that_dpkg_lists() -> None:
    form = "${binary:Package}\t${Version}\t${Architecture}\t${db:Status-Status}\n"
    rows = subprocess.run(["dpkg-query", "-W", "-f", form], capture_output=True, text=True, check=True).stdout
    theirs = [tuple(row.split("\t")[:3]) for row in rows.splitlines() if row.endswith("\tinstalled")]
    ours = [(one.name, one.version, one.arch) for one in installed().packages if one.type == "dpkg"]
    assert sorted(ours) == sorted(theirs)


PIECES = st.lists(
    st.sampled_from(
        [b"Package: ", b"Version: ", b"Status: install ok installed", b"Architecture: ", b"\n", b"\n\n", b" ", b"P:", b"V:",
         b"%NAME%\n", b"%VERSION%\n", b"\t", b"\0", b"\xff", b"\r", b":"]
    )
    | st.binary(max_size=8),
    max_size=30,
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(PIECES)
def test_no_database_breaks_a_parser(pieces: list[bytes]) -> None:
    text = b"".join(pieces)
    for entry in dpkg.read_stanzas(text):
        assert entry is None or len(entry) == 5
    found = [*apk.parse_database(text)[0], *rpm.parse_rows(text, Notes())]
    one = pacman.parse_desc(text)
    for package in [*found, *([one] if one else [])]:
        assert package.name
        assert package.version
        "".join(package).encode()


def test_where_something_could_not_be_read_the_list_is_not_complete(tmp_path: Path) -> None:
    write(tmp_path, "var/lib/pacman/local/ALPM_DB_VERSION", b"9")
    write(tmp_path, "var/lib/pacman/local/good-1/desc", b"%NAME%\ngood\n\n%VERSION%\n1\n")
    assert look(tmp_path).complete
    late = installed(root=bytes(tmp_path), deadline_s=0)
    assert (late.packages, late.complete) == ([], False)
    write(tmp_path, "var/lib/pacman/local/bad-1/desc", b"rubbish")
    found = look(tmp_path)
    assert (names(found), found.complete) == (["good 1"], False)


def test_more_packages_than_any_system_has_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in "abc":
        (tmp_path / "opt/homebrew/Cellar" / name / "1").mkdir(parents=True)
    monkeypatch.setattr(homebrew, "MAX_PACKAGES", 2)
    found = look(tmp_path)
    assert len(found.packages) == 2
    assert not found.complete
    assert found.errors[0].startswith("warning: Homebrew has more than 2 packages")
    monkeypatch.setattr(windows, "MAX_PACKAGES", 1)
    with pytest.raises(ValueError, match="more than 1 programs"):
        windows.programs_of([("amd64", {"DisplayName": name}) for name in "ab"])
