"""NATS's tokens: what is written is read, and nothing that was changed passes."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from investigator.broker import jwt, nkeys
from investigator.broker.jwt import BadToken

SEED = nkeys.generate_seed(nkeys.Kind.ACCOUNT)
ISSUER = nkeys.public_of(SEED)
USER = nkeys.public_of(nkeys.generate_seed(nkeys.Kind.USER))
TOKEN = jwt.encode(SEED, subject=USER, name="a1", nats={"type": "user"}, now_s=1_000)

# What nats-server 2.15's own tools print for the header.
HEADER = "eyJ0eXAiOiJKV1QiLCJhbGciOiJlZDI1NTE5LW5rZXkifQ"


def signed(claims, header=None):
    """Any claims, under a good signature."""
    _, private = nkeys.decode_seed(SEED)
    head = header if header is not None else json.dumps({"typ": "JWT", "alg": "ed25519-nkey"}).encode()
    text = claims if isinstance(claims, bytes) else json.dumps(claims).encode()
    body = ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in (head, text))
    return f"{body}.{base64.urlsafe_b64encode(private.sign(body.encode())).decode().rstrip('=')}"


@given(name=st.text(max_size=100), now_s=st.integers(0, 2**40), lives_s=st.integers(0, 2**40))
def test_what_is_encoded_is_decoded(name, now_s, lives_s):
    expires_s = lives_s and now_s + lives_s
    token = jwt.encode(SEED, subject=USER, name=name, nats={"type": "user"}, now_s=now_s, expires_s=expires_s)
    claims = jwt.decode(token)
    assert (claims.iss, claims.sub, claims.name) == (ISSUER, USER, name)
    assert (claims.iat, claims.exp) == (now_s, expires_s)
    assert claims.nats == {"type": "user", "version": 2}
    assert "=" not in token


def test_the_header_is_natss_own():
    assert TOKEN.split(".")[0] == HEADER


def test_two_tokens_have_two_ids():
    other = jwt.encode(SEED, subject=USER, name="a1", nats={"type": "user"}, now_s=1_001)
    assert jwt.decode(TOKEN).jti != jwt.decode(other).jti


@given(
    st.integers(0, len(TOKEN) - 1),
    st.sampled_from("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.="),
)
def test_one_changed_character_is_noticed(place, character):
    changed = TOKEN[:place] + character + TOKEN[place + 1 :]
    if changed != TOKEN:
        with pytest.raises(BadToken):
            jwt.decode(changed)


@given(st.text(max_size=200) | st.lists(st.text("ABCdef012-_=", max_size=20), min_size=3, max_size=3).map(".".join))
def test_any_other_text_is_one_short_line(text):
    with pytest.raises(BadToken) as caught:
        jwt.decode(text)
    assert len(str(caught.value)) < 400
    assert str(caught.value).isprintable()


GOOD = {"iat": 1, "iss": ISSUER, "sub": USER, "name": "a1", "nats": {"type": "user", "version": 2}}


def test_the_helper_makes_good_ones():
    assert jwt.decode(signed(GOOD)).name == "a1"


@pytest.mark.parametrize(
    "claims",
    [
        b"",
        b"[]",
        b"\xff",
        b"[" * 5_000,
        {},
        {**GOOD, "iat": "1"},
        {**GOOD, "exp": "never"},
        {**GOOD, "exp": -1},
        {**GOOD, "exp": 2**70},
        {**GOOD, "name": 1},
        {**GOOD, "name": "x" * 1_000},
        {**GOOD, "nats": []},
        {**GOOD, "nats": {"type": "user", "version": 1}},
        {**GOOD, "iss": USER},
        {**GOOD, "iss": "rubbish"},
        b'{"iat":1,"iss":"%b","sub":"%b","name":"a1","name":"a2","nats":{"version":2}}'
        % (ISSUER.encode(), USER.encode()),
    ],
)
def test_claims_that_are_none_are_refused_under_a_good_signature_too(claims):
    with pytest.raises(BadToken):
        jwt.decode(signed(claims))


@pytest.mark.parametrize("header", [b"{}", b"", b'{"typ":"JWT","alg":"none"}', b'{"typ":"JWT","alg":"HS256"}'])
def test_another_algorithm_is_refused(header):
    with pytest.raises(BadToken):
        jwt.decode(signed(GOOD, header))


def test_the_issuer_and_the_kind_that_are_asked_for_are_checked():
    assert jwt.verify(TOKEN, issuer=ISSUER, kind="user").sub == USER
    with pytest.raises(BadToken, match="instead of"):
        jwt.verify(TOKEN, issuer=nkeys.public_of(nkeys.generate_seed(nkeys.Kind.ACCOUNT)), kind="user")
    with pytest.raises(BadToken, match="another thing than a NATS account"):
        jwt.verify(TOKEN, issuer=ISSUER, kind="account")
