"""The CA and what it makes: private where it must be, good for what it says, and never written over."""

import ssl
import stat
import time

import pytest

from investigator.broker import certificates
from investigator.broker.certificates import (
    make_authority,
    make_client,
    make_server,
    read_certificate,
)
from investigator.errors import BadInput, DeploymentError

NOW_S = 1_800_000_000.0


@pytest.fixture
def folder(tmp_path):
    make_authority(tmp_path, name="test", now_s=NOW_S)
    return tmp_path


def test_the_cas_key_is_its_owners_alone_and_its_certificate_everybodys(folder):
    assert stat.S_IMODE((folder / "ca.key").stat().st_mode) == 0o600
    assert stat.S_IMODE((folder / "ca.pem").stat().st_mode) & 0o400
    ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(folder / "ca.pem")


def test_a_ca_is_good_for_ten_years_and_a_servers_certificate_for_ninety_days(folder):
    assert 3652 < read_certificate(folder / "ca.pem").days_left(NOW_S) < 3654
    assert make_server(folder, ["a.example"], now_s=NOW_S).days_left(NOW_S) == 90
    assert make_server(folder, ["a.example"], now_s=NOW_S).days_left(NOW_S + 91 * 86400) == -1


def test_nothing_outlives_its_ca(folder):
    ends_s = read_certificate(folder / "ca.pem").not_after_s
    assert make_server(folder, ["a.example"], now_s=ends_s - 86400).not_after_s == ends_s


def test_a_servers_certificate_is_for_all_its_names_and_this_machine(folder):
    made = make_server(folder, ["nats.example.net", "192.0.2.7", "2001:db8::1"], now_s=NOW_S)
    assert set(made.hosts) == {"nats.example.net", "192.0.2.7", "2001:db8::1", "localhost", "127.0.0.1", "::1"}


@pytest.mark.parametrize("host", ["", "a b", "a..b", "*.example", "naïve.example", "a" * 64, "x/y", "a," * 200])
def test_what_is_no_host_is_refused(folder, host):
    with pytest.raises(BadInput, match=r"neither a host's name nor an address|in ASCII"):
        make_server(folder, [host], now_s=NOW_S)


def test_a_ca_is_never_written_over(folder):
    before = (folder / "ca.key").read_bytes()
    with pytest.raises(DeploymentError, match=r"ca\.pem: File exists"):
        make_authority(folder, name="again", now_s=NOW_S)
    assert (folder / "ca.key").read_bytes() == before


def test_without_the_cas_key_nothing_is_made(folder, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    make_authority(other, name="other", now_s=NOW_S)
    (folder / "ca.key").write_bytes((other / "ca.key").read_bytes())
    with pytest.raises(DeploymentError, match=r"ca\.key: not the key of"):
        make_client(folder, "x", now_s=NOW_S)
    (folder / "ca.key").unlink()
    with pytest.raises(DeploymentError, match=r"ca\.key: No such file"):
        make_server(folder, [], now_s=NOW_S)


@pytest.mark.parametrize(
    "content", [b"", b"rubbish", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
)
def test_what_is_no_certificate_is_one_clear_line(tmp_path, content):
    (tmp_path / "x.pem").write_bytes(content)
    with pytest.raises(DeploymentError, match=r"x\.pem: no certificate in PEM form$"):
        read_certificate(tmp_path / "x.pem")


def test_a_certificate_of_today_is_taken_by_a_host_whose_clock_is_behind(folder):
    now_s = time.time()
    assert make_server(folder, [], now_s=now_s).not_before_s <= now_s - 3600
    assert certificates.canonical_host("2001:DB8:0::1") == "2001:db8::1"
