"""Deployments as `investigator init` makes them: encrypted, or asking for certificates, or with somebody else's CA."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Self

import orjson
import pytest
from deployment import Deployment

from investigator.broker.certificates import make_authority, make_server
from investigator.config import load_agent, load_broker, load_console
from investigator.console.deployment import create_deployment
from investigator.console.network import Network
from investigator.errors import BadInput

ASK = ("file", "--path", "/nowhere", "--name", "x")


class Prepared(Deployment):
    """One whose folder is made already."""

    def __enter__(self) -> Self:
        return self


def test_a_broker_that_asks_for_certificates_serves_agents_consoles_and_who_was_invited(tmp_path: Path) -> None:
    with Prepared(tmp_path / "home") as deployment:
        create_deployment(deployment.home, port=0, passphrase=None, network=Network(verify=True))
        deployment.broker()
        deployment.agent("a-1")
        assert deployment.ask(*ASK).states == {"a-1": "notfound"}
        invitation, laptop = tmp_path / "bob.invitation", tmp_path / "bob"
        deployment.call("people", "invite", "bob", "-o", str(invitation))
        joined = deployment.call("people", "join", str(invitation), "--no-passphrase", home=laptop)
        assert joined.returncode == 0, joined.stderr
        assert b"a-1" in deployment.call("agents", home=laptop).stdout
        # an invitation with half of it
        torn = {**orjson.loads(invitation.read_bytes()), "ca": ""}
        invitation.write_bytes(orjson.dumps(torn))
        refused = deployment.call("people", "join", str(invitation), "--no-passphrase", home=tmp_path / "torn")
        assert refused.returncode == 2
        assert b"ca, certificate and key: one comes without the others" in refused.stderr
        # and without the certificate
        console = (laptop / "console.toml").read_text()
        (laptop / "console.toml").write_text(
            re.sub(r"^(certificate|key) = \"broker.*\n", "", console, flags=re.MULTILINE)
        )
        shut_out = deployment.call("agents", home=laptop)
        assert shut_out.returncode == 4
        assert b"it asks for a certificate of ours" in shut_out.stderr


def test_somebody_elses_certificate_serves_as_well(tmp_path: Path) -> None:
    make_authority(tmp_path, name="the company's", now_s=time.time())
    make_server(tmp_path, (), now_s=time.time())
    with Prepared(tmp_path / "home") as deployment:
        files = [str(tmp_path / name) for name in ("server.pem", "server.key", "ca.pem")]
        made = deployment.call("init", "--port", "0", "--certificate", files[0], "--key", files[1], "--ca", files[2])
        assert made.returncode == 0, made.stderr
        assert not (deployment.home / "broker" / "ca.key").exists()
        deployment.call("keys", "list")
        deployment.broker()
        deployment.agent("a-1")
        assert deployment.ask(*ASK).states == {"a-1": "notfound"}


def test_an_agent_whose_pinned_ca_others_can_write_does_not_start(tmp_path: Path) -> None:
    with Deployment(tmp_path / "home") as deployment:
        ca = deployment.home / "broker" / "ca.pem"
        ca.chmod(0o666)
        refused = deployment.call("agent", "--name", "a-1")
        assert refused.returncode == 5
        assert b"ca.pem: others than its owner can write it" in refused.stderr


def test_plain_text_is_a_choice_for_this_machine_and_said(tmp_path: Path) -> None:
    with Prepared(tmp_path / "home") as deployment:
        deployment.call("init", "--port", "0", "--plain-text")
        deployment.broker()
        agent = deployment.agent("a-1")
        assert sum("is not encrypted" in line for line in agent.lines) == 1
        answer = deployment.ask(*ASK)
        assert answer.states == {"a-1": "notfound"}
        assert answer.errors.count("is not encrypted: it stays on this machine") == 1
        url = load_console(deployment.home).broker.url
        console = deployment.home / "console.toml"
        console.write_text(console.read_text().replace(url, "nats://broker.example.net:4222"))
        refused = deployment.call("agents")
        assert refused.returncode == 5
        assert b"plain text is spoken on this machine's loopback addresses only" in refused.stderr


def test_a_broker_for_other_machines_listens_everywhere_and_is_called_by_its_name(tmp_path: Path) -> None:
    create_deployment(tmp_path, port=4222, passphrase=None, network=Network(hosts=("nats.example.net", "192.0.2.7")))
    broker, agent = load_broker(tmp_path), load_agent(tmp_path)
    assert broker.host == "0.0.0.0"
    assert broker.tls is not None
    assert broker.tls.names == ("nats.example.net", "192.0.2.7")
    assert agent.broker.url == load_console(tmp_path).broker.url == "tls://nats.example.net:4222"
    assert agent.broker.ca == tmp_path / "broker" / "ca.pem"


@pytest.mark.parametrize(
    "network",
    [
        Network(hosts=("no such host",)),
        Network(hosts=("nats.example.net",), plain_text=True),
        Network(plain_text=True, verify=True),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_made(tmp_path: Path, network: Network) -> None:
    with pytest.raises(BadInput):
        create_deployment(tmp_path / "home", port=4222, passphrase=None, network=network)
    assert not (tmp_path / "home").exists()
