"""The zipapp as users and as root start it, in prepared, broken, full and foreign surroundings.

It is built once. Root's place is fixed (/var/lib), so root's tests see a tmpfs there, in a mount namespace of their own.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from zipapps import OWN, can_unshare, pythons, run, whole

from investigator import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

if sys.platform == "win32":
    pytest.skip("the zipapp's folders are checked by mode and owner", allow_module_level=True)

pytestmark = pytest.mark.timeout(400)  # a build that all wait for, on a busy machine
NOBODY = 65534
AS_ROOT = os.geteuid() == 0
USER = NOBODY if AS_ROOT else os.geteuid()
ANSWER = f"investigator {__version__}\n"
VERSION_NAME_LENGTH = 32


def same_python_for_anybody() -> str | None:
    """An interpreter of this version that the other user may run too."""
    for path in (os.path.realpath(sys.executable), f"/usr/bin/python3.{sys.version_info[1]}", "/usr/bin/python3"):
        command = [path, "-c", "import sys; print(*sys.version_info[:2])"]
        try:
            answer = run(command, user=USER, group=USER, cwd="/")
        except (PermissionError, FileNotFoundError):
            continue
        if answer.stdout.split() == [str(number) for number in sys.version_info[:2]]:
            return path
    return None


PYTHON = same_python_for_anybody()
needs_python = pytest.mark.skipif(PYTHON is None, reason="the other user may not run any Python of this version")
needs_namespace = pytest.mark.skipif(not can_unshare(), reason="not root, or root may not mount in a namespace")


@pytest.fixture(scope="session")
def zipapp(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return whole(tmp_path_factory)


class Host:
    """A home folder with a copy of the zipapp, and its user."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.file = home / "investigator.pyz"
        self.cache = home / ".cache"
        self.place = self.cache / "investigator" / "pyz"

    def start(
        self,
        *arguments: str,
        env: dict[str, str] | None = None,
        python: Sequence[str] | None = None,
        cwd: str = "/",
        file: Path | None = None,
        input: str = "",  # noqa: A002 - as subprocess calls it
    ) -> subprocess.CompletedProcess[str]:
        return run(
            [*(python or [str(PYTHON), "-sES"]), file or self.file, *(arguments or ("--version",))],
            env={"HOME": str(self.home), **(env or {})}, cwd=cwd, input=input,
            user=USER, group=USER, extra_groups=[] if AS_ROOT else None,
        )  # fmt: skip

    def popen(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [str(PYTHON), "-sES", self.file, *arguments],
            env={"HOME": str(self.home)}, cwd="/", user=USER, group=USER, extra_groups=[] if AS_ROOT else None,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def make(self, path: Path, mode: int = 0o700, owner: int = USER) -> Path:
        path.mkdir()
        path.chmod(mode)
        os.chown(path, owner, owner if AS_ROOT else -1)
        return path

    def versions(self) -> list[Path]:
        return sorted(path for path in self.place.iterdir() if len(path.name) == VERSION_NAME_LENGTH)


@pytest.fixture
def host(zipapp: Path) -> Iterator[Host]:
    with tempfile.TemporaryDirectory(prefix="investigator-test-", dir="/tmp") as folder:
        home = Path(folder)
        shutil.copy(zipapp, home)
        home.chmod(0o755)
        os.chown(home, USER, -1)
        yield Host(home)


def assert_refused(done: subprocess.CompletedProcess[str], *said: str) -> None:
    assert done.returncode == 5, (done.stdout, done.stderr)
    assert done.stdout == ""
    assert done.stderr.startswith("investigator: ")
    assert done.stderr.count("\n") == 1, done.stderr
    for piece in said:
        assert piece in done.stderr


# --- a user ---------------------------------------------------------------------------------------------------------


@needs_python
@pytest.mark.parametrize("folder", ["/", "/tmp", "/usr/lib"])
def test_it_answers_from_any_folder(host: Host, folder: str) -> None:
    done = host.start(cwd=folder)
    assert (done.stdout, done.stderr, done.returncode) == (ANSWER, "", 0)


@needs_python
def test_the_first_start_unpacks_and_the_second_uses_what_is_there(host: Host) -> None:
    host.start()
    (version,) = host.versions()
    before = version.stat().st_ino
    host.start()
    assert [path.stat().st_ino for path in host.versions()] == [before]
    assert version.stat().st_mode & 0o777 == 0o700
    assert host.place.parent.stat().st_mode & 0o777 == 0o700


@needs_python
def test_the_cache_is_where_xdg_says(host: Host) -> None:
    elsewhere = host.make(host.home / "elsewhere")
    assert host.start(env={"XDG_CACHE_HOME": str(elsewhere)}).stdout == ANSWER
    assert (elsewhere / "investigator/pyz").is_dir()
    assert not host.cache.exists()


@needs_python
def test_the_unpacked_nats_server_can_be_run(host: Host) -> None:
    host.start()
    (version,) = host.versions()
    server = version / "site-packages/bin/nats-server"
    answer = run([server, "--version"], user=USER)
    assert answer.stdout.startswith("nats-server: v")


@needs_python
def test_shivs_variables_do_nothing(host: Host) -> None:
    root = host.make(host.home / "shiv", mode=0o777)
    env = {
        "SHIV_ROOT": str(root),
        "SHIV_ENTRY_POINT": "os:getcwd",
        "SHIV_INTERPRETER": "1",
        "SHIV_PREPEND_PYTHONPATH": "/",
    }
    assert host.start(env=env).stdout == ANSWER
    assert list(root.iterdir()) == []


@needs_python
@pytest.mark.parametrize("python", [["/usr/bin/env", "-S", f"{PYTHON} -sES"], [str(PYTHON)], [str(PYTHON), "-sE"]])
def test_the_callers_python_variables_do_not_reach_the_program(host: Host, python: list[str]) -> None:
    planted = host.make(host.home / "planted")
    for name in ("investigator", "orjson", "zipfile", "typing", "fcntl"):
        (planted / f"{name}.py").write_text("raise SystemExit('planted code ran')\n")
    done = host.start(env={"PYTHONPATH": str(planted), "PYTHONSTARTUP": str(planted / "orjson.py")}, python=python)
    assert (done.stdout, done.stderr, done.returncode) == (ANSWER, "", 0)


@needs_python
def test_started_by_name_no_code_of_the_callers_runs_at_all(host: Host) -> None:
    planted = host.make(host.home / "planted")
    (planted / "sitecustomize.py").write_text("import os\nos.write(2, b'planted code ran')\n")
    (planted / "os.py").write_text("raise SystemExit('planted code ran')\n")
    first_line = host.file.read_bytes().split(b"\n", 1)[0].decode()
    assert first_line == "#!/usr/bin/env -S python3 -sES"
    done = host.start(env={"PYTHONPATH": str(planted), "PYTHONHOME": str(planted)})
    assert (done.stdout, done.stderr) == (ANSWER, "")


@needs_python
@pytest.mark.parametrize("link", [".cache/investigator", ".cache/investigator/pyz"])
def test_a_link_on_the_way_is_refused(host: Host, link: str) -> None:
    prepared = host.make(host.home / "prepared")
    host.make(host.cache)
    if link.endswith("pyz"):
        host.make(host.cache / "investigator")
    (host.home / link).symlink_to(prepared)
    assert_refused(host.start(), link, "is a link")
    assert list(prepared.iterdir()) == []


@needs_python
@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("mode", [0o777, 0o770, 0o1777])
def test_a_folder_that_others_can_write_to_is_refused(host: Host, depth: int, mode: int) -> None:
    ways = [host.cache, host.place.parent, host.place][:depth]
    for way in ways:
        host.make(way)
    ways[-1].chmod(mode)
    if depth == 1 and mode == 0o1777:  # as /tmp: nobody can replace what is ours in it
        assert host.start().stdout == ANSWER
    else:
        assert_refused(host.start(), str(ways[-1]), "others can write to")
        assert list(ways[-1].iterdir()) == []


@needs_python
@pytest.mark.skipif(not AS_ROOT, reason="only root gives folders away")
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_a_folder_of_another_user_is_refused(host: Host, depth: int) -> None:
    ways = [host.cache, host.place.parent, host.place][:depth]
    for way in ways:
        host.make(way)
    os.chown(ways[-1], 12345, 12345)
    ways[-1].chmod(0o755)
    assert_refused(host.start(), str(ways[-1]), "belongs to user 12345")


@needs_python
@pytest.mark.skipif(not AS_ROOT, reason="only root gives folders away")
def test_a_version_that_another_user_prepared_is_refused(host: Host) -> None:
    host.start()
    (version,) = host.versions()
    (version / "site-packages/investigator/__main__.py").write_text("print('planted code ran')\n")
    os.chown(version, 12345, 12345)
    version.chmod(0o755)
    assert_refused(host.start(), str(version), "belongs to user 12345")


@needs_python
@pytest.mark.skipif(not AS_ROOT, reason="only root gives files away")
def test_a_file_that_another_user_planted_is_replaced(host: Host) -> None:
    host.start()
    (version,) = host.versions()
    planted = version / "site-packages/investigator/__main__.py"
    genuine = planted.read_bytes()
    os.chown(planted, 12345, 12345)
    assert host.start().stdout == ANSWER
    assert planted.read_bytes() == genuine
    assert planted.stat().st_uid == USER


@needs_python
@pytest.mark.parametrize("damage", ["emptied", "removed", "folder"])
def test_what_a_crash_left_incomplete_is_unpacked_anew(host: Host, damage: str) -> None:
    host.start()
    (version,) = host.versions()
    victim = version / "site-packages/investigator/__main__.py"
    if damage == "emptied":
        os.truncate(victim, 0)
    elif damage == "removed":
        victim.unlink()
    else:
        shutil.rmtree(version / "site-packages")
    done = host.start()
    assert (done.stdout, done.stderr) == (ANSWER, "")
    assert victim.stat().st_size > 0
    assert not list(host.place.glob(".[no]*-*"))


@needs_python
def test_first_starts_at_the_same_time_unpack_once(host: Host) -> None:
    starts = [host.popen("--version") for _ in range(6)]
    answers = [start.communicate(timeout=60) for start in starts]
    assert answers == [(ANSWER, "")] * len(starts)
    assert len(host.versions()) == 1
    assert sorted(path.name for path in host.place.iterdir()) == [".lock", host.versions()[0].name]


@needs_python
def test_old_versions_go_but_the_newest_and_those_in_use(host: Host) -> None:
    for way in (host.cache, host.place.parent, host.place):
        host.make(way)
    names = ["0" * 32, "1" * 32, "2" * 32, "3" * 32]
    for age, name in enumerate(names):
        host.make(host.place / name)
        os.utime(host.place / name, (1_700_000_000 - age, 1_700_000_000 - age))
    host.make(host.place / ".new-99-1")
    used = os.open(host.place / names[2], os.O_RDONLY)
    try:
        fcntl.flock(used, fcntl.LOCK_SH)
        assert host.start().stdout == ANSWER
    finally:
        os.close(used)
    left = {path.name for path in host.place.iterdir()}
    assert {names[0], names[2]} < left
    assert not left & {names[1], names[3], ".new-99-1"}


@needs_python
def test_a_damaged_file_is_not_run(host: Host) -> None:
    with zipfile.ZipFile(host.file) as archive:
        victim = archive.getinfo("site-packages/investigator/__main__.py")
    with host.file.open("r+b") as file:
        file.seek(victim.header_offset + 30 + len(victim.filename) + 20)
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 0xFF]))
    assert_refused(host.start(), "is damaged", "copy it again")
    assert host.versions() == []


