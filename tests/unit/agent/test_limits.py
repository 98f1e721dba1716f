"""Limits as data, and as the kernel holds a process to them; each in a child process of its own."""

import ctypes
import os
import resource
import signal
import struct
from pathlib import Path

import pytest

from investigator.agent import limits
from investigator.agent.limits import Limits


def in_a_child(work):
    """What `work` returns, as text, when a child process does it."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(write, str(work()).encode())
        finally:
            os._exit(0)
    os.close(write)
    with open(read, "rb") as said:
        text = said.read().decode()
    os.waitpid(child, 0)
    return text


@pytest.mark.parametrize(
    "wrong",
    [
        {"wall_clock_s": 0},
        {"memory_bytes": 0},
        {"output_bytes": 0},
        {"open_files": 3},
        {"processes": 0},
        {"niceness": -5},
        {"cpu_percent": 0},
    ],
)
def test_limits_under_which_nothing_could_run_cannot_be_made(wrong):
    with pytest.raises(ValueError, match="no operation could run"):
        Limits(**wrong)


def data_bytes():
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmData:")[2].split()[0]) << 10


def test_memory_beyond_the_limit_is_refused_and_mapped_files_and_threads_are_not_counted(tmp_path):
    large = tmp_path / "large"
    with large.open("wb") as file:
        file.truncate(1 << 30)

    def work():
        import mmap
        import threading

        limits.bound(Limits(memory_bytes=data_bytes() + (256 << 20)))  # beside what the test's own process holds
        done = threading.Event()
        threads = [threading.Thread(target=done.wait) for _ in range(12)]
        for thread in threads:
            thread.start()
        with large.open("rb") as file:
            mapped = len(mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ))
        try:
            bytearray(384 << 20)  # what the process gives back meanwhile does not make room for it
        except MemoryError:
            refused = True
        else:
            refused = False
        done.set()
        return f"{refused} {mapped}"

    assert in_a_child(work) == f"True {1 << 30}"


def test_a_limit_is_never_raised_above_what_the_process_already_has():
    def work():
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
        limits.bound(Limits(open_files=1024))
        return resource.getrlimit(resource.RLIMIT_NOFILE)

    assert in_a_child(work) == "(64, 64)"


def test_a_bound_process_cannot_fill_the_disk(tmp_path):
    def work():
        limits.bound(Limits())
        try:
            (tmp_path / "huge").write_bytes(bytes(2 << 20))
        except OSError as error:
            return error.errno
        return None

    assert in_a_child(work) == "27"  # EFBIG
    assert (tmp_path / "huge").stat().st_size == limits.FILE_BYTES


def test_yielding_covers_the_processor_the_disk_and_the_sessions_own_scheduling_group():
    def work():
        os.setsid()
        limits.yield_to_others(19)
        group = Path("/proc/self/autogroup")
        io_priority = limits._libc().syscall({"x86_64": 252, "aarch64": 31}[os.uname().machine], 1, 0)
        return (
            os.getpriority(os.PRIO_PROCESS, 0),
            io_priority >> 13,
            Path("/proc/self/oom_score_adj").read_text().strip(),
            group.read_text().split()[-1] if group.exists() and os.geteuid() == 0 else "19",
        )

    assert in_a_child(work) == "(19, 3, '1000', '19')"


def test_a_worker_takes_the_shortest_turns_that_the_kernel_gives_and_keeps_its_priority():
    def work():
        limits.yield_to_others(19)
        attributes = ctypes.create_string_buffer(56)
        number = {"x86_64": 315, "aarch64": 275}[os.uname().machine]  # sched_getattr(2)
        assert limits._libc().syscall(number, 0, attributes, 56, 0) == 0
        _, policy, _, niceness, _, runtime_ns = struct.unpack_from("=IIQiIQ", attributes.raw)
        return policy, niceness, runtime_ns

    major, minor = map(int, os.uname().release.split(".")[:2])
    if (major, minor) < (6, 12):
        pytest.skip("this kernel has no turns of one's own choice: Linux 6.12 is the first")
    assert in_a_child(work) == f"(0, 19, {limits._SLICE_NS})"


def test_a_process_whose_parent_is_gone_already_ends_at_once():
    child = os.fork()
    if child == 0:
        limits.die_with(os.getpid())  # not its parent's pid: as if the parent had been replaced
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1


def test_a_process_ends_with_its_parent():
    read, write = os.pipe()
    parent = os.fork()
    if parent == 0:
        me = os.getpid()
        if os.fork() == 0:
            limits.die_with(me)
            os.write(write, b"ready")
            signal.pause()
        os.close(write)
        signal.pause()
    os.close(write)
    with open(read, "rb", buffering=0) as said:
        assert said.read(5) == b"ready"
        os.kill(parent, signal.SIGKILL)
        os.waitpid(parent, 0)
        assert said.read() == b""  # end of file: the grandchild, who had the other end, is gone


def test_standard_errors_file_takes_so_much_and_no_more():
    descriptor = limits.stderr_file()
    try:
        assert os.write(descriptor, b"x" * (limits.STDERR_BYTES - 1)) == limits.STDERR_BYTES - 1
        assert os.write(descriptor, b"x") == 1
        with pytest.raises(PermissionError):
            os.write(descriptor, b"y")
        assert os.fstat(descriptor).st_size == limits.STDERR_BYTES
    finally:
        os.close(descriptor)
