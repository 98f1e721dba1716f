"""Records and descriptors between agent and fork server."""

import os
import socket

import pytest

from investigator.agent.channel import Kind, Record, receive_record, send_record


@pytest.fixture
def pair():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def test_records_arrive_one_by_one_as_they_were_sent(pair):
    records = [Record(kind=kind, operation=kind + 7, left=1, status=-9, deadline_s=1.5, number=2**40) for kind in Kind]
    for record in records:
        send_record(pair[0], record)
    assert [receive_record(pair[1]) for _ in records] == [(record, []) for record in records]


def test_descriptors_travel_with_their_record_and_no_program_inherits_them(pair):
    read, write = os.pipe()
    for number in range(3):
        send_record(pair[0], Record(kind=Kind.RUN, operation=number), (read, write))
    os.close(read)
    for number in range(3):
        received = receive_record(pair[1])
        assert received is not None
        record, (first, second) = received
        assert record.operation == number
        assert not os.get_inheritable(first)
        os.write(second, b"x")
        assert os.read(first, 1) == b"x"
        os.close(first)
        os.close(second)
    os.close(write)


def test_the_other_sides_end_is_told_apart_from_silence(pair):
    ours, theirs = pair
    theirs.settimeout(0)
    with pytest.raises(BlockingIOError):
        receive_record(theirs)
    ours.close()
    assert receive_record(theirs) is None
