"""Keys on the disk: private, never overwritten, and one line for what is wrong."""

import base64
import stat

import pytest

from investigator.broker import nkeys
from investigator.broker.credentials import USERS_FILE, Credentials, Role, create, load_users
from investigator.errors import DeploymentError


def test_a_new_deployment_has_three_users_with_private_files(tmp_path):
    files = create(tmp_path / "broker")
    assert set(files) == set(Role)
    for role, path in files.items():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        credentials = Credentials.load(path)
        assert credentials.name == role
        assert load_users(tmp_path / "broker")[role] == credentials.public_key
    assert stat.S_IMODE((tmp_path / "broker").stat().st_mode) == 0o700


def test_nothing_is_ever_overwritten(tmp_path):
    before = create(tmp_path)[Role.AGENTS].read_bytes()
    with pytest.raises(DeploymentError, match=r"agents\.nk: File exists"):
        create(tmp_path)
    assert (tmp_path / "agents.nk").read_bytes() == before


def test_the_proof_is_a_signature_that_the_public_key_confirms():
    credentials = Credentials.generate("agents")
    _, private = nkeys.decode_seed(credentials.seed)
    private.public_key().verify(base64.b64decode(credentials.sign("nonce")), b"nonce")


def test_a_seed_does_not_show_when_credentials_are_printed():
    credentials = Credentials.generate("agents")
    assert credentials.seed not in repr(credentials)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"rubbish",
        "ünï".encode(),
        bytes(100),
        b"x" * 100_000,
        nkeys.encode_seed(nkeys.Kind.ACCOUNT, bytes(32)).encode(),
        nkeys.encode_public(nkeys.Kind.USER, bytes(32)).encode(),
    ],
    ids=["empty", "rubbish", "not ascii", "zeros", "long", "an account's", "a public key"],
)
def test_a_file_without_a_users_seed_is_one_line_that_does_not_repeat_it(tmp_path, content):
    path = tmp_path / "agents.nk"
    path.write_bytes(content)
    with pytest.raises(DeploymentError, match=r"^broker credentials .*agents\.nk: .+$") as caught:
        Credentials.load(path)
    assert len(str(caught.value)) < len(str(path)) + 100


def test_a_missing_file_says_how_to_make_it(tmp_path):
    with pytest.raises(DeploymentError, match="No such file") as caught:
        Credentials.load(tmp_path / "none.nk")
    assert caught.value.hint == "`investigator init`"


@pytest.mark.parametrize(
    "users",
    [
        b"",
        b"[]",
        b"{}",
        b'{"agents": 1}',
        b'{"x": "y"}',
        b'{"agents": "U", "investigator": "U", "broker": "U"}',
    ],
)
def test_users_that_are_not_whole_are_refused(tmp_path, users):
    (tmp_path / USERS_FILE).write_bytes(users)
    with pytest.raises(DeploymentError, match="not a public key for each of agents, investigator, broker"):
        load_users(tmp_path)
