"""A user's credentials: NATS's own file, private, never overwritten, and one line for what is wrong."""

import base64
import stat
import time

import pytest
from nats.aio.client import Client, RawCredentials

from investigator.broker import jwt, nkeys
from investigator.broker.credentials import Credentials
from investigator.errors import DeploymentError

NOW_S = int(time.time())
ACCOUNT = nkeys.generate_seed(nkeys.Kind.ACCOUNT)


def token(made, *, name="a1", kind="user", subject=None, expires_s=0):
    subject = made.public_key if subject is None else subject
    return jwt.encode(ACCOUNT, subject=subject, name=name, nats={"type": kind}, now_s=NOW_S, expires_s=expires_s)


def made_credentials(**options):
    made = Credentials.generate("a1")
    return made.with_jwt(token(made, **options))


def test_they_are_read_as_they_were_written_and_nobody_else_can_read_them(tmp_path):
    made = made_credentials(expires_s=NOW_S + 5)
    made.save(tmp_path / "any-name.creds")
    assert Credentials.load(tmp_path / "any-name.creds") == made
    assert (made.name, made.expires_s) == ("a1", NOW_S + 5)
    assert stat.S_IMODE((tmp_path / "any-name.creds").stat().st_mode) == 0o600


def test_a_client_of_natss_own_reads_the_file():
    made, client = made_credentials(), Client()
    assert bytes(client._read_creds_user_jwt(RawCredentials(made.text))).decode() == made.jwt
    assert bytes(client._read_creds_user_nkey(RawCredentials(made.text))).decode() == made.seed


def test_a_file_with_the_line_ends_of_windows_is_read():
    made = made_credentials()
    assert Credentials.parse(made.text.replace("\n", "\r\n"), what="x") == made


def test_nothing_is_ever_overwritten(tmp_path):
    path = tmp_path / "a.creds"
    made_credentials().save(path)
    before = path.read_bytes()
    with pytest.raises(DeploymentError, match=r"a\.creds: File exists"):
        made_credentials().save(path)
    assert path.read_bytes() == before


def test_the_proof_is_a_signature_that_the_public_key_confirms():
    credentials = Credentials.generate("agents")
    _, private = nkeys.decode_seed(credentials.seed)
    private.public_key().verify(base64.b64decode(credentials.sign("nonce")), b"nonce")


def test_a_seed_does_not_show_when_credentials_are_printed():
    credentials = Credentials.generate("agents")
    assert credentials.seed not in repr(credentials)


def test_without_a_token_they_have_no_end():
    assert Credentials.generate("a1").expires_s == 0


def spoiled():
    made, other = made_credentials(), made_credentials()
    account = nkeys.encode_seed(nkeys.Kind.ACCOUNT, bytes(32))
    return {
        "empty": b"",
        "rubbish": b"rubbish",
        "not ascii": "ünï".encode(),
        "zeros": bytes(100),
        "long": b"x" * 100_000,
        "a seed alone": made.seed.encode(),
        "an account's seed": made.text.replace(made.seed, account).encode(),
        "a public key": made.text.replace(made.seed, made.public_key).encode(),
        "another's token": made.text.replace(made.jwt, other.jwt).encode(),
        "a cut token": made.text.replace(made.jwt, made.jwt[:-4]).encode(),
        "a token of another kind": made.text.replace(made.jwt, token(made, kind="account")).encode(),
    }


@pytest.mark.parametrize("what", spoiled())
def test_a_file_without_a_users_credentials_is_one_line_that_does_not_repeat_it(tmp_path, what):
    path = tmp_path / "agent.creds"
    path.write_bytes(spoiled()[what])
    with pytest.raises(DeploymentError, match=r"^broker credentials .*agent\.creds: .+$") as caught:
        Credentials.load(path)
    assert len(str(caught.value)) < len(str(path)) + 100


def test_a_missing_file_says_how_to_make_it(tmp_path):
    with pytest.raises(DeploymentError, match="No such file") as caught:
        Credentials.load(tmp_path / "none.creds")
    assert "`investigator gateway script`" in caught.value.hint
