"""`-limit`, as people write it."""

import pytest

from investigator.cli.limits import read_limits, with_limits
from investigator.cli.request import ACTION_NEW, parse_run
from investigator.cli.run import asked_for
from investigator.errors import BadInput
from investigator.protocol.action import AskedLimits, Operation

WORDS = ["file", "-path", "/etc", "-name", "passwd"]


def test_each_limit_is_read_with_its_unit():
    asked = read_limits(["cpu=20%", "memory=256M", "time=1m30s", "output=512K", "files=128"])
    assert asked == AskedLimits(
        cpu_percent=20, memory_bytes=256 << 20, wall_clock_s=90.0, output_bytes=512 << 10, open_files=128
    )
    assert read_limits(["cpu=5"]) == AskedLimits(cpu_percent=5)
    assert read_limits([]) is None


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (["cpu"], "no such number"),
        (["cpu=0"], "-limit cpu=0: at least 1 percent"),
        (["cpu=-5"], "no such number"),
        (["cpu=20M"], "no such number"),
        (["memory=20%"], "no such number"),
        (["memory=1"], "at least 67,108,864 bytes"),
        (["memory=nan"], "no such number"),
        (["memory=999999999999999G"], "at most "),
        (["time=forever"], "no duration"),
        (["time=0s"], "at least 0.001 s"),
        (["files=3"], "at least 16 files"),
        (["nice=0"], "'nice' is no limit"),
        (["cpu=5", "cpu=50"], "stands there twice"),
        ([""], "'' is no limit"),
    ],
)
def test_what_is_no_limit_is_refused_in_one_line(wrong, says):
    with pytest.raises(BadInput, match=says) as refused:
        read_limits(wrong)
    assert "\n" not in str(refused.value)


def test_the_flag_is_in_the_operation_that_is_signed():
    request = parse_run(["-limit", "cpu=20%", "-limit", "memory=256M", *WORDS])
    assert asked_for(request).operations[0].limits == AskedLimits(cpu_percent=20, memory_bytes=256 << 20)
    assert parse_run(["-o", "-", "-limit", "cpu=20%", *WORDS], flags=ACTION_NEW).limits == AskedLimits(cpu_percent=20)
    assert asked_for(parse_run(WORDS)).operations[0].limits is None


def test_given_limits_count_for_every_operation_of_a_file_and_others_stay():
    operations = (Operation(module="a"), Operation(module="b", limits=AskedLimits(cpu_percent=5, open_files=64)))
    first, second = with_limits(operations, AskedLimits(cpu_percent=20))
    assert first.limits == AskedLimits(cpu_percent=20)
    assert second.limits == AskedLimits(cpu_percent=20, open_files=64)
    assert with_limits(operations, None) == operations