@needs_python
def test_another_content_under_the_same_name_is_not_run(host: Host) -> None:
    """The files are those of the list that the folder is named by, not whatever the archive holds."""
    changed = host.home / "changed.pyz"
    with zipfile.ZipFile(host.file) as old, zipfile.ZipFile(changed, "w", zipfile.ZIP_STORED) as new:
        for entry in old.infolist():
            data = old.read(entry)
            if entry.filename == "site-packages/investigator/__main__.py":
                data = data.replace(b"investigator", b"adversarious")
            new.writestr(entry.filename, data)
    host.file.unlink()
    changed.rename(host.file)
    assert_refused(host.start(), "is damaged")
    assert host.versions() == []


@needs_python
def test_a_module_runs_on_bare_parameters(host: Host) -> None:
    parameters = {"searches": {"s1": {"paths": ["/etc"], "names": ["^passwd$"]}}}
    done = host.start("module", "file", input=json.dumps(parameters))
    result = json.loads(done.stdout)
    assert (result["success"], result["foundanything"], done.returncode) == (True, True, 0), done.stderr
    assert result["elements"]["s1"][0]["file"] == "/etc/passwd"


@needs_python
def test_a_link_named_mig_takes_migs_command_line(host: Host) -> None:
    link = host.home / "mig"
    link.symlink_to(host.file)
    done = host.start("-t", "local", "file", "-path", "/etc", "-name", "^passwd$", file=link)
    assert "/etc/passwd" in done.stdout, done.stderr


