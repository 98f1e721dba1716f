"""An action's limits meet a host's: they can make it less, and never more, whatever they say."""

import msgspec
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from investigator.agent.limits import LOWERED, Limits
from investigator.errors import BadInput
from investigator.protocol.action import AskedLimits, Operation, parse_action

OWN = Limits()
NUMBERS = {
    "cpu_percent": st.integers(1, 100_000),
    "memory_bytes": st.integers(64 << 20, 1 << 50),
    "wall_clock_s": st.floats(0.001, 30 * 86_400, allow_nan=False),
    "output_bytes": st.integers(1 << 10, 1 << 50),
    "open_files": st.integers(16, 1 << 30),
}


def action_with(limits):
    """An action's signed bytes, with this as the limits of its one operation, written as given."""
    return (
        b'{"type":"action","id":"0123456789abcdef0123456789abcdef","name":"n","target":"all","condition":[],'
        b'"validfrom":"2026-11-24T03:00:00Z","expireafter":"2026-11-24T03:05:00Z",'
        b'"operations":[{"module":"file","parameters":{},"limits":' + limits + b"}]}"
    )


def read(limits):
    return parse_action(action_with(limits)).operations[0].limits


@given(st.fixed_dictionaries({}, optional={name: st.none() | numbers for name, numbers in NUMBERS.items()}))
def test_no_limit_is_ever_above_the_hosts_own(asked):
    held_to = OWN.lowered(AskedLimits(**asked))
    for name in LOWERED:
        wanted = asked.get(name)
        assert getattr(held_to, name) == (getattr(OWN, name) if wanted is None else min(getattr(OWN, name), wanted))
    assert (held_to.niceness, held_to.processes, held_to.file_bytes) == (OWN.niceness, OWN.processes, OWN.file_bytes)


def test_nothing_asked_is_the_hosts_own():
    assert OWN.lowered(None) is OWN


def test_every_limit_that_can_be_asked_is_one_that_can_be_lowered():
    assert set(AskedLimits.__struct_fields__) == set(LOWERED)


def test_limits_are_read_from_signed_bytes_and_whole_floats_are_integers():
    assert read(b'{"cpu_percent":20.0,"wall_clock_s":30}') == AskedLimits(cpu_percent=20, wall_clock_s=30.0)
    assert read(b"null") is None


@pytest.mark.parametrize("name", sorted(NUMBERS))
@pytest.mark.parametrize(
    "wrong",
    [b"0", b"-1", b"-0.0", b"1e400", b"1e300", b"99999999999999999999999", b"NaN", b"Infinity", b"-Infinity",
     b'"20"', b"true", b"[1]", b"{}", b"1e-300"],
)  # fmt: skip
def test_what_makes_no_sense_as_a_limit_is_refused(name, wrong):
    with pytest.raises(BadInput):
        read(b'{"%s":%s}' % (name.encode(), wrong))


@pytest.mark.parametrize(
    "wrong",
    [b'{"niceness":0}', b'{"processes":1}', b'{"cpu":20}', b'{"cpu_percent":5,"cpu_percent":90}', b"[]", b'"all"',
     b"20", b"false", b'{"CPU_percent":5}'],
)  # fmt: skip
def test_what_is_no_limit_is_refused(wrong):
    with pytest.raises(BadInput):
        read(wrong)


def test_an_action_without_limits_is_written_as_before():
    assert orjson.loads(msgspec.json.encode(Operation(module="file"))) == {"module": "file"}
