"""Whom an agent obeys: what others could have written is not read, and a slip in one file disarms nothing else."""

import logging
import os
from pathlib import Path
from typing import Any

import orjson
import pytest

from investigator.agent.trust import TrustFiles, load_trust
from investigator.config import AgentConfig, Link
from investigator.errors import BadInput, DeploymentError, Refused
from investigator.pgp import Keyring
from investigator.pgp.framing import CERTIFICATE as CERTIFICATE_ARMOR
from investigator.pgp.framing import dearmor
from investigator.pgp.secret import generate_key, read_secret_file, revocation
from signed import ALICE

SECRET, CERTIFICATE, FINGERPRINT = generate_key("Alice", "alice@example.net", None)
BOBS_SECRET, BOBS, BOB = generate_key("Bob", "bob@example.net", None)
RULES = {"default": {"minimumweight": 1, "investigators": {"alice": {"fingerprint": FINGERPRINT, "weight": 1}}}}
WITH_BOB = {
    "default": {
        "minimumweight": 1,
        "investigators": {
            "alice": {"fingerprint": FINGERPRINT, "weight": 1},
            "bob": {"fingerprint": BOB, "weight": 1},
        },
    }
}


def revoked(secret: str, fingerprint: str) -> bytes:
    key = read_secret_file(secret.encode()).keys[fingerprint]
    return revocation(key, key_time(key.public_body)).encode()


def key_time(body: bytes) -> int:
    return int.from_bytes(body[1:5], "big")


@pytest.fixture
def config(tmp_path: Path) -> AgentConfig:
    keyring, acl = tmp_path / "keyring", tmp_path / "acl.json"
    keyring.mkdir(mode=0o755)
    (keyring / "alice.asc").write_text(CERTIFICATE)
    acl.write_bytes(orjson.dumps(RULES))
    for path in (keyring / "alice.asc", acl):
        path.chmod(0o644)
    link = Link(url="nats://127.0.0.1:4222", credentials=tmp_path / "enrol.creds")
    return AgentConfig(broker=link, keyring=keyring, acl=acl)


def test_keyring_and_acl_are_read_together(config: AgentConfig) -> None:
    trust = load_trust(config)
    assert trust.problems == ()
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
    (warning,) = trust.problems
    assert warning.startswith(str(config.keyring / "bad.asc"))


def test_a_certificate_that_others_can_write_is_refused_alone(config: AgentConfig) -> None:
    _, certificate, fingerprint = generate_key("Mallory", "mallory@example.net", None)
    (config.keyring / "mallory.asc").write_text(certificate)
    (config.keyring / "mallory.asc").chmod(0o666)
    trust = load_trust(config)
    assert isinstance(trust.keyring, Keyring)
    assert FINGERPRINT in trust.keyring
    assert fingerprint not in trust.keyring
    assert len(trust.problems) == 1


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
    with pytest.raises(BadInput, match=r"acl\.json[:,] .*line 1"):
        load_trust(config)


def test_what_is_not_there_is_one_line(config: AgentConfig) -> None:
    config.acl.unlink()
    with pytest.raises(DeploymentError, match=r"acl\.json: No such file"):
        load_trust(config)
    (config.keyring / "alice.asc").unlink()
    config.keyring.rmdir()
    with pytest.raises(DeploymentError, match="keyring: No such file"):
        load_trust(config)


class Watched:
    """Trust that was loaded, and its files."""

    def __init__(self, config: AgentConfig) -> None:
        self.config = config
        self.trust: TrustFiles = load_trust(config)

    def write(self, name: str, content: str | bytes | dict[str, Any], mode: int = 0o644) -> None:
        """As rsync and editors do it: a new file takes the old one's place."""
        path = self.config.acl if name == "acl.json" else self.config.keyring / name
        fresh = path.with_name(".fresh")
        content = orjson.dumps(content) if isinstance(content, dict) else content
        fresh.write_bytes(content if isinstance(content, bytes) else content.encode())
        fresh.chmod(mode)
        fresh.rename(path)

    def may(self, *signers: str) -> bool:
        self.trust.look()
        return not self.trust.acl.shortages(["file"], signers)

    def signs(self, secret: str, fingerprint: str) -> str:
        """Why a signature of this key is refused now, or nothing."""
        from investigator.pgp.signer import KeyFileSigner

        signature = KeyFileSigner(secret.encode()).sign(b"data").encode()
        self.trust.look()
        try:
            assert self.trust.keyring.verify(b"data", signature, read_time(signature)).certificate == fingerprint
        except Refused as refused:
            return str(refused)
        return ""


