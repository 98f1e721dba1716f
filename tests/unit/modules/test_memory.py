"""The memory module, asked as a worker asks it, about processes that the test starts."""

import mmap
import os
import signal
import stat
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import orjson
import pytest

from investigator.errors import BadInput
from investigator.modules.flags import module_flags
from investigator.modules.interface import MASK, Context, load_parameters
from investigator.modules.memory import MODULE
from investigator.modules.memory.reading import Buffer, Reader
from investigator.modules.memory.spans import PAGE, Span, can_scan, device_reason, readable, spans
from investigator.modules.processes.parsing import Region, parse_region
from investigator.modules.processes.procfs import Ended, Process
from victims import python

linux = pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")
root = pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="takes root")
EXECUTABLE = os.path.realpath(sys.executable)

NEEDLE = "Kq7-needle-of-the-memory"
# the needle is only there where it is put: what made it is further on in memory, where the tests do not look
PLANT = """
import ctypes, mmap, os
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
needle = sys.argv[1][::-1].encode()
def area(size, fd=-1, protection=3):
    place = libc.mmap(None, size, protection, 0x02 | (0x20 if fd < 0 else 0), fd, 0)
    assert place != 2**64 - 1
    return place
def put(address, data=needle):
    ctypes.memmove(address, data, len(data))
"""


def planted(code, *more, **options):
    return python(f"{PLANT}\n{code}", NEEDLE[::-1], *more, **options)


def run(searches, **context):
    """The result's JSON."""
    result = MODULE.run(load_parameters(MODULE, {"searches": searches}), Context(**context))
    return orjson.loads(orjson.dumps(msgspec.structs.asdict(result)))


def ask(**asked):
    options = {"matchall": True, **asked.pop("options", {})}
    return run({"s1": {"names": [f"^{EXECUTABLE}$"], **asked, "options": options}})


def found(result, label="s1"):
    return {element["process"]["pid"]: element for element in result["elements"][label]}


def place_of(victim, start, size, **asked):
    """Where in so many bytes from an address on something is found; None: nowhere."""
    element = found(ask(**asked, options={"offset": start, "maxlength": size})).get(victim.pid)
    return element and int(element["matches"][0]["address"], 16) - start


@linux
def test_contents_are_found_with_their_address_and_never_returned():
    with planted("a = area(1 << 20)\nput(a + 5000)\nprint(a)") as victim:
        start = int(victim.said)
        assert place_of(victim, start, 1 << 20, contents=["needle-of-[a-z]+-memory"]) == 5004
        assert place_of(victim, start, 1 << 20, contents=["(?i)NEEDLE.OF"]) == 5004
        assert place_of(victim, start, 1 << 20, contents=["[A-Z]q\\d-"]) == 5000
        assert place_of(victim, start, 1 << 20, bytes=[NEEDLE.encode().hex()]) == 5000
        assert place_of(victim, start, 1 << 20, contents=["needle-off"]) is None
        assert place_of(victim, start, 1 << 20, bytes=["00" + NEEDLE.encode().hex() + "01"]) is None
        result = ask(contents=["needle-of-[a-z]+"])
        assert found(result)[victim.pid]["process"] == {"name": EXECUTABLE, "pid": victim.pid}
        assert NEEDLE not in orjson.dumps(result).decode()


@linux
def test_a_match_may_cross_from_block_to_block_and_begin_or_end_a_region():
    size = 4 << 20
    code = f"""
a = area({size} + 2 * {PAGE})
libc.munmap(a, {PAGE})
libc.munmap(a + {PAGE} + {size}, {PAGE})
a += {PAGE}
ctypes.memset(a, 0x2e, {size})
for place in map(int, sys.argv[2:]):
    put(a + place)
print(a)
"""
    block = (1 << 20) + (64 << 10)
    for place in (
        0,
        size - len(NEEDLE),
        block - 5,
        block - 1,
        block,
        2 * block - (64 << 10) - 3,
        block - (64 << 10) - 2,
    ):
        with planted(code, str(place)) as victim:
            start = int(victim.said)
            for asked in ({"contents": ["Kq7-[a-z-]+memory"]}, {"bytes": [NEEDLE.encode().hex()]}):
                assert place_of(victim, start, size, **asked) == place, (place, asked)


