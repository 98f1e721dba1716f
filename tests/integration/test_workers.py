"""Real workers: whatever a module does spoils its own operation, and nothing of it is left."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import orjson
import pytest

import investigator
from investigator.agent import processes
from investigator.agent.limits import Limits
from investigator.agent.runner import Runner
from investigator.errors import DeploymentError
from investigator.protocol.result import MAX_PIECES

SOON_S = 0.4
LIMITS = Limits(memory_bytes=256 << 20, output_bytes=100_000, niceness=0)  # the tests beside it do not wait


def run(coroutine):
    return asyncio.run(coroutine)


@contextlib.asynccontextmanager
async def workers(limits=LIMITS, **options):
    """A runner; after it nothing is left that it started, by the mark in the environment."""
    runner = Runner(limits, modules={"misbehaving": "misbehaving"}, **options)
    async with runner:
        yield runner
    assert processes.marked(runner.mark) == []


async def do(runner, how, *, seconds=30.0, **parameters):
    return await runner.run("misbehaving", {"how": how, **parameters}, deadline_s=time.monotonic() + seconds)


async def alone(how, *, limits=LIMITS, **parameters):
    """What becomes of it; nothing of it is left, and the same fork server serves the next."""
    async with workers(limits) as runner:
        server = runner.server_pid
        ran = await do(runner, how, **parameters)
        assert [process.pid for process in processes.marked(runner.mark)] == [server], ran
        assert (await do(runner, "behave")).state == "done"
        assert runner.server_pid == server
        return ran


async def lines_of(path, count):
    """The pids that a module writes, as soon as they are all there."""
    async with asyncio.timeout(30):
        while not path.exists() or len(path.read_text().splitlines()) < count:  # noqa: ASYNC110 - a file has no event
            await asyncio.sleep(0.01)
    return [int(line) for line in path.read_text().splitlines()]


async def death_of(*pids):
    async with asyncio.timeout(20):
        while any(is_alive(pid) for pid in pids):  # noqa: ASYNC110 - they are not our children
            await asyncio.sleep(0.01)


def is_alive(pid):
    process = processes.look(pid)
    return process is not None and not process.ended


def test_an_operation_runs_and_answers():
    ran = run(alone("behave"))
    assert (ran.state, ran.code) == ("done", "")
    assert ran.result.read().elements == ["here"]
    assert ran.result.foundanything


def test_the_file_modules_own_failure_is_told_apart_from_a_workers():
    ran = run(alone("fail"))
    assert (ran.state, ran.code, ran.result.errors) == ("failed", "module", ["it could not be done"])


def test_a_worker_is_a_stranger_to_its_surroundings():
    async def story():
        async with workers(replace(LIMITS, niceness=19)) as runner:
            before_s = time.monotonic()
            first = (await do(runner, "surroundings", seconds=20)).result.read().elements
            second = (await do(runner, "surroundings")).result.read().elements
            assert first["parent"] == runner.server_pid
            assert before_s + 20 <= first["deadline_s"] < time.monotonic() + 20
            return first, second

    first, second = run(story())
    assert first["session"] == first["pid"] != os.getpid()
    assert first["folder"] == "/"
    assert first["nice"] == 19
    assert first["oom_score_adj"] == 1000
    assert first["umask"] == 0o077
    assert first["core"] == 0
    assert first["files"] == 1024
    assert first["memory"] == LIMITS.memory_bytes
    assert first["stdin"] == ""
    assert first["random"] != second["random"]
    assert len(first["descriptors"]) == 4  # three standard ones and the socket
    assert not first["asyncio"]
    assert first["threads"] == 1
    assert not {name for name in first["environment"] if name.startswith("PYTHON")}
    assert first["sigterm"]
    assert first["privileges"]


def test_one_that_hangs_is_killed_at_its_deadline():
    ran = run(alone("hang", seconds=SOON_S))
    assert (ran.state, ran.code) == ("timeout", "deadline")
    assert "killed at its deadline" in ran.result.errors[0]
    assert not ran.result.success


def test_the_limit_of_time_is_named_with_its_number():
    ran = run(alone("hang", limits=Limits(wall_clock_s=SOON_S)))
    assert (ran.state, ran.code) == ("timeout", "deadline")
    assert "the limit is 0.4 s" in ran.result.errors[0]


def test_one_that_ignores_signals_is_killed_all_the_same():
    assert run(alone("ignore_signals", seconds=SOON_S)).state == "timeout"


@pytest.mark.parametrize(
    ("how", "code", "says"),
    [
        ("abort", "crashed", "SIGABRT"),
        ("segfault", "crashed", "SIGSEGV"),
        ("kill_itself", "crashed", "SIGKILL, and not by this agent"),
        ("exit_silently", "crashed", "without a result (exit status 0)"),
        ("raise_it", "raised", "raised ValueError: no such luck (misbehaving.py:"),
        ("system_exit", "raised", "SystemExit"),
        ("recurse", "raised", "RecursionError"),
        ("allocate", "memory", "268,435,456"),
        ("return_nonsense", "garbage", "returned no result"),
        ("return_no_json", "garbage", "no JSON"),
        ("write_garbage", "garbage", "is no result"),
        ("write_part", "garbage", "is no result"),
        ("write_something_else", "garbage", "is no result"),
        ("write_endlessly", "garbage", "2,147,483,647"),
        ("close_socket", "crashed", "without a result"),
        ("close_socket_and_stay", "crashed", "closed its socket"),
    ],
)
def test_one_that_fails_in_its_own_way_says_which(how, code, says):
    ran = run(alone(how))
    assert (ran.state, ran.code) == ("failed", code), ran
    assert says in ran.result.errors[0]


def test_a_result_beyond_the_limit_is_refused_with_both_numbers():
    ran = run(alone("return_too_much", count=200_000))
    assert (ran.state, ran.code) == ("failed", "output")
    assert "200," in ran.result.errors[0]
    assert "the limit is 100,000" in ran.result.errors[0]


def test_a_large_result_within_the_limit_comes_whole():
    ran = run(alone("return_too_much", count=8 << 20, limits=Limits()))
    assert ran.state == "done"
    assert len(ran.result.read().elements[0]) == 8 << 20


def test_large_parameters_arrive_whole():
    ran = run(alone("behave", path="x" * (4 << 20)))
    assert ran.state == "done"


@pytest.mark.parametrize("how", ["print_garbage", "print_a_gigabyte"])
def test_what_is_printed_spoils_nothing(how):
    assert run(alone(how)).result.read().elements == ["here"]


def test_the_last_words_of_a_crash_are_kept_without_what_a_terminal_would_obey():
    ran = run(alone("last_words"))
    assert "this is?[31m why" in ran.result.errors[1]


def test_a_worker_that_cannot_answer_says_why():
    ran = run(alone("close_socket"))
    assert "Bad file descriptor" in ran.result.errors[1]


def test_an_answer_counts_though_its_worker_will_not_end():
    assert run(alone("answer_and_stay")).state == "done"


@pytest.mark.parametrize(
    ("how", "state"),
    [
        ("leave_children", "done"),
        ("crash_with_children", "failed"),
        ("exit_like_a_good_one_with_children", "failed"),
        ("hang_with_children", "timeout"),
    ],
)
def test_children_and_daemons_end_with_their_operation(how, state, tmp_path):
    async def story():
        async with workers() as runner:
            pids = tmp_path / "pids"
            ran = await do(runner, how, path=str(pids), seconds=30 if state != "timeout" else 5)
            assert ran.state == state
            started = await lines_of(pids, 4)
            assert [pid for pid in started if is_alive(pid)] == []

    run(story())


def test_the_end_of_one_operation_never_touches_anothers_processes(tmp_path):
    async def story():
        async with workers() as runner:
            mine, theirs = tmp_path / "mine", tmp_path / "theirs"
            other = asyncio.create_task(do(runner, "hang_with_children", path=str(theirs)))
            survivors = await lines_of(theirs, 4)
            for how in ("leave_children", "crash_with_children", "exit_silently"):
                await do(runner, how, path=str(mine))
            assert (await do(runner, "hang_with_children", path=str(mine), seconds=4)).state == "timeout"
            assert all(is_alive(pid) for pid in survivors)
            assert not any(is_alive(pid) for pid in await lines_of(mine, 12))
            other.cancel()
            with pytest.raises(asyncio.CancelledError):
                await other
            assert not any(is_alive(pid) for pid in survivors)

    run(story())


def test_cancellation_has_killed_everything_when_it_is_through_however_often_it_is_asked_for(tmp_path):
    async def story():
        async with workers() as runner:
            pids = tmp_path / "pids"
            task = asyncio.create_task(do(runner, "hang_with_children", path=str(pids)))
            started = await lines_of(pids, 4)
            task.cancel()
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert not any(is_alive(pid) for pid in started)
            assert [process.pid for process in processes.marked(runner.mark)] == [runner.server_pid]
            assert (await do(runner, "behave")).state == "done"

    run(story())


def test_too_many_processes_are_a_limit():
    ran = run(alone("grow", count=40, limits=Limits(processes=20)))
    assert (ran.state, ran.code) == ("failed", "processes")
    assert "the limit is 20" in ran.result.errors[0]


def test_a_fork_bomb_is_gone_at_its_deadline():
    assert run(alone("fork_bomb", count=8, seconds=1, limits=Limits(processes=10_000))).state == "timeout"


def test_a_chain_of_processes_that_flee_is_caught():
    ran = run(alone("flee"))
    assert ran.state == "done"
    assert ran.result.errors is None


def test_operations_beyond_the_concurrency_wait_and_their_deadline_counts_meanwhile():
    async def story():
        async with workers(concurrency=1) as runner:
            first = asyncio.create_task(do(runner, "hang", seconds=2))
            await asyncio.sleep(0)
            late = await do(runner, "behave", seconds=0.1)
            assert (late.state, late.code) == ("timeout", "deadline")
            assert "not started" in late.result.errors[0]
            patient = await do(runner, "behave")
            assert patient.state == "done"
            assert (await first).state == "timeout"

    run(story())


def test_many_operations_at_once_each_have_their_own_answer():
    async def story():
        async with workers(concurrency=16) as runner:
            hows = ["behave", "abort", "leave_children", "raise_it", "exit_silently"] * 8
            ran = await asyncio.gather(*(do(runner, how) for how in hows))
            codes = {"behave": "", "abort": "crashed", "leave_children": "", "raise_it": "raised"}
            assert [one.code for one in ran] == [codes.get(how, "crashed") for how in hows]

    run(story())


def test_what_cannot_be_run_is_said_and_not_tried():
    async def story():
        async with workers() as runner:
            soon = time.monotonic() + 10
            assert (await runner.run("nothing", {}, deadline_s=soon)).code == "unknown-module"
            wrong = await runner.run("misbehaving", {"how": "behave", "hwo": 1}, deadline_s=soon)
            assert (wrong.state, wrong.code) == ("failed", "bad-parameters")
            assert "there is no parameter 'hwo'" in wrong.result.errors[0]
            unwritable = await runner.run("misbehaving", {"how": object()}, deadline_s=soon)
            assert unwritable.code == "bad-parameters"
            past = await do(runner, "behave", seconds=-1)
            assert past.state == "timeout"

    run(story())


def test_a_killed_fork_server_ends_what_ran_and_is_replaced(tmp_path):
    async def story():
        async with workers() as runner:
            pids = tmp_path / "pids"
            task = asyncio.create_task(do(runner, "hang_with_children", path=str(pids)))
            started = await lines_of(pids, 4)
            first = runner.server_pid
            os.kill(first, signal.SIGKILL)
            ran = await task
            assert (ran.state, ran.code) == ("failed", "crashed")
            assert "server process ended" in ran.result.errors[0]
            *forked, program = started
            assert not any(is_alive(pid) for pid in forked)
            if is_alive(program):  # started with an empty environment: nothing tells any more whose it is
                os.kill(program, signal.SIGKILL)
            assert (await do(runner, "behave")).state == "done"
            assert runner.server_pid != first

    run(story())


def test_a_fork_server_that_died_unnoticed_is_replaced_within_the_same_run():
    async def story():
        async with workers() as runner:
            os.kill(runner.server_pid, signal.SIGKILL)
            os.waitid(os.P_PID, runner.server_pid, os.WEXITED | os.WNOWAIT)  # noqa: ASYNC222 - so that the loop cannot know yet
            assert (await do(runner, "behave")).state == "done"

    run(story())


def test_a_fork_server_with_nothing_to_run_goes_after_a_while_and_comes_again_when_there_is():
    async def story():
        async with workers(warm_s=0.05) as runner:
            for _ in range(3):
                await death_of(runner.server_pid)
                assert (processes.marked(runner.mark), runner.server_pid) == ([], None)
                assert (await do(runner, "behave")).state == "done"

    run(story())


def test_it_stays_while_an_operation_runs_however_long_that_takes(tmp_path):
    async def story():
        async with workers(warm_s=0.0) as runner:
            task = asyncio.create_task(do(runner, "hang_with_children", path=str(tmp_path / "pids")))
            await lines_of(tmp_path / "pids", 4)
            server = runner.server_pid
            assert (await do(runner, "behave")).state == "done"
            assert runner.server_pid == server
            task.cancel()
            await death_of(server)

    run(story())


def test_to_ask_which_modules_can_run_keeps_it_no_longer():
    async def story():
        async with workers(warm_s=600.0) as runner:
            server = runner.server_pid
            runner._used_s -= 600.0
            assert "file" in (await runner.survey()).modules
            await death_of(server)

    run(story())


def test_an_operation_that_comes_at_any_moment_of_its_going_is_run():
    async def story():
        async with workers(warm_s=0.0) as runner:
            for moment in range(12):
                assert (await do(runner, "behave")).state == "done"
                await asyncio.sleep(moment / 1000)  # its end takes about ten milliseconds

    run(story())


def test_a_fork_server_of_another_version_than_the_agent_is_not_used(monkeypatch):
    async def story():
        async with workers(warm_s=0.0) as runner:
            await death_of(runner.server_pid)
            monkeypatch.setattr("investigator.__version__", "0.0.9")
            ran = await do(runner, "behave")
            assert (ran.state, ran.code) == ("failed", "crashed")
            assert ran.result.errors == [
                "the program's files are of another version than the agent that runs: start the agent again"
            ]

    run(story())


def test_signals_to_the_whole_service_leave_the_decision_to_the_agent():
    async def story():
        async with workers() as runner:
            server = runner.server_pid
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                os.kill(server, number)
            assert (await do(runner, "behave")).state == "done"
            assert runner.server_pid == server

    run(story())


AGENT = """
import asyncio, sys, time
from investigator.agent.limits import Limits
from investigator.agent.runner import Runner

