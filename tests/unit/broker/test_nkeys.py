"""The text form of keys, against NATS's own example and for all keys."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from investigator.broker.nkeys import Kind, decode_seed, encode_public, encode_seed, is_public

# The pair that NATS's documentation of nkeys shows.
SEED = "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY"
PUBLIC = "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4"
kinds = st.sampled_from(list(Kind))
keys = st.binary(min_size=32, max_size=32)


def test_it_agrees_with_the_documented_pair():
    kind, private = decode_seed(SEED)
    assert kind is Kind.USER
    assert encode_public(kind, private.public_key().public_bytes_raw()) == PUBLIC
    assert encode_seed(kind, private.private_bytes_raw()) == SEED


@given(kinds, keys)
def test_a_seed_is_read_as_it_was_written(kind, key):
    text = encode_seed(kind, key)
    assert text[0] == "S"
    assert text[1] == kind.name[0]
    assert decode_seed(text)[0] is kind
    assert decode_seed(text)[1].private_bytes_raw() == key


@given(kinds, kinds, keys)
def test_a_public_key_shows_its_kind_and_passes_for_no_other(kind, other, key):
    text = encode_public(kind, key)
    assert text[0] == kind.name[0]
    assert is_public(other, text) is (kind is other)


@given(keys, st.integers(0, 57), st.sampled_from("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"))
def test_one_wrong_character_is_noticed(key, place, character):
    text = encode_seed(Kind.USER, key)
    wrong = text[:place] + character + text[place + 1 :]
    if wrong == text:
        return
    with pytest.raises(ValueError, match=r"nkey|valid"):
        decode_seed(wrong)


@given(st.text(max_size=80) | st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", max_size=80))
def test_any_other_text_is_a_plain_error_that_does_not_repeat_it(text):
    assert not is_public(Kind.USER, text)
    with pytest.raises(ValueError, match=r"^(not an nkey|an nkey with a wrong checksum|not the seed of an nkey)$"):
        decode_seed(text)
