"""cgroup v2 in a folder that stands for the kernel's tree: which part is taken, and what is written where."""

import os

import pytest

from investigator.agent import cgroups
from investigator.agent.cgroups import Cgroups, NoCgroups, take, take_given
from investigator.agent.limits import Limits


def group(folder, *, controllers="cpu memory pids io", processes=(), handed_on=""):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cgroup.controllers").write_text(controllers + "\n")
    (folder / "cgroup.subtree_control").write_text(handed_on)
    (folder / "cgroup.procs").write_text("".join(f"{pid}\n" for pid in processes))
    return folder


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """A tree that nobody manages, in which this process is alone in one group."""
    monkeypatch.setattr(cgroups, "_SYSTEMD", tmp_path / "no-systemd")
    root = group(tmp_path / "cgroup")
    group(root / "ours", processes=[os.getpid()])
    (tmp_path / "proc" / "self").mkdir(parents=True)
    (tmp_path / "proc" / "self" / "cgroup").write_text("1:cpu:/elsewhere\n0::/ours\n")
    return root


def taken(tree):
    return take(root=tree, proc=tree.parent / "proc")


def test_its_own_group_is_taken_and_the_agent_moves_into_a_leaf(tree):
    assert taken(tree).folder == tree / "ours"
    assert (tree / "ours" / "agent" / "cgroup.procs").read_text() == str(os.getpid())
    assert (tree / "ours" / "cgroup.subtree_control").read_text().startswith("+")


def test_one_that_was_started_in_the_leaf_takes_the_group_around_it(tree):
    group(tree / "ours")
    group(tree / "ours" / "agent", processes=[os.getpid()])
    (tree.parent / "proc" / "self" / "cgroup").write_text("0::/ours/agent\n")
    assert taken(tree).folder == tree / "ours"


def test_a_group_with_others_in_it_is_left_alone(tree):
    group(tree / "ours", processes=[os.getpid(), 1])
    with pytest.raises(NoCgroups, match=r"others are in .*, process 1 for one"):
        taken(tree)
    assert not (tree / "ours" / "agent").exists()


def test_what_systemd_did_not_delegate_is_left_alone(tree, monkeypatch):
    monkeypatch.setattr(cgroups, "_SYSTEMD", tree)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(NoCgroups, match="Delegate=yes"):
        taken(tree)


def test_what_systemd_delegated_is_taken(tree, monkeypatch):
    monkeypatch.setattr(cgroups, "_SYSTEMD", tree)
    monkeypatch.setattr(os, "getxattr", lambda path, name: b"1" if name == "trusted.delegate" else b"")
    assert taken(tree).folder == tree / "ours"


@pytest.mark.parametrize("line", ["", "1:cpu:/\n", "0::/../sibling\n"])
def test_a_process_that_is_nowhere_in_the_tree_takes_nothing(tree, line):
    (tree.parent / "proc" / "self" / "cgroup").write_text(line)
    with pytest.raises(NoCgroups, match="no group"):
        taken(tree)


def test_version_1_is_told(tmp_path):
    with pytest.raises(NoCgroups, match="is not cgroup v2"):
        take(root=tmp_path, proc=tmp_path)


def test_a_folder_that_is_named_must_be_one_with_no_process_in_it(tree):
    group(tree / "given")
    assert take_given(tree / "given").folder == tree / "given"
    group(tree / "given", processes=[77])
    with pytest.raises(NoCgroups, match="has processes in it"):
        take_given(tree / "given")
    with pytest.raises(NoCgroups, match="is no group"):
        take_given(tree.parent)


def test_an_operations_group_has_each_limit_in_the_kernels_own_words(tree):
    group(tree, handed_on="cpu memory pids io")
    limits = Limits(cpu_percent=20, memory_bytes=100 << 20, processes=64, niceness=10)
    made = Cgroups(tree).make(7, limits)
    assert {file.name: file.read_text() for file in made.iterdir()} == {
        "cpu.max": "20000 100000",
        "cpu.weight.nice": "10",
        "memory.max": str(100 << 20),
        "memory.oom.group": "1",
        "pids.max": "1024",
        "io.weight": "default 10",
    }
    Cgroups.enter(made)
    assert (made / "cgroup.procs").read_text() == "0"  # the kernel's name for whoever writes


def test_only_what_the_controllers_here_hold_is_written(tree):
    group(tree, handed_on="memory")
    made = Cgroups(tree).make(1, Limits())
    assert {file.name for file in made.iterdir()} == {"memory.max", "memory.oom.group"}


def test_two_operations_have_two_groups(tree):
    first, second = (Cgroups(tree).make(number, Limits()) for number in (1, 2))
    assert first != second
    assert Cgroups.remove(first)
    assert not first.exists()
    assert second.exists()


def test_what_an_earlier_life_left_is_removed(tree):
    left = tree / "operation-1-1"
    left.mkdir()
    Cgroups(tree).sweep()
    assert not left.exists()


def test_a_group_that_ran_out_of_memory_says_so(tree):
    made = Cgroups(tree).make(1, Limits())
    assert not Cgroups.ran_out_of_memory(made)
    (made / "memory.events").write_text("low 0\nhigh 0\nmax 9\noom 1\noom_kill 0\n")
    assert not Cgroups.ran_out_of_memory(made)
    (made / "memory.events").write_text("low 0\nhigh 0\nmax 9\noom 1\noom_kill 2\n")
    assert Cgroups.ran_out_of_memory(made)
