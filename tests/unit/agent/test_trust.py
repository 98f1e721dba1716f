"""Whom an agent obeys: what others could have written is not read, and a slip in one file disarms nothing else."""

import os
from pathlib import Path

import orjson
import pytest

from investigator.agent.trust import load_trust
from investigator.config import AgentConfig, Link
from investigator.errors import BadInput, DeploymentError
from investigator.pgp import Keyring
from investigator.pgp.secret import generate_key
from signed import ALICE

_, CERTIFICATE, FINGERPRINT = generate_key("Alice", "alice@example.net", None)
RULES = {"default": {"minimumweight": 1, "investigators": {"alice": {"fingerprint": FINGERPRINT, "weight": 1}}}}


@pytest.fixture
def config(tmp_path: Path) -> AgentConfig:
    keyring, acl = tmp_path / "keyring", tmp_path / "acl.json"
    keyring.mkdir(mode=0o755)
    (keyring / "alice.asc").write_text(CERTIFICATE)
    acl.write_bytes(orjson.dumps(RULES))
    for path in (keyring / "alice.asc", acl):
        path.chmod(0o644)
    link = Link(url="nats://127.0.0.1:4222", credentials=tmp_path / "agents.nk")
    return AgentConfig(broker=link, keyring=keyring, acl=acl)


def test_keyring_and_acl_are_read_together(config: AgentConfig) -> None:
    trust = load_trust(config)
    assert trust.warnings == ()
    assert not trust.acl.shortages(["file"], [FINGERPRINT])
    assert trust.acl.shortages(["file"], [ALICE])


@pytest.mark.parametrize("mode", [0o020, 0o002])
def test_a_keyring_folder_or_an_acl_that_others_can_write_stops_the_agent(config: AgentConfig, mode: int) -> None:
    for path in (config.keyring, config.acl):
        before = path.stat().st_mode
        path.chmod(before | mode)
        with pytest.raises(DeploymentError, match="can write it") as caught:
            load_trust(config)
        assert caught.value.hint == f"chmod go-w {path}"
        path.chmod(before)
    load_trust(config)


def test_an_acl_that_anybody_can_replace_stops_the_agent(config: AgentConfig) -> None:
    config.acl.parent.chmod(0o777)
    with pytest.raises(DeploymentError, match="anybody can replace"):
        load_trust(config)
    config.acl.parent.chmod(0o1777)
    load_trust(config)


def test_an_acl_behind_a_link_is_judged_where_it_is(config: AgentConfig, tmp_path: Path) -> None:
    loose = tmp_path / "loose"
    loose.mkdir()
    config.acl.rename(loose / "acl.json")
    config.acl.symlink_to(loose / "acl.json")
    load_trust(config)
    loose.chmod(0o777)
    with pytest.raises(DeploymentError, match="anybody can replace"):
        load_trust(config)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_what_belongs_to_another_user_stops_the_agent(config: AgentConfig) -> None:
    for path in (config.keyring, config.acl):
        os.chown(path, 12345, -1)
        with pytest.raises(DeploymentError, match="belongs to user"):
            load_trust(config)
        os.chown(path, 0, -1)
    load_trust(config)


@pytest.mark.parametrize(
    "content", ["rubbish", "", CERTIFICATE[:200], CERTIFICATE * 2], ids=["rubbish", "empty", "cut", "twice"]
)
def test_a_bad_certificate_is_refused_alone_and_named(config: AgentConfig, content: str) -> None:
    (config.keyring / "bad.asc").write_text(content)
    (config.keyring / "bad.asc").chmod(0o644)
    trust = load_trust(config)
    assert isinstance(trust.keyring, Keyring)
    assert FINGERPRINT in trust.keyring
    (warning,) = trust.warnings
    assert warning.startswith(str(config.keyring / "bad.asc"))


def test_a_certificate_that_others_can_write_is_refused_alone(config: AgentConfig) -> None:
    _, certificate, fingerprint = generate_key("Mallory", "mallory@example.net", None)
    (config.keyring / "mallory.asc").write_text(certificate)
    (config.keyring / "mallory.asc").chmod(0o666)
    trust = load_trust(config)
    assert isinstance(trust.keyring, Keyring)
    assert FINGERPRINT in trust.keyring
    assert fingerprint not in trust.keyring
    assert len(trust.warnings) == 1


def test_without_a_usable_certificate_the_agent_does_not_start(config: AgentConfig) -> None:
    (config.keyring / "alice.asc").write_text("rubbish")
    with pytest.raises(DeploymentError, match=r"no usable certificate.*alice\.asc"):
        load_trust(config)
    (config.keyring / "alice.asc").unlink()
    with pytest.raises(DeploymentError, match="no usable certificate"):
        load_trust(config)


@pytest.mark.parametrize("content", [b"", b"{}", b"{", b'{"default":{"minimumweight":0,"investigators":{}}}'])
def test_a_bad_acl_stops_the_agent_and_is_named(config: AgentConfig, content: bytes) -> None:
    config.acl.write_bytes(content)
    with pytest.raises(BadInput, match=r"acl\.json: "):
        load_trust(config)


def test_what_is_not_there_is_one_line(config: AgentConfig) -> None:
    config.acl.unlink()
    with pytest.raises(DeploymentError, match=r"acl\.json: No such file"):
        load_trust(config)
    (config.keyring / "alice.asc").unlink()
    config.keyring.rmdir()
    with pytest.raises(DeploymentError, match="keyring: No such file"):
        load_trust(config)
