"""A sealed result opens for its asker, for its action and agent, and for nobody else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from investigator.protocol.sealing import (
    NotSealedToUs,
    can_seal_to,
    generate_sealing_key,
    public_sealing_key,
    seal,
    unseal,
)

PRIVATE = bytes(range(1, 33))
PUBLIC = public_sealing_key(PRIVATE)
P = 2**255 - 19


@given(st.binary(), st.binary(max_size=80))
def test_what_is_sealed_opens_with_the_same_context(content: bytes, context: bytes) -> None:
    assert unseal(PRIVATE, seal(PUBLIC, content, context=context), context=context) == content


@given(st.data())
def test_any_flipped_bit_is_refused(data: st.DataObject) -> None:
    box = bytearray(seal(PUBLIC, b"what was found", context=b"c"))
    box[data.draw(st.integers(0, len(box) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(NotSealedToUs):
        unseal(PRIVATE, bytes(box), context=b"c")


@given(st.binary())
def test_any_bytes_are_refused(box: bytes) -> None:
    with pytest.raises(NotSealedToUs):
        unseal(PRIVATE, box, context=b"c")


def test_another_key_or_another_context_does_not_open_it() -> None:
    box = seal(PUBLIC, b"what was found", context=b"action 1 agent a")
    with pytest.raises(NotSealedToUs):
        unseal(generate_sealing_key(), box, context=b"action 1 agent a")
    with pytest.raises(NotSealedToUs):
        unseal(PRIVATE, box, context=b"action 1 agent b")


def test_the_same_content_never_looks_the_same_twice() -> None:
    boxes = {seal(PUBLIC, b"x", context=b"") for _ in range(20)}
    assert len(boxes) == 20
    assert not any(PUBLIC in box for box in boxes)


@pytest.mark.parametrize(
    "low_order",
    [
        0,
        1,
        P - 1,
        P,
        P + 1,
        325606250916557431795983626356110631294008115727848805560023387167927233504,
        39382357235489614581723060781553021112529911719440698176882885853963445705823,
    ],
)
def test_points_of_low_order_are_known_before_anything_is_sealed_to_them(low_order: int) -> None:
    point = low_order.to_bytes(32, "little")
    assert not can_seal_to(point)
    assert not can_seal_to(point[:31] + bytes([point[31] | 0x80]))
    with pytest.raises(ValueError, match="shared key"):
        seal(point, b"x", context=b"")


def test_every_key_that_we_make_can_be_sealed_to() -> None:
    assert all(can_seal_to(public_sealing_key(generate_sealing_key())) for _ in range(50))
