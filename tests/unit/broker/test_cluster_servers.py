"""What `--cluster` and `--leaf` may say, and what is written of it."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from investigator.broker import operator
from investigator.broker.certificates import make_authority
from investigator.broker.cluster import (
    CLIENT_PORT,
    LEAF_PORT,
    ROUTE_PORT,
    Server,
    check_servers,
    parse_servers,
    written,
)
from investigator.broker.cluster_files import write_cluster
from investigator.config import BrokerTls
from investigator.errors import BadInput, DeploymentError

THREE = "n1.example.net,n2.example.net,n3.example.net"


def servers(words):
    return parse_servers([words], what="--cluster")


def test_names_ports_and_addresses_are_read_as_they_are_documented():
    first, second, third = servers("n1.example.net, x=192.0.2.7:4223 ,y=[2001:db8::1]:1:2:3")
    assert first == Server(name="n1", host="n1.example.net")
    assert (first.client_port, first.route_port, first.leaf_port) == (CLIENT_PORT, ROUTE_PORT, LEAF_PORT)
    assert (second.name, second.url, second.route) == ("x", "tls://192.0.2.7:4223", "tls://192.0.2.7:6222")
    assert (third.url, third.route, third.leaf_url) == (
        "tls://[2001:db8::1]:1",
        "tls://[2001:db8::1]:2",
        "tls://[2001:db8::1]:3",
    )
    assert servers("192.0.2.7")[0].name == "192-0-2-7"


@pytest.mark.parametrize(
    "words",
    [
        "a b",
        "a=",
        "=a",
        "a:b",
        "a:70000",
        "a:1:2:3:4",
        "../a",
        "a/b",
        "é",
        "a=b=c",
        "x y=h",
        "a..b",
        "[::1",
        '"a"',
        "-a",
    ],
)
def test_what_is_no_server_is_refused_by_what_was_given(words):
    with pytest.raises(BadInput):
        servers(words)


@given(st.text())
def test_any_text_is_servers_or_bad_input(words):
    try:
        found = servers(words)
    except BadInput:
        return
    for server in found:
        assert "/" not in server.name
        assert server.name not in ("", ".", "..")


@pytest.mark.parametrize(
    ("cluster", "leaves", "why"),
    [
        ("a,b", "", "2 servers"),
        ("a,b,c,d", "", "4 servers"),
        ("x.a,x.b,x.c", "", "two servers are called x"),
        (THREE, "n1=h", "two servers are called n1"),
        ("a=h,b=h,c=h", "", "h:4222 is wanted twice"),
        (THREE, "n4=n1.example.net", "n1.example.net:4222 is wanted twice"),
    ],
)
def test_what_can_be_no_cluster_is_refused(cluster, leaves, why):
    with pytest.raises(BadInput, match=why):
        check_servers(servers(cluster), servers(leaves))


def test_names_that_need_quoting_are_quoted():
    assert b'x: "a\\"b\\n"' in written({"x": 'a"b\n'}, ["heading"])


@pytest.fixture
def deployed(tmp_path):
    folder = tmp_path / "broker"
    operator.create(folder, now_s=int(time.time()))
    make_authority(folder, name="x", now_s=time.time())
    return folder


def write(deployed, *, now_s=None, leaves="site=leaf.example.net"):
    out = deployed.parent / "out"
    now_s = time.time() if now_s is None else now_s
    return write_cluster(deployed, out, servers(THREE), servers(leaves), tls=BrokerTls(), now_s=now_s)


def test_a_second_call_changes_nothing_and_a_late_one_renews_the_certificates(deployed):
    assert len(write(deployed)) == 14
    assert write(deployed) == []
    assert write(deployed, now_s=time.time() + 190 * 86400) == []
    late = write(deployed, now_s=time.time() + 210 * 86400)
    assert len(late) == 4
    assert all(line.startswith("made ") and "server.pem" in line for line in late)


def test_with_somebody_elses_ca_it_says_which_certificates_to_put_where(deployed):
    (deployed / "ca.key").unlink()
    missing = [line for line in write(deployed) if line.startswith("missing ")]
    assert len(missing) == 4
    assert "for n1.example.net, by your CA" in missing[0]


def test_without_a_deployment_it_is_one_clear_line(tmp_path):
    with pytest.raises(DeploymentError):
        write_cluster(tmp_path, tmp_path / "out", servers(THREE), [], tls=BrokerTls(), now_s=time.time())
