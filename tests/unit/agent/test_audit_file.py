"""The audit's files: on the disk, rotated, whole after a crash, and never shorter in silence."""

from __future__ import annotations

import os
import resource
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from investigator.agent import audit_file
from investigator.agent.audit import Audit
from investigator.agent.audit_file import CURRENT, HEAD, KEPT_FILES, KEPT_TORN, TORN, NotRecorded, full_files
from investigator.agent.audit_reading import AuditLines, own_head, verify_audit
from investigator.protocol.audit import ChainBroken, Entry, Verified, line_digest


def opened(folder: Path, *, first: bool = False) -> Audit:
    return Audit(folder, agent="a", key_is_new=first)


def decide(audit: Audit, count: int = 1, name: str = "n") -> None:
    for at in range(count):
        audit.record(Entry(kind="decision", type="action", verdict="admitted", name=f"{name}{at}"))


def checked(folder: Path, *, start: int = 1) -> Verified:
    own = own_head(folder)
    with AuditLines(folder) as lines:
        return verify_audit(lines, (), start=start, own=own)


def last(folder: Path) -> dict[str, object]:
    line = orjson.loads((folder / CURRENT).read_bytes().splitlines()[-1])
    assert isinstance(line, dict)
    return line


def test_a_chain_goes_on_over_restarts_and_its_first_line_says_why_it_starts(tmp_path: Path) -> None:
    with opened(tmp_path, first=True) as audit:
        decide(audit, 3)
    with opened(tmp_path) as audit:
        decide(audit, 2)
        assert audit.count == 6
    raw = (tmp_path / CURRENT).read_bytes().splitlines()
    assert orjson.loads(raw[0])["code"] == "first"
    assert sum(b'"chain"' in line for line in raw) == 1
    assert checked(tmp_path).last.count == 6
    assert [path.stat().st_mode & 0o777 for path in tmp_path.iterdir()] == [0o600, 0o600]


def test_files_are_rotated_by_size_the_oldest_goes_and_the_chain_runs_through_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_file, "MAX_FILE_BYTES", 1500)
    with opened(tmp_path, first=True) as audit:
        decide(audit, 20)
        assert checked(tmp_path).first == 1
        assert 0 < len(full_files(tmp_path)) < KEPT_FILES
        decide(audit, 80)
        assert len(full_files(tmp_path)) == KEPT_FILES
        assert max(path.stat().st_size for path in tmp_path.iterdir()) <= 1500
        verified = checked(tmp_path)
    assert verified.first > 1
    assert verified.last.count == 101
    with opened(tmp_path) as audit:
        decide(audit)
    assert checked(tmp_path).last.count == 102


def test_old_files_that_somebody_removed_are_missed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_file, "MAX_FILE_BYTES", 1500)
    with opened(tmp_path, first=True) as audit:
        decide(audit, 20)
    full_files(tmp_path)[0].unlink()
    with pytest.raises(ChainBroken, match=r"lines 1 to .* are missing"):
        checked(tmp_path)


def test_a_full_file_in_the_middle_that_somebody_removed_is_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_file, "MAX_FILE_BYTES", 1500)
    with opened(tmp_path, first=True) as audit:
        decide(audit, 100)
    full_files(tmp_path)[3].unlink()
    with pytest.raises(ChainBroken, match="are missing"):
        checked(tmp_path)


@given(st.data())
def test_after_a_crash_in_the_middle_of_a_line_the_rest_is_put_aside_and_the_chain_holds(data: st.DataObject) -> None:
    with TemporaryFolder() as folder:
        with opened(folder, first=True) as audit:
            decide(audit, 3)
        content = (folder / CURRENT).read_bytes()
        rest = data.draw(st.binary(min_size=1, max_size=200).filter(lambda rest: not rest.startswith(b"{")))
        (folder / CURRENT).write_bytes(content + rest)
        with opened(folder) as audit:
            decide(audit)
        (torn,) = folder.glob(TORN)
        assert torn.read_bytes() == rest
        assert torn.stat().st_mode & 0o777 == 0o600
        verified = checked(folder)
        assert verified.last.count == 6
        assert f"{len(rest)} bytes" in verified.notes[0]
        assert torn.name in verified.notes[0]


def test_a_crash_while_a_line_is_written_leaves_the_line_before_as_the_last(tmp_path: Path) -> None:
    with opened(tmp_path, first=True) as audit:
        decide(audit, 3)
    content = (tmp_path / CURRENT).read_bytes()
    previous = content[: content.rstrip(b"\n").rfind(b"\n") + 1]
    for cut in range(len(previous) + 1, len(content)):
        folder = tmp_path / str(cut)
        folder.mkdir()
        (folder / CURRENT).write_bytes(content[:cut])  # and no audit.head of a line that was never on the disk
        with opened(folder) as audit:
            assert audit.count == 4
        assert checked(folder).last.count == 4
        shutil.rmtree(folder)


