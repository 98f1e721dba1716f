"""Which addresses are tried at all: loopback in plain text, others with a CA, nothing else."""

from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from investigator.broker.tls import ClientTls, check_server, is_loopback, plain_text_notice, split_servers
from investigator.errors import BrokerError, DeploymentError


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.10", "::1", "localhost", "LOCALHOST", "localhost."])
def test_this_machine_is_this_machine(host):
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host",
    [
        "",
        "0.0.0.0",
        "::",
        "10.0.0.1",
        "localhost.example.net",
        "127.0.0.1.example.net",
        "127.1",
        "0x7f000001",
        "::ffff:10.0.0.1",
    ],
)
def test_what_may_be_elsewhere_is_not(host):
    assert not is_loopback(host)


@given(st.text() | st.from_regex(r"(nats|tls|ws|http)://[a-z0-9.:@\[\]-]{1,30}", fullmatch=True))
def test_without_a_ca_nothing_but_plain_text_on_loopback_is_tried(server):
    try:
        check_server(server, None)
    except (BrokerError, DeploymentError):
        return
    uri = urlsplit(server)
    assert uri.scheme == "nats"
    assert is_loopback(uri.hostname or "")


def test_several_servers_are_all_looked_at():
    assert split_servers("tls://a:1, nats://b:2,c:3") == ["tls://a:1", "nats://b:2", "nats://c:3"]
    assert split_servers("") == [""]


def test_user_names_in_an_address_hide_no_host(tmp_path):
    for server in ("nats://127.0.0.1@broker.example.net:4222", "nats://localhost:1@broker.example.net"):
        with pytest.raises(DeploymentError, match="plain text"):
            check_server(server, ClientTls(tmp_path / "ca.pem"))


def test_plain_text_is_told_and_tls_is_not():
    assert plain_text_notice("tls://h:1,tls://i:1") == ""
    assert "nats://127.0.0.1:1 is not encrypted" in plain_text_notice("nats://127.0.0.1:1,tls://i:1")
