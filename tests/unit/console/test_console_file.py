"""console.toml is its owner's: one line is changed, and nothing else, or it is refused."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from investigator.config import load_console
from investigator.console.console_file import set_signer, signer_line
from investigator.console.deployment import console_toml
from investigator.errors import BadInput

FINGERPRINT = "0123456789ABCDEF0123456789ABCDEF01234567"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "console.toml"
    path.write_bytes(console_toml(url="nats://h:1", credentials_file="broker/bob.creds", targets={"web": "os='linux'"}))
    path.chmod(0o600)
    return path


def test_the_key_that_signs_is_changed_back_and_forth_and_comments_stay(file: Path) -> None:
    set_signer(file, signer_line(gpg=FINGERPRINT))
    config = load_console(file.parent)
    assert (config.signer.gpg, config.signer.key) == (FINGERPRINT, None)
    set_signer(file, signer_line(key=Path("secrets/x.asc")))
    config = load_console(file.parent)
    assert (config.signer.gpg, config.signer.key) == (None, file.parent / "secrets/x.asc")
    assert config.targets == {"web": "os='linux'"}
    assert "# results are sealed to it" in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "text",
    [
        'a = 1\n[signer]\ngpg_home = "g"\nkey = "k"\n[x]\nkey = "other"\n',
        '[signer]\nkey = "k"',
        "a = 1\n",
        '[ signer ] # mine\n# key = "old"\nkey = "k"   # c\n',
    ],
)
def test_other_settings_stay_as_they_were(tmp_path: Path, text: str) -> None:
    path = tmp_path / "c.toml"
    path.write_text(text)
    set_signer(path, signer_line(gpg=FINGERPRINT))
    before, after = tomllib.loads(text), tomllib.loads(path.read_text())
    kept = {key: value for key, value in before.get("signer", {}).items() if key != "key"}
    assert after == {**before, "signer": {**kept, "gpg": FINGERPRINT}}


@pytest.mark.parametrize(
    "text",
    [
        'signer = {key = "k"}\n',
        'signer.key = "k"\n',
        '[signer]\nkey = """\n[other]\n"""\n',
        '[signer]\n"key" = "k"\n',
        "x = [\n",
        '[a]\nb = """\n[signer]\nkey = "k"\n"""\n',
    ],
)
def test_a_file_that_cannot_be_changed_by_one_line_is_refused_and_left_alone(tmp_path: Path, text: str) -> None:
    path = tmp_path / "c.toml"
    path.write_text(text)
    with pytest.raises(BadInput):
        set_signer(path, signer_line(gpg=FINGERPRINT))
    assert path.read_text() == text


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.dictionaries(st.text(min_size=1, max_size=5), st.text(max_size=30), max_size=3))
def test_any_macros_come_back_from_a_new_file_as_they_were(tmp_path: Path, targets: dict[str, str]) -> None:
    path = tmp_path / "console.toml"
    path.write_bytes(console_toml(url="nats://h:1", credentials_file="b.creds", targets=targets))
    assert load_console(tmp_path).targets == targets


def test_an_address_that_holds_toml_stays_an_address(tmp_path: Path) -> None:
    url = 'nats://h:1"\n\n[x]\npassphrase_command = ["sh"]\ny = "'
    (tmp_path / "console.toml").write_bytes(console_toml(url=url, credentials_file='"\\x'))
    assert load_console(tmp_path).broker.url == url
