"""Processes through /proc: real ones."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from investigator.modules.processes.crew import MAX_HANGING, OutOfTime, end_before, work_off
from investigator.modules.processes.family import all_stats, own_family
from investigator.modules.processes.parsing import Stat
from investigator.modules.processes.procfs import Clock, Ended, Process, pids
from victims import python

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has /proc")


def test_a_process_is_known_by_what_the_kernel_says_of_it(tmp_path):
    file = tmp_path / "open here"
    file.touch()
    with python(f"f = open({str(file)!r})\nprint('x')", name=["one argument", "", "more"]) as victim:
        with Process(victim.pid) as process:
            stat = process.stat()
            assert (stat.pid, stat.parent, stat.is_kernel_thread) == (victim.pid, os.getpid(), False)
            assert process.identity() == (os.getuid(), os.geteuid())
            assert process.executable() == os.path.realpath(sys.executable).encode()
            arguments, whole = process.command_line()
            assert (arguments[-3:], whole) == ([b"one argument", b"", b"more"], True)
            paths, whole = process.open_files()
            assert {os.fsencode(file), os.fsencode(Path.cwd())} <= set(paths)
            assert whole
            assert any(region.path == process.executable() and region.is_file for region in process.regions())
            started_s = Clock().started_ns(stat.started_ticks) / 1e9
            assert abs(started_s - time.time()) < 60
        assert victim.pid in pids()


def test_after_its_end_a_process_stays_ended_whoever_has_its_pid():
    child = subprocess.Popen([sys.executable, "-S", "-c", "input()"], stdin=subprocess.PIPE)
    with Process(child.pid) as process:
        process.stat()
        child.send_signal(signal.SIGKILL)
        child.wait()
        for ask in (process.stat, process.identity, process.executable, process.command_line, process.open_memory):
            with pytest.raises(Ended):
                ask()
        with pytest.raises(Ended):
            process.open_files()
        with pytest.raises(Ended):
            list(process.regions())
    assert child.stdin is not None
    child.stdin.close()
    with pytest.raises(Ended):
        Process(child.pid)


def test_a_mapped_file_is_opened_through_the_kernel_though_it_was_deleted(tmp_path):
    if os.geteuid():
        pytest.skip("map_files takes CAP_SYS_ADMIN")
    file = tmp_path / "mapped"
    file.write_bytes(b"x" * 5000)
    code = (
        f"import mmap, os\nf = open({str(file)!r}, 'r+b')\nm = mmap.mmap(f.fileno(), 0)\nos.unlink(f.name)\nprint('x')"
    )
    with python(code) as victim, Process(victim.pid) as process:
        region = next(one for one in process.regions() if b"mapped" in one.path)
        assert region.path.endswith(b"/mapped (deleted)")
        assert process.mapped_status(region).st_size == 5000
        descriptor = process.open_mapped(region)
        assert os.read(descriptor, 3) == b"xxx"
        os.close(descriptor)


def stat_of(pid, parent, session):
    return Stat(pid, b"x", "S", parent, session, is_kernel_thread=False, started_ticks=0)


TREE = {
    stat.pid: stat
    for stat in (
        stat_of(1, 0, 1),
        stat_of(2, 1, 2),  # the agent
        stat_of(3, 2, 3),  # its fork server
        stat_of(4, 3, 4),  # us
        stat_of(5, 3, 5),  # another worker
        stat_of(6, 5, 5),  # what that one runs
        stat_of(7, 2, 2),  # something else that the agent started
        stat_of(8, 1, 8),
    )
}


def test_in_a_worker_the_agent_and_all_its_workers_are_our_own():
    assert own_family(TREE, me=4, in_worker=True) == {2, 3, 4, 5, 6}


def test_elsewhere_only_ourselves_and_our_ancestors_are():
    assert own_family(TREE, me=5, in_worker=False) == {2, 3, 5}


def test_the_first_process_is_ours_where_it_was_started_for_us():
    container = {1: stat_of(1, 0, 1), 2: stat_of(2, 1, 1), 3: stat_of(3, 1, 3)}
    assert own_family(container, me=2, in_worker=False) == {1, 2}
    assert own_family({1: stat_of(1, 0, 1)}, me=1, in_worker=False) == {1}


def test_a_table_that_goes_in_circles_ends():
    assert own_family({2: stat_of(2, 3, 2), 3: stat_of(3, 2, 2)}, me=2, in_worker=True) == {2, 3}
    assert own_family({}, me=9, in_worker=True) == {9}


def test_we_belong_to_our_own_family():
    assert {os.getpid(), os.getppid()} <= own_family(all_stats())


def test_work_is_done_in_threads_and_what_hangs_is_left_behind():
    release = threading.Event()

    def do(item):
        if item == "hang":
            release.wait(30)
        if item == "late":
            raise OutOfTime
        return item.upper()

    work = work_off(["a", "hang", "late", "b"], do, deadline_s=time.monotonic() + 2, threads=2)
    release.set()
    assert sorted(work.done) == [("a", "A")]
    assert sorted(work.hanging) == ["hang", "late"]
    assert work.untouched == ["b"]


def test_others_go_on_in_the_place_of_one_that_hangs():
    release = threading.Event()

    def do(item):
        if item < 3:
            release.wait(30)
        return item

    began = time.monotonic()
    work = work_off(range(9), do, deadline_s=began + 25, threads=1, patience_s=0.1)
    release.set()
    assert sorted(work.done) == [(item, item) for item in range(3, 9)]
    assert sorted(work.hanging) == [0, 1, 2]
    assert work.untouched == []
    assert time.monotonic() - began < 20


def test_when_all_hang_the_rest_is_left():
    release = threading.Event()
    work = work_off(range(30), lambda _: release.wait(30), deadline_s=time.monotonic() + 25, threads=1, patience_s=0.05)
    release.set()
    assert (len(work.hanging), len(work.untouched)) == (MAX_HANGING, 30 - MAX_HANGING)


def test_what_the_work_raises_is_raised():
    with pytest.raises(ZeroDivisionError):
        work_off([1, 0, 2], lambda item: 1 // item, deadline_s=float("inf"), threads=2)
    assert work_off([], str, deadline_s=float("inf")).done == []


def test_a_run_ends_a_little_before_its_deadline():
    now = time.monotonic()
    assert now + 98.9 < end_before(now + 100) < now + 99.1
    assert now + 0.8 < end_before(now + 1) < now + 0.95
    assert end_before(float("inf")) == float("inf")


def test_open_files_are_read_up_to_a_limit_which_is_told(tmp_path, monkeypatch):
    code = f"fs = [open({str(tmp_path)!r} + '/%03d' % n, 'w') for n in range(50)]\nprint('x')"
    with python(code) as victim, Process(victim.pid) as process:
        paths, whole = process.open_files()
        assert len([path for path in paths if path.startswith(os.fsencode(tmp_path))]) == 50
        assert whole
        with monkeypatch.context() as patch:
            patch.setattr("investigator.modules.processes.procfs.MAX_PATHS_BYTES", 500)
            paths, whole = process.open_files()
            assert sum(map(len, paths)) <= 500
            assert not whole
        monkeypatch.setattr("investigator.modules.processes.procfs.MAX_DESCRIPTORS", 9)
        paths, whole = process.open_files()
        assert len(paths) <= 10
        assert not whole
