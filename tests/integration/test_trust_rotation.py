"""Whom real agents obey: each by its own ACL, and by files that change while it runs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from deployment import WITHIN_S, Answer, Deployment, let_all_in

from investigator.config import AGENT_FILE, load_agent
from investigator.console.dispatch import add_signature, sign_action, write_action
from investigator.console.network import link_table
from investigator.modules import get_module
from investigator.pgp.secret import generate_key
from investigator.pgp.signer import KeyFileSigner
from investigator.protocol.action import Operation


@dataclass(frozen=True)
class Person:
    """An investigator, with a key of their own."""

    name: str
    signer: KeyFileSigner
    certificate: str

    @classmethod
    def new(cls, name: str) -> Person:
        made = generate_key(name, f"{name}@example.net", None)
        return cls(name, KeyFileSigner(made.secret.encode()), made.public)

    @property
    def fingerprint(self) -> str:
        return self.signer.fingerprint


def entry(minimum: int, **weights: tuple[Person, int]) -> dict[str, Any]:
    people = {name: {"fingerprint": who.fingerprint, "weight": weight} for name, (who, weight) in weights.items()}
    return {"minimumweight": minimum, "investigators": people}


@dataclass(frozen=True)
class Trusted:
    """The keyring and the ACL of one agent, as its administrator writes them: each file whole, in the old one's place."""

    keyring: Path
    acl: Path

    def write(self, path: Path, content: str | dict[str, Any], *, mode: int = 0o600) -> None:
        fresh = path.with_name(f".{path.name}")
        fresh.write_bytes(content.encode() if isinstance(content, str) else orjson.dumps(content))
        fresh.chmod(mode)
        fresh.rename(path)

    def trust(self, *people: Person) -> None:
        for person in people:
            self.write(self.keyring / f"{person.name}.asc", person.certificate)

    def rule(self, **entries: Any) -> None:
        self.write(self.acl, entries)


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Deployment]:
    with Deployment(tmp_path / "home") as deployment:
        let_all_in(deployment.home)
        yield deployment


def trusted(home: Path) -> Trusted:
    config = load_agent(home)
    return Trusted(config.keyring, config.acl)


def ask(deployment: Deployment, tmp_path: Path, *signers: Person, target: str = "all") -> Answer:
    """One search, signed by these people, followed to its end."""
    search = {"paths": [str(tmp_path)], "names": [r"^envelope\.json$"], "options": {"matchall": True}}
    action = write_action(
        name="who signed",
        target=target,
        operations=[Operation(module="file", parameters=get_module("file").from_flags(search))],
        now_s=time.time(),
        life=timedelta(seconds=60),
        macros={},
        sealto=None,
    )
    first, *others = signers
    prepared = sign_action(action, first.signer)
    for other in others:
        prepared = add_signature(prepared, other.signer)
    file = tmp_path / "envelope.json"
    file.write_bytes(prepared.envelope.encode())
    return deployment.ask("-i", str(file))


def until_told(deployment: Deployment, told: str, *, is_told: bool = True) -> None:
    """Until `investigator agents` says it, or says it no more."""
    deadline = time.monotonic() + WITHIN_S
    while (told in deployment.call("agents").stderr.decode()) != is_told:
        assert time.monotonic() < deadline


def test_an_action_that_one_agent_accepts_with_two_signatures_is_refused_by_another_with_another_acl(
    alone: Deployment, tmp_path: Path
) -> None:
    alice, bob, carol = Person.new("alice"), Person.new("bob"), Person.new("carol")
    lenient = trusted(alone.home)
    lenient.trust(alice, bob, carol)
    lenient.rule(default=entry(2, Alice=(alice, 1), Bob=(bob, 1), Carol=(carol, 1)))
    strict_home = tmp_path / "strict"
    (strict_home / "keyring").mkdir(parents=True, mode=0o700)
    strict = Trusted(strict_home / "keyring", strict_home / "acl.toml")
    strict.trust(alice, bob, carol)
    strict.write(
        strict.acl,
        f"""\
[default]
minimumweight = 3
[default.investigators]
Alice = {{ fingerprint = "{alice.fingerprint}", weight = 2 }}
Carol = {{ fingerprint = "{carol.fingerprint}", weight = 1 }}
""",
    )
    link = load_agent(alone.home).broker
    strict.write(
        strict_home / AGENT_FILE,
        'keyring = "keyring"\nacl = "acl.toml"\n'
        + link_table(url=link.url, credentials=str(link.credentials), ca=str(link.ca)),
    )
    alone.broker()
    agents = [
        alone.agent("lenient", until=""),
        alone.start("agent", "--home", str(strict_home), "--name", "strict"),
    ]
    for agent in agents:
        agent.until("connected")

    by_two = ask(alone, tmp_path, alice, bob)
    assert by_two.states == {"lenient": "found", "strict": "refused"}
    assert by_two.outcomes["strict"]["code"] == "permission"
    assert by_two.outcomes["strict"]["reason"] == (
        "permission denied for operation file, insufficient signatures weight (need 3, got 2): "
        f"signed by Alice (2), and by {bob.fingerprint}, who has no weight here; 1 missing"
    )
    assert by_two.code == 6

    assert ask(alone, tmp_path, alice, carol).states == {"lenient": "found", "strict": "found"}
    assert ask(alone, tmp_path, alice, alice, alice).states == {"lenient": "refused", "strict": "refused"}
    assert ask(alone, tmp_path, bob, carol).states == {"lenient": "found", "strict": "refused"}

    meant_for_one = ask(alone, tmp_path, bob, carol, target="name = 'lenient'")
    assert (meant_for_one.states, meant_for_one.code) == ({"lenient": "found"}, 0)