@linux
def test_a_match_may_cross_from_region_to_region_but_not_over_what_cannot_be_read():
    code = f"""
a = area(4 * {PAGE})
put(a + {PAGE} - 7)
put(a + 3 * {PAGE} - 7)
assert libc.mprotect(a + {PAGE}, {PAGE}, 1) == 0
assert libc.mprotect(a + 3 * {PAGE}, {PAGE}, 0) == 0
print(a)
"""
    with planted(code) as victim:
        start = int(victim.said)
        assert place_of(victim, start, 4 * PAGE, contents=["needle-of-the"]) == PAGE - 3
        assert place_of(victim, start, 4 * PAGE, bytes=[NEEDLE.encode().hex()]) == PAGE - 7
        assert place_of(victim, start + 2 * PAGE, 2 * PAGE, contents=["Kq7-nee$"]) == PAGE - 7
        assert place_of(victim, start + 2 * PAGE, 2 * PAGE, contents=["Kq7-need"]) is None


@linux
def test_anchors_hold_at_newlines_and_where_memory_begins_and_ends():
    code = f"""
a = area(3 * {PAGE})
libc.munmap(a, {PAGE})
libc.munmap(a + 2 * {PAGE}, {PAGE})
ctypes.memset(a + {PAGE}, 0x2e, {PAGE})
put(a + {PAGE}, b"first")
put(a + {PAGE} + 100, b"x\\nroot:x:0\\nend")
put(a + 2 * {PAGE} - 4, b"last")
print(a + {PAGE})
"""
    with planted(code) as victim:
        start = int(victim.said)
        expected = {
            "^root:": 102, "^x:": None, ":0$": 108, "^first": 0, r"\Afirst": 0, r"\Aroot": None, r"last\z": PAGE - 4,
            "last$": PAGE - 4, r"end\z": None, r"\bfirst": 0, r"\broot\b": 102, r"\Boot": 103,
        }  # fmt: skip
        assert {text: place_of(victim, start, PAGE, contents=[text]) for text in expected} == expected


@linux
def test_offset_and_maxlength_are_exact():
    with planted(f"a = area(8 * {PAGE})\nctypes.memset(a, 0x2e, 8 * {PAGE})\nput(a + 9000)\nprint(a)") as victim:
        start, size = int(victim.said) + 9000, len(NEEDLE)
        needle = {"bytes": [NEEDLE.encode().hex()]}
        assert place_of(victim, start, size, **needle) == 0
        assert place_of(victim, start, size - 1, **needle) is None
        assert place_of(victim, start + 1, 8 * PAGE, **needle) is None
        assert place_of(victim, start - 100, size + 100, **needle) == 100


@linux
def test_pages_that_were_never_touched_count_as_zeros():
    with planted(f"a = area(64 << 20)\nput(a + {PAGE} - 2, b'ab')\nput(a + (60 << 20), b'cd')\nprint(a)") as victim:
        start = int(victim.said)
        assert place_of(victim, start, 64 << 20, bytes=["6162" + "00" * 100]) == PAGE - 2
        assert place_of(victim, start, 64 << 20, bytes=["00" * 100 + "6364"]) == (60 << 20) - 100
        assert place_of(victim, start, 64 << 20, contents=["^cd"]) is None


def resident_kb(pid):
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {line.split(":")[0]: int(line.split()[1]) for line in lines if line.startswith(("VmRSS", "VmPTE", "VmSwap"))}


