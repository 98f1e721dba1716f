"""The token in agent.toml, and how it leaves it."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from investigator.agent.token_setting import TokenSetting
from investigator.config import AgentEnrolment
from investigator.errors import BadInput, DeploymentError
from investigator.protocol.token import SecretToken

TOKEN = SecretToken(b"t" * 32, "statement")
WORD = TOKEN.encode()
TEXT = f"""\
# mine
acl = "acl.json"
[enrolment]   # why
  token = "{WORD}"   # secret
token_file = "x"
[tags]
token = "stays"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    tmp_path.chmod(0o700)
    path = tmp_path / "agent.toml"
    path.write_text(TEXT)
    path.chmod(0o600)
    return path


def test_the_line_is_taken_out_and_nothing_else(file: Path) -> None:
    setting = TokenSetting(file, AgentEnrolment(token=WORD))
    assert setting.read() == TOKEN
    assert "was taken out" in setting.drop()
    assert file.read_text() == TEXT.replace(f'  token = "{WORD}"   # secret\n', "")
    assert file.stat().st_mode & 0o777 == 0o600
    assert setting.read() is None


@pytest.mark.parametrize("beside", ["broker.toml", "console.toml"])
def test_beside_the_keys_that_made_it_it_stays(file: Path, beside: str) -> None:
    (file.parent / beside).touch()
    setting = TokenSetting(file, AgentEnrolment(token=WORD))
    assert setting.drop() == ""
    assert file.read_text() == TEXT
    assert setting.read() == TOKEN


@pytest.mark.parametrize("text", ["enrolment = {{token = '{}'}}\n", "[enrolment]\ntoken = '''{}'''\n"])
def test_a_file_that_is_written_otherwise_is_left_as_it_is_and_that_is_said(file: Path, text: str) -> None:
    file.write_text(text.format(WORD))
    said = TokenSetting(file, AgentEnrolment(token=WORD)).drop()
    assert "is still in" in said
    assert tomllib.loads(file.read_text())["enrolment"]["token"] == WORD


def test_a_token_in_a_file_of_its_own_goes_with_the_file(file: Path) -> None:
    own = file.with_name("enrol.token")
    own.write_text(WORD + "\n")
    own.chmod(0o600)
    setting = TokenSetting(file, AgentEnrolment(token_file=own))
    assert setting.read() == TOKEN
    assert str(own) in setting.drop()
    assert not own.exists()
    assert TokenSetting(file, AgentEnrolment(token_file=own)).read() is None


def test_a_token_that_others_can_read_or_that_is_none_is_refused(file: Path) -> None:
    with pytest.raises(BadInput):
        TokenSetting(file, AgentEnrolment(token="mig-token-1.x")).read()
    file.chmod(0o644)
    with pytest.raises(DeploymentError, match="others than its owner can read"):
        TokenSetting(file, AgentEnrolment(token=WORD)).read()
