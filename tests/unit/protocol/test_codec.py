"""JSON from attackers: nothing but a value or one short line of complaint comes out."""

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from investigator.errors import BadInput
from investigator.protocol.codec import convert, one_line, strict_loads, whole_floats_as_integers

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


def load(text: bytes, max_bytes: int = 1 << 20) -> Any:
    return strict_loads(text, what="thing", max_bytes=max_bytes)


def complaint(text: bytes) -> str:
    """What is wrong with it; nothing where it is JSON. Any other error than `BadInput` fails the test."""
    try:
        load(text)
    except BadInput as error:
        return str(error)
    return ""


@given(st.binary())
def test_any_bytes_are_a_value_or_bad_input(text: bytes) -> None:
    assert "\n" not in complaint(text)


@given(JSON)
def test_what_we_write_is_read_as_it_was(value: object) -> None:
    text = orjson.dumps(value)
    assert load(text) == orjson.loads(text)


@pytest.mark.parametrize(
    "text",
    [
        b'{"a":1,"a":1}',
        b'{"x":[{"a":1,"b":2,"a":3}]}',
        b'{"a":1,"\\u0061":2}',
        b'{"' + b"k" * 9999 + b'":1,"' + b"k" * 9999 + b'":2}',
    ],
    ids=["plain", "deep inside", "one escaped", "long"],
)
def test_a_key_that_stands_twice_is_refused_in_a_short_line(text: bytes) -> None:
    with pytest.raises(BadInput, match="stands twice") as caught:
        load(text)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    "text", [b"NaN", b"-Infinity", b"1e999", b"\xff", b'"\\ud800"', b"\xef\xbb\xbf{}", b"{}{}", b"", b"[1,]", b"01"]
)
def test_what_only_lenient_readers_take_is_refused(text: bytes) -> None:
    with pytest.raises(BadInput):
        load(text)


def test_the_hundredth_level_is_taken_and_the_next_one_is_not() -> None:
    assert load(b"[" * 100 + b"1" + b"]" * 100)
    for depth in (101, 500, 5_000, 100_000):
        with pytest.raises(BadInput, match=r"deep|JSON"):
            load(b"[" * depth + b"]" * depth)
        with pytest.raises(BadInput, match=r"deep|JSON"):
            load(b'{"a":' * depth + b"1" + b"}" * depth)


def test_a_byte_too_many_is_refused_before_anything_is_read() -> None:
    assert load(b"[]", max_bytes=2) == []
    with pytest.raises(BadInput, match="3 bytes; 2 at most"):
        load(b"[] ", max_bytes=2)


def test_numbers_with_thousands_of_digits_are_no_trouble() -> None:
    with pytest.raises(BadInput):
        load(b"9" * 5_000)
    assert load(b"0." + b"1" * 5_000) == pytest.approx(1 / 9)


@given(JSON)
def test_whole_floats_become_integers_and_the_result_can_be_written_again(value: object) -> None:
    changed = whole_floats_as_integers(value)
    assert changed == value
    assert json.loads(orjson.dumps(changed)) == changed


def test_a_number_beyond_64_bits_stays_a_float_since_an_integer_could_not_be_written() -> None:
    value = whole_floats_as_integers(load(b"[3.0, 1e30, -1e30, 123456789012345678901234567890]"))
    assert value[0] == 3
    assert [type(item) for item in value] == [int, float, float, float]
    orjson.dumps(value)


@pytest.mark.parametrize("key", ["a\nroot: admitted", "\x1b[2J", "\u202e", "k" * 100_000, "`$.x`"])
def test_a_complaint_about_a_strange_key_is_one_short_printable_line(key: str) -> None:
    import msgspec

    class Shape(msgspec.Struct, forbid_unknown_fields=True):
        x: int = 0

    with pytest.raises(BadInput) as caught:
        convert({key: 1}, Shape, what="thing")
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1000


@given(st.text())
def test_one_line_is_printable_and_keeps_what_was(text: str) -> None:
    assert one_line(text).isprintable()
    if text.isprintable() and len(text) <= 300:
        assert one_line(text) == text
