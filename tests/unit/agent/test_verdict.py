"""What became of an operation, from what its worker said and how it ended."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from investigator.agent.channel import Kind, Record
from investigator.agent.limits import Limits
from investigator.agent.verdict import Heard, judge

LIMITS = Limits(wall_clock_s=10, memory_bytes=1000, output_bytes=100_000, processes=5)
GOOD = orjson.dumps({"code": "", "result": {"success": True, "foundanything": True}})


def verdict(kind=Kind.ENDED, body=b"", *, size=None, stderr="", took_s=1.0, **record):
    end = Record(kind=kind, operation=1, **record)
    heard = Heard(size=size if size is not None else (len(body) or None), body=body)
    return judge(end, heard, limits=LIMITS, took_s=took_s, last_words=lambda: stderr)


@pytest.mark.parametrize("kind", [Kind.ENDED, Kind.DEADLINE, Kind.KILLED, Kind.PROCESSES])
def test_a_complete_answer_counts_however_the_worker_ended(kind):
    assert verdict(kind, GOOD, status=-9).state == "done"


@pytest.mark.parametrize(
    ("end", "state", "code", "says"),
    [
        ({"kind": Kind.DEADLINE}, "timeout", "deadline", "1 s after its start"),
        ({"kind": Kind.DEADLINE, "took_s": 10.1}, "timeout", "deadline", "the limit is 10 s"),
        ({"kind": Kind.PROCESSES, "number": 6}, "failed", "processes", "6 processes; the limit is 5"),
        ({"kind": Kind.NOT_STARTED, "status": 11}, "failed", "crashed", "Resource temporarily unavailable"),
        ({"status": -11}, "failed", "crashed", "SIGSEGV"),
        ({"status": -40}, "failed", "crashed", "signal 40"),
        ({"status": -6, "number": 950}, "failed", "memory", "the limit is 1,000"),
        ({"status": 3}, "failed", "crashed", "exit status 3"),
        ({"size": 100_001, "kind": Kind.KILLED}, "failed", "garbage", "100,001"),
        ({"body": b'{"code": "Not a code!", "result": {}}'}, "failed", "garbage", "is no result"),
        ({"body": b'{"code": "memory", "result": {"errors": ["m"]}}'}, "failed", "memory", "m"),
        ({"body": b'{"code": "", "result": {"errors": ["f"]}}'}, "failed", "module", "f"),
    ],
)
def test_each_end_has_its_state_its_code_and_its_number(end, state, code, says):
    ran = verdict(**end)
    assert (ran.state, ran.code) == (state, code)
    assert says in ran.result.errors[0]


def test_without_a_fork_server_it_crashed_unless_it_had_answered():
    assert judge(None, Heard(), limits=LIMITS, took_s=1).code == "crashed"
    assert judge(None, Heard(size=len(GOOD), body=GOOD), limits=LIMITS, took_s=1).state == "done"


def test_processes_that_could_not_be_ended_are_never_concealed():
    ran = verdict(Kind.ENDED, GOOD, left=3)
    assert ran.state == "done"
    assert ran.result.errors == ["3 of its processes could not be ended yet"]


def test_last_words_are_short_one_line_and_printable():
    ran = verdict(status=-6, stderr="first\n\x1b]0;title\x07\n" + "y" * 5000 + "last\n")
    words = ran.result.errors[1]
    assert words.endswith("last")
    assert len(words) < 2200
    assert words.isprintable()


@given(
    st.binary(max_size=200),
    st.one_of(st.none(), st.integers(0, 2**32 - 1)),
    st.sampled_from([Kind.ENDED, Kind.DEADLINE, Kind.KILLED, Kind.PROCESSES, Kind.NOT_STARTED]),
    st.integers(-64, 255),
    st.text(max_size=100),
)
def test_whatever_a_worker_says_there_is_a_verdict(body, size, kind, status, stderr):
    end, heard = Record(kind=kind, status=status), Heard(size=size, body=body)
    ran = judge(end, heard, limits=LIMITS, took_s=1, last_words=lambda: stderr)
    assert ran.state != "done" or ran.result.success
    assert (ran.code == "") == (ran.state == "done")