@linux
def test_the_process_that_is_read_is_not_stopped_and_does_not_grow(tmp_path):
    file = tmp_path / "mapped"
    file.write_bytes(b"\1" * (64 << 20))
    code = f"""
area(1 << 40, protection=1)
f = open({str(file)!r}, 'rb')
area(64 << 20, f.fileno(), 1)
a = area(1 << 30)
put(a)
print(a)
"""
    with planted(code) as victim:
        before = resident_kb(victim.pid)
        began = time.monotonic()
        result = ask(contents=["never-there-[0-9]+"], bytes=["0badc0de0badc0de"])
        assert time.monotonic() - began < 60
        after = resident_kb(victim.pid)
        assert result["statistics"]["memoryread"] < 4 << 30
        assert all(after[name] - before[name] < 2000 for name in before), (before, after)  # what it did itself
        status = Path(f"/proc/{victim.pid}/status").read_text()
        assert "TracerPid:\t0" in status
        assert "State:\tS" in status
        assert victim.process.poll() is None


@root
def test_what_a_process_maps_of_a_file_and_has_not_touched_is_read_from_it(tmp_path):
    file = tmp_path / "mapped"
    file.write_bytes(b"." * 500_000 + NEEDLE.encode() + b"." * 500_000)
    code = f"f = open({str(file)!r}, 'r+b')\na = area(1 << 20, f.fileno(), 1)\nos.unlink(f.name)\nf.close()\nprint(a)"
    with planted(code) as victim:
        start = int(victim.said)
        assert place_of(victim, start, 1 << 20, contents=["Kq7-[a-z-]+memory"]) == 500_000
        element = found(ask(bytes=[NEEDLE.encode().hex()], options={"offset": start, "maxlength": 1 << 20}))[victim.pid]
        assert element["matches"][0]["region"] == f"{file} (deleted)"
        assert victim.pid in found(ask(libraries=["mapped$"]))
        assert victim.pid in found(ask(libraries=[r"mapped \(deleted\)$"]))
        assert victim.pid not in found(ask(libraries=["^mapped$"]))


@linux
def test_names_and_libraries_are_those_of_mig():
    with planted("print('x')") as victim:
        assert victim.pid in found(ask(names=["python3[.0-9]*$"], libraries=["/libc[.-]"]))
        assert victim.pid not in found(ask(libraries=["python3[.0-9]*$"]))  # the executable itself is none
        assert victim.pid not in found(ask(libraries=["stack"]))
        assert victim.pid not in found(ask(names=["nginx"]))
    if Path("/proc/2/comm").exists() and Path("/proc/2/comm").read_text() == "kthreadd\n":
        assert found(ask(names=[r"^\[kthreadd\]$"]))[2]["process"]["name"] == "[kthreadd]"


@linux
def test_each_check_reports_its_own_under_matchany():
    with planted("a = area(1 << 20)\nput(a)\nprint(a)") as victim:
        start = int(victim.said)
        asked = {
            "names": ["^nowhere$"], "libraries": ["/libc[.-]"], "contents": ["needle-of-the"], "bytes": ["0badc0de0badc0de"],
            "options": {"offset": start, "maxlength": 1 << 20},
        }  # fmt: skip
        result = run({"s1": asked})
    elements = result["elements"]["s1"]
    mine = [one for one in elements if one["process"]["pid"] in (0, victim.pid)]
    assert [one["search"] for one in mine] == [
        {"names": ["^nowhere$"], "options": {}},
        {"libraries": ["/libc[.-]"], "options": {}},
        {"contents": ["needle-of-the"], "options": {}},
        {"bytes": ["0badc0de0badc0de"], "options": {}},
    ]
    assert [one["process"]["pid"] for one in mine] == [0, victim.pid, victim.pid, 0]
    assert [sorted(one) for one in mine] == [["process", "search"]] * 2 + [
        ["matches", "process", "search"],
        ["process", "search"],
    ]


@linux
def test_all_must_hold_under_matchall_though_in_different_places():
    with planted("a = area(1 << 20)\nput(a)\nput(a + 70000, b'second')\nprint(a)") as victim:
        options = {"offset": int(victim.said), "maxlength": 1 << 20}
        both = found(ask(contents=["needle-of", "second"], bytes=["7365636f"], options=options))[victim.pid]
        assert [int(match["address"], 16) - int(victim.said) for match in both["matches"]] == [4, 70000, 70000]
        assert both["search"]["options"] == {**options, "matchall": True}
        assert victim.pid not in found(ask(contents=["needle-of", "third"], options=options))


