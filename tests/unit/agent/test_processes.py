"""Who belongs to whom, and that only those meant are killed."""

import os
import signal
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from investigator.agent import processes
from investigator.agent.processes import Process


@pytest.fixture
def sleeper():
    with subprocess.Popen(["/bin/sleep", "60"], env={"MARK": "a=b", "OTHER": "1"}) as process:
        yield process
        process.kill()


def test_this_process_and_its_child_are_in_the_table(sleeper):
    table = processes.table()
    assert table[sleeper.pid].parent == os.getpid()
    assert sleeper.pid in {each.pid for each in processes.below(os.getpid(), table)}


def test_a_name_that_looks_like_other_fields_deceives_nobody():
    program = "open('/proc/self/comm', 'w').write(') Z 1 1'); print(flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        process.stdout.readline()
        seen = processes.look(process.pid)
        assert seen is not None
        assert seen.parent == os.getpid()
        process.kill()


def test_the_process_meant_is_killed(sleeper):
    seen = processes.look(sleeper.pid)
    assert seen is not None
    processes.end(seen)
    assert sleeper.wait(10) == -signal.SIGKILL


def test_another_process_under_the_same_pid_is_left_alone(sleeper):
    seen = processes.look(sleeper.pid)
    assert seen is not None
    processes.end(seen._replace(started_ticks=seen.started_ticks - 1))
    assert sleeper.poll() is None
    processes.end(Process(2**22 + 1, 1, 1))  # beyond any pid: nobody is there


def test_a_mark_is_a_whole_assignment(sleeper):
    assert [each.pid for each in processes.marked("MARK=a=b")] == [sleeper.pid]
    assert processes.marked("MARK=a") == []
    assert processes.marked("ARK=a=b") == []


@given(st.dictionaries(st.integers(1, 30), st.integers(0, 30), max_size=30), st.sets(st.integers(1, 30), max_size=3))
def test_descendants_are_those_whose_line_of_parents_leads_to_the_root(parents, sparing):
    """Loops included, which a table read while it changes can hold."""
    table = {pid: Process(pid, parent, 0) for pid, parent in parents.items()}
    found = [each.pid for each in processes.below(1, table, sparing=sparing)]

    def leads_to_root(pid):
        seen = set()
        while pid not in seen and pid in parents and pid not in sparing:
            seen.add(pid)
            pid = parents[pid]
            if pid == 1:
                return True
        return False

    assert len(found) == len(set(found))
    assert set(found) == {pid for pid in parents if leads_to_root(pid)}


@pytest.fixture
def family():
    """A shell with two children, one of which has one of its own."""
    script = "/bin/sleep 60 & /bin/sh -c '/bin/sleep 60 & echo ready; wait' & wait"
    with subprocess.Popen(["/bin/sh", "-c", script], stdout=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdout
        process.stdout.readline()
        yield process
        os.killpg(process.pid, signal.SIGKILL)


def test_a_tree_has_the_descendants_that_the_table_has(family):
    below = processes.below(family.pid, processes.table())
    assert len(below) == 3
    assert {one.pid for one in processes.tree(family.pid)} == {family.pid, *(one.pid for one in below)}


def test_a_tree_is_of_the_table_where_the_kernel_lists_no_children(family, monkeypatch):
    def lists_none(_):
        raise FileNotFoundError

    monkeypatch.setattr(processes, "_children", lists_none)
    assert len(processes.tree(family.pid)) == 4


def test_who_has_ended_has_no_tree():
    with subprocess.Popen(["/bin/true"]) as process:
        process.wait()
    assert processes.tree(process.pid) == []