@needs_python
def test_broker_agents_and_their_workers_run_from_the_one_file(host: Host) -> None:
    """`demo` starts them all as processes, by the command that started itself."""
    done = host.start("demo")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "/etc/passwd" in done.stdout


def foreign_pythons() -> list[str]:
    found = [*Path.home().glob(".pyenv/versions/*/bin/python"), *Path("/usr/bin").glob("python3.[0-9]*[0-9]")]
    served = [*pythons(), *(f"{version}." for version in pythons())]
    return sorted(
        str(path) for path in found if not any(f"/{one}" in str(path) or str(path).endswith(one) for one in served)
    )


@pytest.mark.parametrize("python", foreign_pythons() or [pytest.param("", marks=pytest.mark.skip("there is no other"))])
def test_another_python_is_told_which_ones_would_do(zipapp: Path, python: str) -> None:
    done = run([python, zipapp], env={})
    assert_refused(done, "needs CPython 3.", OWN, python, "start it with python3.")


# --- root -----------------------------------------------------------------------------------------------------------


def start_as_root(
    file: Path,
    prepare: str = "true",
    *,
    after: str = "true",
    options: str = "mode=755",
    env: dict[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """With a /var/lib of its own: prepare it, start, and look at it afterwards."""
    script = f"mount -t tmpfs -o {options} tmpfs /var/lib && {{ {prepare}; }} && {{ {PYTHON} -sES {file} --version; }} || exit; {after}"
    return run(["unshare", "-m", "sh", "-c", script], env=env or {}, cwd="/")


@needs_namespace
def test_root_unpacks_under_the_agents_state_whatever_the_caller_says(host: Host) -> None:
    env = {
        "SHIV_ROOT": str(host.home),
        "XDG_CACHE_HOME": str(host.home),
        "HOME": str(host.home),
        "INVESTIGATOR_HOME": str(host.home),
    }
    done = start_as_root(
        host.file, after="stat -c '%n %u %a' /var/lib/investigator /var/lib/investigator/pyz/*", env=env
    )
    answer, *folders = done.stdout.splitlines()
    assert f"{answer}\n" == ANSWER
    assert [line.split()[1:] for line in folders] == [["0", "700"]] * 2
    assert [path.name for path in host.home.iterdir()] == ["investigator.pyz"]


@needs_namespace
@pytest.mark.parametrize(
    ("prepare", "said"),
    [
        ("chmod 1777 /var/lib", "others can write to /var/lib,"),
        ("chmod 775 /var/lib", "others can write to /var/lib,"),
        ("chown 12345 /var/lib", "/var/lib belongs to user 12345"),
        ("mkdir -m 777 /var/lib/investigator", "others can write to /var/lib/investigator "),
        ("mkdir -p /var/lib/investigator/pyz; chmod 1777 /var/lib/investigator/pyz", "others can write to"),
        ("mkdir -m 700 /var/lib/investigator; chown 12345 /var/lib/investigator", "belongs to user 12345"),
        ("mkdir /var/lib/x; ln -s x /var/lib/investigator", "/var/lib/investigator is a link"),
        ("mkdir -p /var/lib/investigator; ln -s /tmp /var/lib/investigator/pyz", "/var/lib/investigator/pyz is a link"),
        ("touch /var/lib/investigator", "/var/lib/investigator is no folder"),
    ],
)
def test_root_refuses_what_somebody_else_could_have_prepared(host: Host, prepare: str, said: str) -> None:
    assert_refused(start_as_root(host.file, prepare), said)


@needs_namespace
def test_root_refuses_a_version_prepared_under_the_right_name(host: Host) -> None:
    assert host.start().stdout == ANSWER
    (version,) = host.versions()
    prepare = f"mkdir -p -m 755 /var/lib/investigator/pyz; cp -a {version} /var/lib/investigator/pyz/"
    assert_refused(start_as_root(host.file, prepare), version.name, f"belongs to user {USER}")


@needs_namespace
@pytest.mark.parametrize(
    ("options", "prepare", "said"),
    [
        ("mode=755,size=8m", "true", "No space left on device ("),
        ("mode=755", "mount -o remount,ro /var/lib", "Read-only file system"),
        ("mode=755,noexec", "true", "mounted noexec"),
    ],
)
def test_a_place_that_does_not_take_it_is_one_line(host: Host, options: str, prepare: str, said: str) -> None:
    done = start_as_root(host.file, prepare, options=options)
    assert_refused(done, said, "/var/lib/investigator")


@needs_namespace
def test_a_full_disk_leaves_nothing_behind(host: Host) -> None:
    script = f"mount -t tmpfs -o mode=755,size=8m tmpfs /var/lib; {PYTHON} -sES {host.file} --version; ls -A /var/lib/investigator/pyz"
    done = run(["unshare", "-m", "sh", "-c", script], env={})
    assert done.stdout == ".lock\n"