def test_a_new_signer_counts_while_the_agent_runs_and_a_broken_acl_takes_nothing_away(
    alone: Deployment, tmp_path: Path
) -> None:
    alice, bob = Person.new("alice"), Person.new("bob")
    here = trusted(alone.home)
    here.trust(alice)
    here.rule(default=entry(1, Alice=(alice, 1)))
    alone.broker()
    agent = alone.agent("one")
    assert ask(alone, tmp_path, alice).states == {"one": "found"}
    assert ask(alone, tmp_path, bob).outcomes["one"]["code"] == "signature"

    here.trust(bob)
    here.rule(default=entry(1, Alice=(alice, 1), Bob=(bob, 1)))
    assert ask(alone, tmp_path, bob).states == {"one": "found"}

    here.write(here.acl, '{"default":\n {"minimumweight": 9, "investigators": {}}}')
    assert ask(alone, tmp_path, bob).states == {"one": "found"}
    told = f"{here.acl}, line 2: default: minimumweight: 9 cannot be reached: all together have 0"
    agent.until(f"ERROR {told}; the ACL that was read before stays in force")
    until_told(alone, told)

    here.rule(default=entry(1, Alice=(alice, 1)))
    assert ask(alone, tmp_path, bob).outcomes["one"]["code"] == "permission"
    until_told(alone, told, is_told=False)
    assert sum(told in line for line in agent.lines if "ERROR" in line) == 1


def test_a_revocation_and_a_certificate_that_is_taken_away_count_at_once_whatever_else_is_broken(
    alone: Deployment, tmp_path: Path
) -> None:
    alice, bob, carol = Person.new("alice"), Person.new("bob"), Person.new("carol")
    here = trusted(alone.home)
    here.trust(alice, bob, carol)
    here.rule(default=entry(1, Alice=(alice, 1), Bob=(bob, 1), Carol=(carol, 1)))
    alone.broker()
    alone.agent("one")
    assert ask(alone, tmp_path, bob).states == {"one": "found"}

    here.write(here.acl, "{")
    here.write(here.keyring / "alice.asc", "rubbish")
    here.write(here.keyring / "bob.rev", bob.signer.revoke(), mode=0o666)
    refused = ask(alone, tmp_path, bob).outcomes["one"]
    assert (refused["code"], refused["reason"]) == (
        "signature",
        f"certificate {bob.fingerprint} is revoked by a revocation in bob.rev",
    )
    assert ask(alone, tmp_path, alice).states == {"one": "found"}

    (here.keyring / "carol.asc").unlink()
    refused = ask(alone, tmp_path, carol).outcomes["one"]
    assert refused["code"] == "signature"
    assert "is not trusted" in refused["reason"]
    assert ask(alone, tmp_path, alice).states == {"one": "found"}


def test_signatures_are_as_old_as_the_acl_allows(alone: Deployment, tmp_path: Path) -> None:
    alice = Person.new("alice")
    old = KeyFileSigner(generate_key("bob", "bob@example.net", None, now=int(time.time()) - 90_000).secret.encode())
    old._clock = lambda: time.time() - 4000
    bob = Person("bob", old, old.public)
    here = trusted(alone.home)
    here.trust(alice, bob)
    here.rule(default=entry(1, Alice=(alice, 1), Bob=(bob, 1)))
    alone.broker()
    alone.agent("one")
    assert ask(alone, tmp_path, bob).states == {"one": "found"}
    here.rule(maxsignatureage_s=3600, default=entry(1, Alice=(alice, 1), Bob=(bob, 1)))
    refused = ask(alone, tmp_path, bob).outcomes["one"]
    assert refused["code"] == "signature"
    assert "s old; 3,600 s at most" in refused["reason"]
    assert ask(alone, tmp_path, alice).states == {"one": "found"}


@pytest.mark.parametrize("name", ["acl.json", "keyring", "agent.toml", "broker/enrol.creds", "broker/ca.pem"])
def test_an_agent_does_not_start_with_files_that_are_open_to_others(alone: Deployment, name: str) -> None:
    path = alone.home / name
    path.chmod(path.stat().st_mode | (0o004 if name.endswith(".creds") else 0o020))
    done = alone.call("agent", "--name", "one")
    assert done.returncode == 5
    assert f"investigator: {path}: others than its owner can" in done.stderr.decode()
    assert f"chmod go{'=' if name.endswith('.creds') else '-w'} {path}" in done.stderr.decode()


def test_an_acl_that_names_what_there_is_not_stops_the_start_with_its_line(alone: Deployment) -> None:
    here = trusted(alone.home)
    here.write(here.acl, here.acl.read_text().replace('"default"', '"defualt"'))
    done = alone.call("agent", "--name", "one")
    assert done.returncode == 2
    said = f"{here.acl}, line 2: defualt: there is no module of this name; did you mean 'default'?"
    assert said in done.stderr.decode()
    assert not [line for line in done.stderr.decode().splitlines() if "Traceback" in line]
