"""The state folder: one agent at a time, one key for life, and nothing that others can read or write."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from investigator.agent.identity_file import KEY_FILE
from investigator.agent.state import DATABASE_FILE, AgentState
from investigator.errors import DeploymentError
from investigator.protocol.admission import Admitted, admit
from signed import ACTION_ID, NOW_S, host, sealed_in, sign, written


def agent_id(folder: Path) -> str:
    with AgentState(folder) as state:
        return state.identity.id


def test_an_agent_keeps_its_key_and_its_ledger_over_a_restart(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "state"
    first = agent_id(folder)
    assert agent_id(folder) == first
    assert agent_id(tmp_path / "other") != first
    with AgentState(folder) as state:
        assert state.ledger.not_signed_before_s == 0


def test_a_ledger_that_was_taken_away_is_noticed_by_the_older_key(tmp_path: Path) -> None:
    first = agent_id(tmp_path)
    (tmp_path / DATABASE_FILE).unlink()
    with AgentState(tmp_path) as state:
        assert state.identity.id == first
        assert state.ledger.not_signed_before_s > 0


def test_nothing_in_the_folder_can_be_read_by_others(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    mask = os.umask(0)
    try:
        with AgentState(folder) as state:
            state.outbox.add("x", [b"x"])
            modes = {path.name: path.stat().st_mode & 0o077 for path in folder.iterdir()}
    finally:
        os.umask(mask)
    assert {KEY_FILE, DATABASE_FILE, f"{DATABASE_FILE}-wal"} <= set(modes)
    assert set(modes.values()) == {0}
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_second_agent_on_the_same_folder_is_refused_until_the_first_ends(tmp_path: Path) -> None:
    with (
        AgentState(tmp_path),
        pytest.raises(DeploymentError, match="another agent runs") as caught,
        AgentState(tmp_path),
    ):
        pass
    assert "--state" in caught.value.hint
    agent_id(tmp_path)


def test_another_process_holds_the_folder_only_as_long_as_it_lives(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib\nfrom investigator.agent.state import AgentState\n"
        "with AgentState(pathlib.Path(sys.argv[1])): print('open', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        with pytest.raises(DeploymentError, match="another agent runs"), AgentState(tmp_path):
            pass
        process.kill()
    agent_id(tmp_path)


def test_a_start_that_fails_leaves_the_folder_free(tmp_path: Path) -> None:
    key = tmp_path / KEY_FILE
    key.write_text("{}")
    key.chmod(0o600)
    for _ in range(2):
        with pytest.raises(DeploymentError, match="no agent's key"), AgentState(tmp_path):
            pass
    key.unlink()
    agent_id(tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"3",
        b'{"ed25519":3}',
        b'{"ed25519":"AAAA"}',
        b'{"ed25519":"\xc3\xa9"}',
        b'{"ed25519":"' + b"A" * 43 + b'=\\n\\n"}',
    ],
)
def test_a_key_file_that_holds_no_key_is_refused_and_kept(tmp_path: Path, content: bytes) -> None:
    key = tmp_path / KEY_FILE
    key.write_bytes(content)
    key.chmod(0o600)
    with pytest.raises(DeploymentError, match="no agent's key") as caught, AgentState(tmp_path):
        pass
    assert "new one" in caught.value.hint
    assert key.read_bytes() == content


@pytest.mark.parametrize(("mode", "told"), [(0o644, "read"), (0o640, "read"), (0o660, "write"), (0o606, "write")])
def test_a_key_that_others_can_read_or_write_is_refused_with_the_command_that_mends_it(
    tmp_path: Path, mode: int, told: str
) -> None:
    agent_id(tmp_path)
    (tmp_path / KEY_FILE).chmod(mode)
    with pytest.raises(DeploymentError, match=f"others than its owner can {told} it") as caught, AgentState(tmp_path):
        pass
    subprocess.run(caught.value.hint.split(), check=True)
    (tmp_path / KEY_FILE).chmod(0o600)
    agent_id(tmp_path)


def test_a_folder_that_others_can_write_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    folder.mkdir()
    for mode in (0o770, 0o707):
        folder.chmod(mode)
        with pytest.raises(DeploymentError, match="can write it"), AgentState(folder):
            pass


def test_a_key_that_was_cut_short_by_a_power_cut_never_gets_its_name(tmp_path: Path) -> None:
    (tmp_path / f"{KEY_FILE}.new").write_bytes(b'{"ed2')
    first = agent_id(tmp_path)
    assert agent_id(tmp_path) == first
    assert not (tmp_path / f"{KEY_FILE}.new").exists()


def test_a_damaged_database_is_kept_aside_and_the_agent_is_the_same_one(tmp_path: Path) -> None:
    first = agent_id(tmp_path)
    for path in tmp_path.glob(f"{DATABASE_FILE}*"):
        path.unlink()
    (tmp_path / DATABASE_FILE).write_bytes(b"no database at all")
    with AgentState(tmp_path) as state:
        assert state.identity.id == first
        assert state.ledger.not_signed_before_s > 0
    (aside,) = tmp_path.glob("agent-damaged-*.sqlite")
    assert aside.read_bytes() == b"no database at all"
    with AgentState(tmp_path) as state:
        assert state.ledger.not_signed_before_s > 0
    assert list(tmp_path.glob("agent-damaged-*.sqlite")) == [aside]
    for number in range(4):  # a failing disk is not filled with them
        (tmp_path / DATABASE_FILE).write_bytes(b"rubbish %d" % number)
        agent_id(tmp_path)
    kept = sorted(tmp_path.glob("agent-damaged-*.sqlite"))
    assert [path.read_bytes() for path in kept] == [b"rubbish 2", b"rubbish 3"]


def test_a_first_start_that_the_disk_ends_half_way_is_still_to_come(tmp_path: Path) -> None:
    """A key that was written where the ledger was not would make the next start refuse what waits for this host."""
    code = (
        "import sys, pathlib, resource\nfrom investigator.agent.state import AgentState\n"
        "from investigator.errors import DeploymentError\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try:\n with AgentState(pathlib.Path(sys.argv[1])): print('open')\n"
        "except DeploymentError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert DATABASE_FILE in done.stdout
    assert done.stdout.count("\n") == 1
    assert not (tmp_path / KEY_FILE).exists()
    with AgentState(tmp_path) as state:
        assert state.ledger.not_signed_before_s == 0


def test_what_the_audit_says_ran_does_not_run_again_when_the_ledger_is_lost(tmp_path: Path) -> None:
    ran, not_run = (admitted_action(f"n{number}") for number in range(2))
    with AgentState(tmp_path) as state:
        for each in (ran, not_run):
            state.audit.admitted(each)
        state.audit.ended(not_run.action.id, not_run.digest, "failed", "ledger")
    (tmp_path / DATABASE_FILE).write_bytes(b"no database at all")
    for _ in range(2):
        with AgentState(tmp_path) as state:
            assert ran.digest in state.ledger.recalled
            assert not_run.digest not in state.ledger.recalled


def admitted_action(name: str) -> Admitted:
    action = written(name=name)
    verdict = admit(sealed_in(action, sign(action)), host(), action_id=ACTION_ID, now_s=NOW_S)
    assert isinstance(verdict, Admitted)
    return verdict


def test_a_place_that_cannot_be_a_folder_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file", tmp_path / "file" / "state", Path("/proc/nowhere")):
        with pytest.raises(DeploymentError) as caught, AgentState(place):
            pass
        assert "\n" not in str(caught.value)


def test_simulated_agents_leave_nothing_behind_and_each_has_its_own_key() -> None:
    with AgentState(None) as one, AgentState(None) as other:
        one.outbox.add("x", [b"x"])
        assert other.outbox.pending() == []
        assert one.identity.id != other.identity.id


def test_a_copied_state_on_the_same_host_has_other_processes_and_the_same_one_started_again_has_the_same(
    tmp_path: Path,
) -> None:
    with AgentState(tmp_path / "state", machine="m") as state:
        mark = state.mark
    shutil.copytree(tmp_path / "state", tmp_path / "copy")
    with (
        AgentState(tmp_path / "x" / ".." / "state", machine="m") as again,
        AgentState(tmp_path / "copy", machine="m") as copy,
    ):
        assert again.mark == mark
        assert copy.identity.id == again.identity.id
        assert copy.mark != mark