def read_time(signature: bytes) -> int:
    from investigator.pgp.signature import read_document_signature

    return read_document_signature(signature).created


@pytest.fixture
def watched(config: AgentConfig) -> Watched:
    return Watched(config)


def test_without_a_change_nothing_is_read_again(watched: Watched) -> None:
    keyring, acl = watched.trust.keyring, watched.trust.acl
    assert not watched.trust.look()
    assert watched.trust.keyring is keyring
    assert watched.trust.acl is acl


@pytest.mark.parametrize("first", ["key", "acl"])
def test_a_new_signer_counts_as_soon_as_certificate_and_line_are_there_in_either_order(
    watched: Watched, first: str
) -> None:
    steps = {"key": lambda: watched.write("bob.asc", BOBS), "acl": lambda: watched.write("acl.json", WITH_BOB)}
    steps.pop(first)()
    assert watched.may(FINGERPRINT)
    assert not watched.may(BOB)
    if first == "acl":  # an entry for a key that there is not: reported, and the last good one holds
        (problem,) = watched.trust.problems
        assert problem.startswith(f"{watched.config.acl}, line 1: default: investigators: bob: fingerprint: no cert")
        assert problem.endswith("; the ACL that was read before stays in force")
    steps.popitem()[1]()
    assert watched.may(BOB)
    assert not list(watched.trust.problems)
    assert not watched.signs(BOBS_SECRET, BOB)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"{}", b'{"default": 1}', orjson.dumps({"nosuch": RULES["default"]}), b"\xff"]
)
def test_a_broken_acl_leaves_the_last_good_one_in_force_and_is_told_once(
    watched: Watched, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    watched.write("acl.json", content)
    with caplog.at_level(logging.WARNING):
        assert watched.trust.look()
        assert not watched.trust.look()
    assert watched.may(FINGERPRINT)
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "acl.json" in caplog.text
    told = watched.trust.summary()["problems"]
    assert [one.removesuffix("…") for one in told] == [
        one[: len(cut.removesuffix("…"))] for one, cut in zip(watched.trust.problems, told, strict=True)
    ]
    watched.write("acl.json", WITH_BOB)
    watched.write("bob.asc", BOBS)
    caplog.clear()
    assert watched.trust.look()
    assert not list(watched.trust.problems)
    assert "no more: " in caplog.text
    assert watched.may(BOB)


def test_an_acl_that_is_gone_unreadable_or_loose_leaves_the_last_good_one_in_force(watched: Watched) -> None:
    for spoil in (watched.config.acl.unlink, watched.config.acl.mkdir):
        spoil()
        assert watched.may(FINGERPRINT)
        assert len(watched.trust.problems) == 1
    watched.config.acl.rmdir()
    watched.write("bob.asc", BOBS)
    watched.write("acl.json", WITH_BOB, 0o666)
    assert not watched.may(BOB)
    assert "can write it" in watched.trust.problems[0]
    watched.config.acl.chmod(0o644)
    assert watched.may(BOB)


def test_a_certificate_that_is_taken_away_counts_no_more_and_locks_nobody_out(watched: Watched) -> None:
    watched.write("bob.asc", BOBS)
    watched.write("acl.json", WITH_BOB)
    assert not watched.signs(BOBS_SECRET, BOB)
    (watched.config.keyring / "bob.asc").unlink()
    assert "is not trusted" in watched.signs(BOBS_SECRET, BOB)
    assert not watched.signs(SECRET, FINGERPRINT)
    assert watched.may(FINGERPRINT)
    (problem,) = watched.trust.problems  # the ACL still names the key
    assert "no certificate of the keyring is" in problem


def test_the_last_certificate_can_be_taken_away_too(watched: Watched) -> None:
    (watched.config.keyring / "alice.asc").unlink()
    assert "keyring holds no certificate" in watched.signs(SECRET, FINGERPRINT)
    assert "no usable certificate, so every action is refused" in watched.trust.problems[0]


@pytest.mark.parametrize(
    "content", ["rubbish", "", CERTIFICATE[:200], CERTIFICATE * 2], ids=["rubbish", "empty", "cut", "twice"]
)
def test_a_certificate_that_breaks_leaves_the_last_good_one_in_force(watched: Watched, content: str) -> None:
    watched.write("alice.asc", content)
    assert not watched.signs(SECRET, FINGERPRINT)
    (problem,) = watched.trust.problems
    assert problem.startswith(f"{watched.config.keyring}/alice.asc: ")


LOOSE = 0o666


@pytest.mark.parametrize("name", ["alice.rev", "alice.asc", "zz.asc", "zz.pgp"])
@pytest.mark.parametrize("mode", [0o644, LOOSE])
@pytest.mark.parametrize("broken", ["", "acl", "folder", "file"])
def test_a_revocation_takes_effect_whatever_else_is_broken(watched: Watched, name: str, mode: int, broken: str) -> None:
    assert not watched.signs(SECRET, FINGERPRINT)
    if broken == "acl":
        watched.write("acl.json", b"{")
    if broken == "folder":
        watched.config.keyring.chmod(0o777)
    if broken == "file":
        watched.write("other.asc", b"rubbish", LOOSE)
    watched.write(name, revoked(SECRET, FINGERPRINT), mode)
    # one that took the certificate's own place leaves nothing to be revoked
    refusal = f"certificate {FINGERPRINT} is revoked"
    if (name, mode) == ("alice.asc", 0o644) and broken != "folder":
        refusal = "the keyring holds no certificate"
    assert refusal in watched.signs(SECRET, FINGERPRINT)
    watched.config.keyring.chmod(0o755)
    assert watched.signs(SECRET, FINGERPRINT)


def test_what_came_while_others_could_write_the_folder_counts_once_they_cannot(watched: Watched) -> None:
    watched.config.keyring.chmod(0o777)
    watched.write("bob.asc", BOBS)
    assert "is not trusted" in watched.signs(BOBS_SECRET, BOB)
    assert not watched.signs(SECRET, FINGERPRINT)
    assert watched.trust.problems == (f"{watched.config.keyring}: others than its owner can write it",)
    watched.config.keyring.chmod(0o755)
    assert not watched.signs(BOBS_SECRET, BOB)
    assert not list(watched.trust.problems)


@pytest.mark.parametrize("broken", ["folder", "file"])
def test_where_others_can_write_nothing_but_a_proven_revocation_counts(watched: Watched, broken: str) -> None:
    packet = bytearray(dearmor(revoked(SECRET, FINGERPRINT), CERTIFICATE_ARMOR))
    packet[-1] ^= 1
    if broken == "folder":
        watched.config.keyring.chmod(0o777)
    watched.write("forged.rev", bytes(packet), 0o644 if broken == "folder" else LOOSE)
    assert not watched.signs(SECRET, FINGERPRINT)
    watched.config.keyring.chmod(0o755)
    watched.write("forged.rev", bytes(packet))  # by whom the keyring is: this counts, as it stands
    assert "is revoked" in watched.signs(SECRET, FINGERPRINT)


def test_an_acl_that_others_came_to_be_able_to_replace_is_told(watched: Watched) -> None:
    watched.config.acl.parent.chmod(0o777)
    assert watched.may(FINGERPRINT)
    told = f"{watched.config.acl.parent}: anybody can replace what is in it"
    assert watched.trust.problems == (told, f"{told}; the ACL that was read before stays in force")
    watched.config.acl.parent.chmod(0o700)
    assert watched.may(FINGERPRINT)
    assert not list(watched.trust.problems)


def test_a_pipe_in_the_keyring_holds_nothing_up(watched: Watched) -> None:
    os.mkfifo(watched.config.keyring / "pipe.asc")
    assert not watched.signs(SECRET, FINGERPRINT)
    assert watched.trust.problems == (f"{watched.config.keyring}/pipe.asc: not a regular file",)


def test_facts_tell_which_acl_is_in_force(watched: Watched) -> None:
    before = watched.trust.summary()
    assert before["certificates"] == 1
    assert before["revoked"] == 0
    watched.write("acl.json", b"{")
    watched.trust.look()
    assert watched.trust.summary()["acl"] == before["acl"]
    watched.write("acl.json", {**RULES, "maxsignatureage_s": 60})
    watched.trust.look()
    assert watched.trust.summary()["acl"] != before["acl"]
    assert watched.trust.acl.max_signature_age_s == 60


def test_an_acl_in_toml_is_read_by_its_name(config: AgentConfig) -> None:
    path = config.acl.with_name("acl.toml")
    path.write_text(
        f'[default]\nminimumweight = 1\n[default.investigators.alice]\nfingerprint = "{FINGERPRINT}"\nweight = 1\n'
    )
    path.chmod(0o644)
    assert not load_trust(AgentConfig(broker=config.broker, keyring=config.keyring, acl=path)).acl.shortages(
        ["file"], [FINGERPRINT]
    )


def test_an_acl_that_names_a_key_whose_file_was_refused_says_both(config: AgentConfig) -> None:
    (config.keyring / "bob.asc").write_text("rubbish")
    config.acl.write_bytes(orjson.dumps(WITH_BOB))
    with pytest.raises(BadInput, match=r"no certificate of the keyring is .*bob\.asc: "):
        load_trust(config)