def test_torn_ends_are_kept_in_a_limited_number(tmp_path: Path) -> None:
    opened(tmp_path, first=True).__exit__(None, None, None)
    for _ in range(KEPT_TORN + 5):
        with (tmp_path / CURRENT).open("ab") as file:
            file.write(b"half a li")
        opened(tmp_path).__exit__(None, None, None)
    assert len(list(tmp_path.glob(TORN))) == KEPT_TORN


def test_an_audit_that_is_gone_is_never_begun_anew_in_silence(tmp_path: Path) -> None:
    with opened(tmp_path, first=True) as audit:
        decide(audit, 3)
    (tmp_path / CURRENT).unlink()
    with opened(tmp_path) as audit:
        assert audit.count == 5  # the number goes on: what is missing can be counted
    assert (last(tmp_path)["code"], last(tmp_path)["reason"]) == (
        "lost",
        "lines 1 to 4 are gone, all files of the audit",
    )
    with pytest.raises(ChainBroken, match="lines 1 to 4 are gone"):
        checked(tmp_path)
    assert checked(tmp_path, start=5).last.count == 5


def test_an_audit_that_is_gone_with_its_head_is_missed_by_the_older_key(tmp_path: Path) -> None:
    with opened(tmp_path) as audit:
        decide(audit)
    with pytest.raises(ChainBroken, match="what was decided before is lost"):
        checked(tmp_path)


def test_lines_that_were_cut_from_the_end_are_missed_at_the_next_start(tmp_path: Path) -> None:
    with opened(tmp_path, first=True) as audit:
        decide(audit, 5)
    lines = (tmp_path / CURRENT).read_bytes().splitlines(keepends=True)
    (tmp_path / CURRENT).write_bytes(b"".join(lines[:3]))
    with pytest.raises(ChainBroken, match="line 4 is missing"):
        checked(tmp_path)
    with opened(tmp_path):
        pass
    assert (last(tmp_path)["n"], last(tmp_path)["code"]) == (7, "cut")
    with pytest.raises(ChainBroken, match="lines 4 to 6 are gone from the end"):
        checked(tmp_path)


def test_a_last_line_that_was_changed_is_noticed_at_the_next_start(tmp_path: Path) -> None:
    with opened(tmp_path, first=True) as audit:
        decide(audit, 2)
    content = (tmp_path / CURRENT).read_bytes()
    (tmp_path / CURRENT).write_bytes(content.replace(b'"n1"', b'"n7"'))
    with pytest.raises(ChainBroken, match=r"line 3 is not the one that audit\.head has"):
        checked(tmp_path)
    with opened(tmp_path):
        pass
    assert last(tmp_path)["code"] == "altered"
    with pytest.raises(ChainBroken):
        checked(tmp_path)


@pytest.mark.parametrize(
    ("tamper", "code"),
    [
        ("rm {0}", "lost"),
        ("truncate -s 0 {0}", "lost"),
        ("sed -i 2,3d {0}", "cut"),
        ("sed -i s/n0/n7/ {0}", "replaced"),
        ("cp {0} {0}.new && mv {0}.new {0}", "replaced"),
        ("printf half >> {0}", "torn"),
    ],
)
def test_what_is_done_to_the_file_while_the_agent_runs_is_said_by_the_next_line(
    tmp_path: Path, tamper: str, code: str
) -> None:
    with opened(tmp_path, first=True) as audit:
        decide(audit, 2)
        assert os.system(tamper.format(tmp_path / CURRENT)) == 0
        decide(audit)
        lines = [orjson.loads(raw) for raw in (tmp_path / CURRENT).read_bytes().splitlines()]
        assert [line["n"] for line in lines[-2:]] == [4, 5]
        assert (lines[-2]["kind"], lines[-2]["code"], lines[-1]["name"]) == ("chain", code, "n0")
    if code != "torn" and "cp" not in tamper:
        with pytest.raises(ChainBroken):
            checked(tmp_path)


def test_a_line_that_somebody_else_appended_is_not_taken_for_ours(tmp_path: Path) -> None:
    from investigator.protocol.audit import Head, write_line

    with opened(tmp_path, first=True) as audit:
        decide(audit)
        raw = (tmp_path / CURRENT).read_bytes().splitlines()[-1]
        forged = write_line(
            Entry(kind="end", state="notfound"), Head(2, line_digest(raw)), time="2026-11-24T03:00:00.000Z", agent="a"
        )
        with (tmp_path / CURRENT).open("ab") as file:
            file.write(forged + b"\n")
        decide(audit)
    with pytest.raises(ChainBroken, match="lines 3 to 3 were written by somebody else"):
        checked(tmp_path)