@linux
def test_we_do_not_find_ourselves():
    mine = f"what only {os.getpid()} holds, {time.time()}"
    result = run({"s1": {"contents": [mine], "options": {"matchall": True}}})
    assert not {os.getpid(), os.getppid()} & set(found(result))


@root
def test_a_process_that_may_not_be_read_is_a_failure_in_migs_words():
    with planted("put(area(1 << 20))\nprint('x')") as victim:
        os.seteuid(65534)
        try:
            result = run({"s1": {"contents": ["needle-of"], "options": {"matchall": True}}})
        finally:
            os.seteuid(0)
    assert f"Permission denied to access memory of process {victim.pid}" in result["statistics"]["failures"]
    assert any(text.startswith("could not read the executable of ") for text in result["errors"])
    assert victim.pid not in found(result)


@linux
def test_at_its_deadline_a_run_answers_with_what_it_has():
    result = run({"s1": {"contents": ["x"], "options": {"matchall": True}}}, deadline_s=time.monotonic())
    assert result["success"]
    assert any("the time was up before" in text for text in result["errors"])


@linux
def test_a_process_that_ends_while_it_is_read_is_told_apart_from_one_without_memory():
    with planted("put(area(1 << 20))\nprint('x')") as victim, Process(victim.pid) as process:
        reader = Reader(process, [], Buffer(), deadline_s=float("inf"), devices={})
        region = next(process.regions())
        os.kill(victim.pid, signal.SIGKILL)
        victim.process.wait()
        with pytest.raises(Ended):
            reader.run(offset=0, maxlength=0, swapped=False)
        with pytest.raises(Ended):
            reader._read(Span(region.start, region.end, "memory", region))
        reader.close()


def region_of(path, *, inode=7, start=0x1000, end=0x9000, permissions=b"r--p"):
    return Region(start, end, permissions, 0, b"00:06", inode, path)


def test_devices_are_never_read():
    def asked(answer, path):
        def status(region):
            if isinstance(answer, OSError):
                raise answer
            return answer

        return device_reason(cast("Any", SimpleNamespace(mapped_status=status)), region_of(path), {})

    denied = PermissionError(1, "x")
    device = SimpleNamespace(st_mode=stat.S_IFCHR, st_rdev=os.makedev(1, 1))
    assert asked(device, b"/srv/looks-like-a-file") == "maps a device"
    assert asked(SimpleNamespace(st_mode=stat.S_IFCHR, st_rdev=os.makedev(1, 5)), b"/dev/zero") == ""
    assert asked(SimpleNamespace(st_mode=stat.S_IFREG), b"/dev/looks-like-a-device") == ""
    assert asked(denied, b"/dev/nvidia0") == "maps a device"
    assert asked(denied, b"/sys/bus/pci/x/resource0") == "maps a device"
    assert asked(denied, b"/dev/shm/x") == asked(denied, b"/usr/lib/x") == ""
    assert device_reason(cast("Any", SimpleNamespace()), region_of(b"[heap]", inode=0), {}) == ""


def test_what_is_the_kernels_or_not_readable_is_left_out():
    lines = [
        b"1000-2000 ---p 00000000 00:00 0 ",
        b"2000-3000 -w-p 00000000 00:00 0 ",
        b"3000-4000 r--p 00000000 00:00 0                                  [vvar]",
        b"4000-5000 r--p 00000000 00:00 0                                  [vvar_vclock]",
        b"5000-6000 r-xp 00000000 00:00 0                                  [vdso]",
        b"6000-8000 r--p 00001000 fe:00 7                                  /usr/lib/[vvar",
        b"ffffffffff600000-ffffffffff601000 r-xp 00000000 00:00 0          [vsyscall]",
    ]
    regions = [region for line in lines if (region := parse_region(line))]
    assert [region.start for region in readable(regions, offset=0, maxlength=0)] == [0x5000, 0x6000]
    cut = list(readable(regions, offset=0x5800, maxlength=0x1000))
    assert [(region.start, region.end, region.offset) for region in cut] == [
        (0x5800, 0x6000, 0x800),
        (0x6000, 0x6800, 0x1000),
    ]