async def main():
    async with Runner(Limits(), modules={"misbehaving": "misbehaving"}, mark=sys.argv[1]) as runner:
        parameters = {"how": "hang_with_children", "path": sys.argv[2]}
        await runner.run("misbehaving", parameters, deadline_s=time.monotonic() + 50)

asyncio.run(main())
"""


def start_agent(mark, pids):
    folders = (Path(__file__).parent, Path(investigator.__file__).parent.parent)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, folders))}
    return subprocess.Popen([sys.executable, "-c", AGENT, mark, str(pids)], env=environment)


def test_a_killed_agent_takes_fork_server_workers_and_daemons_with_it(tmp_path):
    async def story():
        mark = f"test-{os.getpid()}-{time.monotonic_ns()}"
        with start_agent(mark, tmp_path / "pids") as agent:
            started = await lines_of(tmp_path / "pids", 4)
            family = [process.pid for process in processes.marked(f"INVESTIGATOR_WORKERS={mark}")]
            assert len(family) >= 5
            agent.kill()
        await death_of(*started, *family)

    run(story())


def test_a_restarted_agent_ends_what_its_earlier_life_left(tmp_path):
    async def story():
        mark = f"test-{os.getpid()}-{time.monotonic_ns()}"
        with start_agent(mark, tmp_path / "pids") as agent:
            *forked, program = await lines_of(tmp_path / "pids", 4)
            family = processes.marked(f"INVESTIGATOR_WORKERS={mark}")
            server = next(each.pid for each in family if each.parent == agent.pid)
            worker = next(each.pid for each in family if each.parent == server)
            for pid in (agent.pid, server):
                os.kill(pid, signal.SIGSTOP)
            os.kill(server, signal.SIGKILL)  # both at once, as the kernel does when memory is short
            agent.kill()
        await death_of(worker)
        assert any(is_alive(pid) for pid in forked)
        async with workers(mark=mark) as runner:
            assert not any(is_alive(pid) for pid in forked)
            assert (await do(runner, "behave")).state == "done"
        os.kill(program, signal.SIGKILL)  # with an empty environment it is nobody's

    run(story())


def test_operations_after_the_end_are_answered_and_start_nothing():
    async def story():
        async with workers() as runner:
            pass
        ran = await do(runner, "behave")
        assert (ran.state, ran.code) == ("failed", "crashed")
        assert runner.server_pid is None

    run(story())


def test_a_runner_that_cannot_start_says_so_in_one_line(monkeypatch, tmp_path):
    async def story():
        runner = Runner(LIMITS)
        with pytest.raises(DeploymentError, match="cannot start"):
            await runner.start()

    monkeypatch.setattr(sys, "executable", str(tmp_path / "none"))
    run(story())


def test_neither_the_users_python_settings_nor_the_current_folder_decide_what_is_loaded(monkeypatch, tmp_path):
    (tmp_path / "orjson.py").write_text("raise SystemExit('taken over')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("PYTHONSTARTUP", str(tmp_path / "orjson.py"))
    monkeypatch.syspath_prepend(".")
    assert run(alone("behave")).state == "done"


async def in_pieces(how, *, limits=LIMITS, take=None, seconds=30.0, **parameters):
    """What becomes of it, and the pieces that came before; nothing is left and the next is served."""
    pieces: list[bytes] = []
    async with workers(limits) as runner:
        deadline_s = time.monotonic() + seconds
        ran = await runner.run(
            "misbehaving", {"how": how, **parameters}, deadline_s=deadline_s, take=take or pieces.append
        )
        assert [process.pid for process in processes.marked(runner.mark)] == [runner.server_pid]
        assert (await do(runner, "behave")).state == "done"
    return ran, [orjson.loads(piece) for piece in pieces]


def test_findings_come_in_pieces_while_the_module_runs():
    ran, pieces = run(in_pieces("hand_over", count=3))
    assert pieces == [{"s": [0]}, {"s": [1]}, {"s": [2]}]
    assert ran.result.read().elements == {"s": []}


def test_without_a_taker_the_result_has_it_all():
    ran = run(alone("hand_over", count=3))
    assert ran.result.read().elements == {"s": [0, 1, 2]}


def test_what_was_handed_over_before_the_deadline_is_there_though_the_worker_is_killed():
    ran, pieces = run(in_pieces("hand_over_and_hang", count=2, seconds=SOON_S * 10))
    assert (ran.state, ran.code) == ("timeout", "deadline")
    assert pieces == [{"s": [0]}, {"s": [1]}]


def test_findings_too_large_for_a_piece_stay_in_the_result():
    ran, pieces = run(in_pieces("hand_over_too_much", limits=Limits(memory_bytes=256 << 20)))
    assert (ran.result.read().elements, pieces) == ({"taken": False}, [])


def test_pieces_count_for_the_limit_on_the_result():
    ran, pieces = run(in_pieces("hand_over", limits=Limits(memory_bytes=256 << 20, output_bytes=400), count=200))
    assert (ran.state, ran.code) == ("failed", "output")
    assert 0 < len(pieces) < 50


@pytest.mark.parametrize("how", ["hand_over_garbage", "flood_with_pieces"])
def test_a_worker_that_sends_no_pieces_or_without_end_is_killed(how):
    ran, pieces = run(in_pieces(how))
    assert (ran.state, ran.code) == ("failed", "garbage")
    assert len(pieces) <= MAX_PIECES + 1


def test_where_pieces_cannot_be_kept_the_worker_ends_and_the_caller_hears_why():
    def full(_piece):
        raise LookupError("no room")

    with pytest.raises(LookupError, match="no room"):
        run(in_pieces("hand_over_and_hang", count=1, take=full))