@pytest.mark.parametrize("content", [b"", b"\n", b"rubbish\n", b"\0" * 5000, b'{"n":7}\n' * 9, b"x" * 50_000])
def test_a_file_that_is_no_audit_is_put_aside_and_the_number_goes_on(tmp_path: Path, content: bytes) -> None:
    with opened(tmp_path, first=True) as audit:
        decide(audit)
    (tmp_path / CURRENT).write_bytes(content)
    with opened(tmp_path) as audit:
        assert audit.count == 3
    assert (last(tmp_path)["n"], last(tmp_path)["code"]) == (3, "lost")
    assert [path.read_bytes() for path in tmp_path.glob(TORN)] == ([content] if content else [])


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"n":-1,"head":"x"}', b'{"n":1e99,"head":3}', b"\xff" * 200])
def test_a_head_that_is_none_is_no_obstacle(tmp_path: Path, content: bytes) -> None:
    with opened(tmp_path, first=True) as audit:
        decide(audit)
    (tmp_path / HEAD).write_bytes(content)
    with opened(tmp_path) as audit:
        decide(audit)
    assert checked(tmp_path).last.count == 3


def test_a_head_that_lags_after_a_power_cut_is_no_complaint(tmp_path: Path) -> None:
    with opened(tmp_path, first=True) as audit:
        decide(audit)
        earlier = (tmp_path / HEAD).read_bytes()
        decide(audit, 3)
    (tmp_path / HEAD).write_bytes(earlier)
    with opened(tmp_path) as audit:
        assert audit.count == 5
    assert checked(tmp_path).notes == []


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """A disk that takes no more: the kernel lets no file grow beyond this."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("room", [0, 1, 100])
def test_a_disk_that_is_full_leaves_no_half_line_and_the_chain_goes_on_when_there_is_room(
    tmp_path: Path, room: int
) -> None:
    with opened(tmp_path, first=True) as audit:
        decide(audit, 3)
        size = (tmp_path / CURRENT).stat().st_size
        with files_of_at_most(size + room), pytest.raises(NotRecorded, match=CURRENT):
            decide(audit)
        assert (tmp_path / CURRENT).stat().st_size == size
        assert audit.count == 4
        decide(audit)
    assert checked(tmp_path).notes == []


def test_an_agent_that_starts_on_a_full_disk_says_why_its_chain_starts_as_soon_as_there_is_room(tmp_path: Path) -> None:
    with files_of_at_most(10):
        audit = opened(tmp_path, first=True)
        assert (audit.count, audit.head) == (0, "0" * 24)
        with pytest.raises(NotRecorded):
            decide(audit)
    with audit:
        decide(audit)
    assert checked(tmp_path).last.count == 2
    assert orjson.loads((tmp_path / CURRENT).read_bytes().splitlines()[0])["code"] == "first"


def test_a_folder_without_an_audit_or_without_permission_is_told_in_one_line(tmp_path: Path) -> None:
    from investigator.errors import DeploymentError

    with pytest.raises(DeploymentError, match="there is no audit"), AuditLines(tmp_path):
        pass
    with pytest.raises(DeploymentError, match="No such file"), AuditLines(None, [tmp_path / "none"]):
        pass


def test_files_that_were_carried_elsewhere_are_put_in_order_by_their_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_file, "MAX_FILE_BYTES", 1500)
    with opened(tmp_path, first=True) as audit:
        decide(audit, 20)
    paths = [tmp_path / CURRENT, *reversed(full_files(tmp_path))]
    with AuditLines(None, paths) as lines:
        assert verify_audit(lines, ()).last.count == 21


def test_a_line_that_is_just_being_written_is_no_break(tmp_path: Path) -> None:
    with opened(tmp_path, first=True) as audit:
        decide(audit)
    with (tmp_path / CURRENT).open("ab") as file:
        file.write(b'{"n":3,')
    with AuditLines(tmp_path) as lines:
        assert verify_audit(lines, ()).last.count == 2
        assert lines.torn


class TemporaryFolder:
    """For tests that hypothesis runs many times."""

    def __enter__(self) -> Path:
        import tempfile

        self._folder = Path(tempfile.mkdtemp(prefix="audit-test-"))
        return self._folder

    def __exit__(self, *error: object) -> None:
        shutil.rmtree(self._folder)