def test_a_page_table_becomes_spans(tmp_path, monkeypatch):
    monkeypatch.setattr("investigator.modules.memory.spans.can_scan", lambda: False)
    present, swapped = (1 << 63), (1 << 62)
    entries = [0, present, present, swapped, 0, present | swapped, 0, 0]
    file = tmp_path / "pagemap"
    file.write_bytes(b"".join(entry.to_bytes(8, "little") for entry in [0, *entries]))
    with open(file, "rb") as table:
        region = region_of(b"", inode=0, start=PAGE, end=9 * PAGE)
        kinds = [
            (span.start // PAGE, span.end // PAGE, span.kind) for span in spans(region, table.fileno(), swapped=False)
        ]
        assert kinds == [
            (1, 2, "zeros"),
            (2, 4, "memory"),
            (4, 5, "swapped"),
            (5, 6, "zeros"),
            (6, 7, "memory"),
            (7, 9, "zeros"),
        ]
        cut = region._replace(start=PAGE + 5, end=4 * PAGE + 9, inode=7)
        kinds = [(span.start, span.end, span.kind) for span in spans(cut, table.fileno(), swapped=True)]
        assert kinds == [(PAGE + 5, 2 * PAGE, "file"), (2 * PAGE, 4 * PAGE + 9, "memory")]
        with pytest.raises(OSError, match="ends early"):
            list(spans(region._replace(end=99 * PAGE), table.fileno(), swapped=False))


@linux
def test_the_kernels_own_scan_says_the_same_as_the_page_table(monkeypatch):
    """What is asked of the whole is asked of a part that begins and ends within pages, too."""
    if not can_scan():
        pytest.skip("PAGEMAP_SCAN came with Linux 6.7")
    code = f"a = area(1 << 30)\nfor n in range(3000):\n    put(a + n * {2 * PAGE})\nprint(a)"
    with planted(code) as victim, Process(victim.pid) as process:
        table = process.open_pagemap()
        for region in readable(process.regions(), offset=0, maxlength=0):
            for part in (region, region._replace(start=region.start + 100, end=region.end - 77)):
                monkeypatch.setattr("investigator.modules.memory.spans.can_scan", lambda: True)
                scanned = list(spans(part, table, swapped=False))
                monkeypatch.setattr("investigator.modules.memory.spans.can_scan", lambda: False)
                assert scanned == list(spans(part, table, swapped=False))
                assert (scanned[0].start, scanned[-1].end) == (part.start, part.end)
        os.close(table)


@pytest.mark.parametrize(
    ("asked", "text"),
    [
        ({"searches": {"s1": {}}}, "searches.s1: nothing to search for"),
        ({"searches": {"bad label": {"names": ["x"]}}}, "searches: label 'bad label'"),
        ({"searches": {"s1": {"contents": ["["]}}}, "searches.s1.contents: regular expression '['"),
        ({"searches": {"s1": {"names": ["x("]}}}, "searches.s1.names: regular expression 'x('"),
        ({"searches": {"s1": {"bytes": ["0x41"]}}}, "searches.s1.bytes: '0x41' is no bytes in hex"),
        ({"searches": {"s1": {"bytes": ["414"]}}}, "searches.s1.bytes: '414' is no bytes in hex"),
        ({"searches": {"s1": {"bytes": [""]}}}, "searches.s1.bytes: an empty value"),
        ({"searches": {"s1": {"bytes": ["41" * 20_000]}}}, "20,000 bytes to look for; 16,384 at most"),
        ({"searches": {"s1": {"contents": [f"x{n}" for n in range(101)]}}}, "101 contents and bytes to look for; 100 at most"),
        ({"searches": {"s1": {"names": ["x"], "options": {"offset": -1}}}}, "searches.s1.options.offset"),
        ({"searches": {"s1": {"names": ["x"], "options": {"maxdepth": 1}}}}, "there is no parameter 'maxdepth'"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused_by_name(asked, text):
    with pytest.raises(BadInput) as refusal:
        load_parameters(MODULE, asked)
    assert text in str(refusal.value).replace("searches[...]", "searches.s1")
    assert "\n" not in str(refusal.value)


def test_the_longest_bytes_are_taken():
    load_parameters(MODULE, {"searches": {"s1": {"bytes": ["4a" * 16_384]}}})


RESULT: dict[str, Any] = {
    "foundanything": True,
    "success": True,
    "elements": {
        "s1": [
            {
                "process": {"name": "/usr/bin/x", "pid": 77},
                "search": {"names": ["x"], "contents": ["y"], "options": {"matchall": True}},
                "matches": [{"contents": "y", "address": "0x7f00", "region": "/srv/secret.db"}],
            }
        ],
        "s2": [
            {"process": {"name": "/usr/bin/x", "pid": 77}, "search": {"libraries": ["libc"], "options": {}}},
            {
                "process": {"name": "/usr/bin/x", "pid": 77},
                "search": {"bytes": ["4142"], "options": {}},
                "matches": [{"bytes": "4142", "address": "0x7f10", "region": "[heap]"}],
            },
            {"process": {"name": "", "pid": 0}, "search": {"contents": ["z"], "options": {}}},
        ],
        "s3": [{"process": {"name": "", "pid": 0}, "search": {"names": ["q"], "options": {"matchall": True}}}],
    },
    "statistics": {
        "processcount": 12, "memoryread": 99, "totalhits": 3, "exectime": "1.5ms",
        "failures": ["Permission denied to access memory of process 1"],
    },
    "errors": ["could not read the executable of process 1: permission denied", "warning: the time was up"],
}  # fmt: skip


def test_lines_are_migs_with_the_addresses_behind_them():
    positive = [
        "/usr/bin/x [pid:77] in search 's1' at 0x7f00 /srv/secret.db",
        "/usr/bin/x [pid:77] in search 's2' on checks library='libc'",
        "/usr/bin/x [pid:77] in search 's2' on checks byte='4142' at 0x7f10 [heap]",
    ]
    assert list(MODULE.lines(RESULT, everything=False)) == [*positive, "warning: the time was up"]
    assert list(MODULE.lines(RESULT, everything=True)) == [
        *positive,
        "0 match found in search 's2' on checks content='z'",
        "0 match found in search 's3'",
        "Failure: Permission denied to access memory of process 1",
        "could not read the executable of process 1: permission denied",
        "warning: the time was up",
        "Statistics: 12 processes checked, 3 matched, 1 failures, ran in 1.5ms.",
    ]


def test_in_privacy_mode_a_result_names_no_process_and_no_file():
    masked = MODULE.masked(RESULT, load_parameters(MODULE, {"searches": {"s1": {"names": ["x"]}}}))
    first, second = masked["elements"]["s1"][0], masked["elements"]["s2"][1]
    assert first["process"] == {"name": MASK, "pid": 77}
    assert first["matches"] == [{"contents": "y", "address": "0x7f00", "region": MASK}]
    assert second["matches"][0]["region"] == "[heap]"
    assert masked["statistics"]["failures"] == [MASK]
    assert masked["errors"] == [MASK, MASK]
    assert masked["elements"]["s3"] == RESULT["elements"]["s3"]
    assert next(iter(MODULE.lines(masked, everything=True))) == "masked [pid:77] in search 's1' at 0x7f00 masked"
    assert MASK not in RESULT["statistics"]["failures"]


def test_the_flags_that_mig_has_and_those_that_its_help_says_are_the_same():
    assert MODULE.spec.flags is not None
    flags = module_flags(MODULE.spec.flags)
    assert flags["maxdepth"] is flags["offset"]
    assert flags["matchlimit"] is flags["maxlength"]
    asked = MODULE.from_flags({"names": ["x"], "options": {"matchall": True, "matchany": True}})
    assert asked == {"searches": {"s1": {"names": ["x"], "options": {"matchall": False}}}}


def test_a_page_is_what_the_kernel_says_it_is():
    assert mmap.PAGESIZE == PAGE
