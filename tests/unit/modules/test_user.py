"""A host's people, from files as they stand there: what is asked finds them, and no hash or argument is ever told."""

import asyncio
import contextlib
import os
import pwd
import shutil
import sqlite3
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from investigator.agent.limits import Limits
from investigator.agent.runner import Runner
from investigator.errors import BadInput, BadParameters, BadRegex
from investigator.modules import get_module
from investigator.modules.interface import MASK, Context, load_parameters
from investigator.modules.notes import Notes
from investigator.modules.user import UserModule
from investigator.modules.user.accounts import parse_group, parse_passwd, parse_shadow
from investigator.modules.user.sudo_files import MAX_DEPTH, MAX_FILES, read_sudoers
from investigator.modules.user.sudoers import MAX_ITEMS, Sudoers, expanded, keys_of
from investigator.modules.user.utmp import last_login, layout_of, logins_in
from secret_scenarios import CONTENT, NAME, Scenario

MODULE = get_module("user")
NOW_S = 1_795_500_000
DAY_S = 86_400
HASH = "$6$salt$PLANTEDHASH"
PASSWD = """\
root:x:0:0:root:/root:/bin/bash
daemon:x:1:1::/usr/sbin:/usr/sbin/nologin
alice:x:1000:1000:Alice Liddell,,,:/home/alice:/bin/zsh
bob:x:1001:100::/home/bob:/bin/bash
toor:x:0:0::/root:/bin/sh
old:$1$OLDHASH:1002:1002::/home/old:
open::1003:1003::/home/open:/bin/sh
+::::::
# a comment
broken:x:abc:0::/:/bin/sh
short:x:1
"""
GROUP = "root:x:0:\nusers:x:100:alice\nalice:x:1000:\nwheel:x:10:alice,bob,ldapuser\nempty:x:11:\nbad:x:y:\n"
SHADOW = f"root:!:1::::::\nalice:{HASH}:1::::::\nbob:!{HASH}:1::::::\ntoor::1::::::\ndaemon:*:1::::::\n"
SUDOERS = """\
# PLANTEDCOMMENT
Defaults env_reset, secure_path="/usr/sbin:/usr/bin"
User_Alias ADMINS = alice, %ops : NOBODYS = !alice, ADMINS
Cmnd_Alias SHELLS = /bin/sh, /bin/bash, \\
    /bin/zsh : TOOLS = SHELLS, /usr/bin/apt install PLANTEDARG
root ALL=(ALL:ALL) ALL
ADMINS web1, web2 = (root) NOPASSWD: TOOLS, PASSWD: sha256:aGVsbG8= /sbin/ip link : db = /bin/ls
%wheel ALL = ALL
#1003 ALL=(bob) NOEXEC: NOPASSWD: sudoedit /etc/motd # a comment
ALL, !bob ALL = /usr/bin/id
rubbish without an equals sign
@includedir /etc/sudoers.d
#include sudoers.more
"""
TOOLS = (
    "web1,web2=(root) NOPASSWD: /bin/sh, (root) NOPASSWD: /bin/bash, (root) NOPASSWD: /bin/zsh, "
    "(root) NOPASSWD: /usr/bin/apt …, PASSWD: sha256: aGVsbG8= /sbin/ip …"
)
linux = pytest.mark.skipif(sys.platform != "linux", reason="reads Linux's files")


def record(user: str, time_s: int, *, line: str = "pts/0", host: str = "", kind: int = 7) -> bytes:
    """A wtmp record of this machine's layout, packed by hand."""
    size = layout_of(os.uname().machine).record.size
    head = struct.pack("=hxxi32s4s32s256s4x", kind, 1, line.encode(), b"0", user.encode(), host.encode())
    at = struct.pack("=4xI", time_s) if size == 384 else struct.pack("=8xq", time_s)
    return (head + at).ljust(size, b"\0")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A host of three people and some strange accounts."""
    files = {
        "etc/passwd": PASSWD,
        "etc/group": GROUP,
        "etc/shadow": SHADOW,
        "etc/sudoers": SUDOERS,
        "etc/sudoers.d/10-first": "bob ALL=(ALL) NOPASSWD: /usr/bin/systemctl restart PLANTEDARG\n@include /etc/sudoers\n",
        "etc/sudoers.d/ignored.bak": "bob ALL=ALL\n",
        "etc/sudoers.d/ignored~": "bob ALL=ALL\n",
        "etc/sudoers.more": "ldapuser ALL = ALL\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o600)
    log = tmp_path / "var/log"
    log.mkdir(parents=True)
    wtmp = [
        record("alice", NOW_S - 40 * DAY_S, host="10.0.0.1"),
        record("alice", NOW_S - 2 * DAY_S, line="pts/3", host="gateway.example.net"),
        record("stranger", NOW_S),
        record("bob", NOW_S, kind=8),
        record("bob", NOW_S - 100 * DAY_S),
    ]
    (log / "wtmp").write_bytes(b"".join(wtmp) + b"torn")
    return tmp_path


@contextlib.contextmanager
def planted(folder: Path) -> Iterator[Scenario]:
    """Secrets in hashes, arguments, comments and what is not understood; names in everything that has one."""
    (folder / "etc").mkdir()
    (folder / "var/log").mkdir(parents=True)
    (folder / "etc/passwd").write_text(
        f"{NAME}:x:7:7:{NAME}:/home/{NAME}:/bin/{NAME}\n{CONTENT}\nold:{CONTENT}:8:8::/:\n"
    )
    (folder / "etc/group").write_text(f"{NAME}:{CONTENT}:7:{NAME}\n{CONTENT}\n")
    (folder / "etc/shadow").write_text(f"{NAME}:$6${CONTENT}:1:2:3\n")
    (folder / "etc/sudoers").write_text(f"{NAME} ALL=/bin/{NAME} -p{CONTENT} # {CONTENT}\n{CONTENT}\n@include {NAME}\n")
    (folder / "var/log/wtmp").write_bytes(record(NAME, NOW_S, line=NAME, host=NAME))
    asked: tuple[dict[str, Any], ...] = ({"names": ["."]}, {"groups": ["."]}, {"sudo": ["."]}, {"passwords": ["set"]})
    MODULE._root, before = str(folder), MODULE._root  # type: ignore[attr-defined]
    try:
        yield Scenario(asked=asked, named=(NAME,))
    finally:
        MODULE._root = before  # type: ignore[attr-defined]


def run(root: Path, *, context: Context | None = None, **asked: Any) -> dict[str, Any]:
    module = UserModule(str(root))
    result = module.run(load_parameters(module, asked), context or Context(now=NOW_S))
    shown: dict[str, Any] = orjson.loads(orjson.dumps(msgspec.structs.asdict(result)))
    text = str(shown)
    assert "HASH" not in text
    assert "PLANTED" not in text
    return shown


def names(root: Path, **asked: Any) -> list[str]:
    return [one["name"] for one in run(root, **asked)["elements"]["accounts"]]


def one(root: Path, name: str) -> dict[str, Any]:
    (found,) = run(root, names=[f"^{name}$"])["elements"]["accounts"]
    return dict(found)


def test_an_account_has_all_that_the_files_say_of_it(root: Path) -> None:
    assert one(root, "alice") == {
        "name": "alice",
        "uid": 1000,
        "gid": 1000,
        "groups": ["alice", "users", "wheel"],
        "comment": "Alice Liddell,,,",
        "home": "/home/alice",
        "shell": "/bin/zsh",
        "password": "set",
        "lastlogin": {
            "time": "2026-11-22 06:00:00 +0000 UTC",
            "line": "pts/3",
            "host": "gateway.example.net",
            "source": "wtmp",
        },
        "sudo": [
            TOOLS,
            "db=/bin/ls",
            "ALL=ALL",
            "ALL=/usr/bin/id",
        ],
    }


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({"names": ["."]}, ["root", "toor", "daemon", "alice", "bob", "old", "open"]),
        ({"names": ["^[ab]", "b$"]}, ["bob"]),
        ({"names": ["^[ab]", "!b$"]}, ["alice"]),
        ({"uids": ["0"]}, ["root", "toor"]),
        ({"uids": [">1000", "<1001"]}, ["alice", "bob"]),
        ({"groups": ["^wheel$"]}, ["alice", "bob"]),
        ({"groups": ["^users$"]}, ["alice", "bob"]),
        ({"groups": ["!."]}, []),
        ({"shells": ["sh$"], "uids": [">1000"]}, ["alice", "bob", "old", "open"]),
        ({"homes": ["^/root$"]}, ["root", "toor"]),
        ({"comments": ["Liddell"]}, ["alice"]),
        ({"passwords": ["none"]}, ["toor", "open"]),
        ({"passwords": ["locked"]}, ["root", "daemon", "bob"]),
        ({"passwords": ["set", "none"], "uids": [">1000"]}, ["alice", "old", "open"]),
        ({"lastlogins": ["<7d"]}, ["alice"]),
        ({"lastlogins": [">90d"], "uids": [">1000"]}, ["bob", "old", "open"]),
        ({"lastlogins": ["never"], "uids": [">1000"]}, ["old", "open"]),
        ({"sudo": ["NOPASSWD"]}, ["alice", "bob", "open"]),
        ({"sudo": ["PLANTEDARG"]}, ["alice", "bob"]),
        ({"sudo": ["/usr/bin/id$"], "uids": [">1000"]}, ["alice", "old", "open"]),
        ({"sudo": ["!."]}, []),
        ({"names": ["^old$"], "comments": ["Liddell"], "options": {"matchall": False}}, ["alice", "old"]),
    ],
)
def test_checks_choose_accounts(root: Path, asked: dict[str, Any], found: list[str]) -> None:
    assert names(root, **asked) == found


def test_asked_alone_groups_and_rules_are_listed_whoever_they_are_for(root: Path) -> None:
    result = run(root, groups=["^(wheel|empty)$"])
    assert result["elements"]["groups"] == [
        {"name": "wheel", "gid": 10, "members": ["alice", "bob", "ldapuser"]},
        {"name": "empty", "gid": 11, "members": []},
    ]
    assert run(root, groups=["^wheel$"], names=["nobody"])["elements"] == {"accounts": [], "groups": [], "sudoers": []}
    result = run(root, sudo=["^ldapuser "])
    assert result["foundanything"]
    assert result["elements"]["sudoers"] == [
        {"who": "ldapuser", "rule": "ALL=ALL", "file": "/etc/sudoers.more", "line": 1}
    ]


def test_what_is_not_understood_is_said_and_the_rest_stands(root: Path) -> None:
    assert run(root, names=["."])["errors"] == [
        "could not understand /etc/passwd, line 10",
        "could not understand /etc/passwd, line 11",
        "could not understand /etc/group, line 6",
        "could not understand /etc/sudoers, line 11",
    ]


def test_statistics_count_what_there_is(root: Path) -> None:
    result = run(root, names=["."])
    statistics = result["statistics"]
    assert statistics.pop("exectime")
    assert statistics == {
        "accounts": 7, "groups": 5, "sudorules": 8, "loginsources": ["/var/log/wtmp"], "totalhits": 7,
    }  # fmt: skip


def test_the_last_login_is_the_newest_of_all_records(root: Path) -> None:
    layout = layout_of(os.uname().machine)
    lastlog = bytearray(layout.last.size * 1004)
    layout.last.pack_into(lastlog, layout.last.size * 1003, NOW_S - 5, b"tty1", b"")
    (root / "var/log/lastlog").write_bytes(lastlog)
    (root / "var/run").mkdir()
    (root / "var/run/utmp").write_bytes(record("bob", NOW_S - 60, line="tty2"))
    for folder, file, schema, row in (
        ("lastlog", "lastlog2.db", "Lastlog2(Name TEXT PRIMARY KEY, Time INTEGER, TTY TEXT, RemoteHost TEXT, Service TEXT)",
         ("old", NOW_S - 7, "ssh", "2001:db8::1", "sshd")),
        ("wtmpdb", "wtmp.db", "wtmp(ID INTEGER PRIMARY KEY, Type INTEGER, User TEXT NOT NULL, Login INTEGER, Logout INTEGER, TTY TEXT, RemoteHost TEXT, Service TEXT)",
         (1, 3, "root", (NOW_S - 9) * 1_000_000, None, "tty9", None, "login")),
    ):  # fmt: skip
        (root / "var/lib" / folder).mkdir(parents=True)
        with sqlite3.connect(root / "var/lib" / folder / file) as database:
            database.execute(f"CREATE TABLE {schema}")
            database.execute(f"INSERT INTO {schema[: schema.index('(')]} VALUES ({','.join('?' * len(row))})", row)
        database.close()
    result = run(root, names=["."])
    logins = {each["name"]: each["lastlogin"] for each in result["elements"]["accounts"]}
    assert {name: login and login["source"] for name, login in logins.items()} == {
        "root": "wtmpdb", "toor": None, "daemon": None, "alice": "wtmp", "bob": "utmp", "old": "lastlog2", "open": "lastlog",
    }  # fmt: skip
    assert (logins["old"]["host"], logins["root"]["line"], logins["bob"]["line"]) == ("2001:db8::1", "tty9", "tty2")
    assert len(result["statistics"]["loginsources"]) == 5


@pytest.mark.skipif(shutil.which("utmpdump") is None, reason="has util-linux write the records")
def test_records_that_util_linux_wrote_are_read(root: Path) -> None:
    text = "[7] [04242] [ts/1] [alice   ] [pts/7       ] [far.example.net     ] [203.0.113.9    ] [2026-11-24T05:00:00,000000+00:00]\n"
    done = subprocess.run(["utmpdump", "-r"], input=text.encode(), capture_output=True, check=True)
    (root / "var/log/wtmp.1").write_bytes(done.stdout)
    assert one(root, "alice")["lastlogin"] == {
        "time": "2026-11-24 05:00:00 +0000 UTC", "line": "pts/7", "host": "far.example.net", "source": "wtmp.1",
    }  # fmt: skip


def test_a_database_that_is_none_and_one_that_never_ends_are_errors(root: Path) -> None:
    folder = root / "var/lib/lastlog"
    folder.mkdir(parents=True)
    (folder / "lastlog2.db").write_bytes(b"SQLite format 3\0" + b"\xff" * 4000)
    assert any(
        text.startswith("could not read /var/lib/lastlog/lastlog2.db: ") for text in run(root, names=["."])["errors"]
    )
    (folder / "lastlog2.db").unlink()
    with sqlite3.connect(folder / "lastlog2.db") as database:
        database.execute(
            "CREATE VIEW Lastlog2(Name, Time, TTY, RemoteHost) AS WITH RECURSIVE r(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM r)"
            " SELECT 'a', 0 * x, '', '' FROM r"
        )
    database.close()
    soon = Context(now=NOW_S, deadline_s=time.monotonic() + 1.5)
    assert "could not read /var/lib/lastlog/lastlog2.db: interrupted" in run(root, names=["."], context=soon)["errors"]


def test_unreadable_files_are_errors_and_passwords_then_unknown(root: Path) -> None:
    (root / "etc/shadow").unlink()
    os.mkfifo(root / "etc/shadow")
    result = run(root, passwords=["unknown"])
    assert [each["name"] for each in result["elements"]["accounts"]] == ["root", "toor", "daemon", "alice", "bob"]
    assert "could not read /etc/shadow: is a FIFO, not a regular file" in result["errors"]


def test_without_records_of_logins_that_is_said(root: Path) -> None:
    (root / "var/log/wtmp").unlink()
    told = "warning: this host keeps no record of logins: who ever logged in is unknown"
    assert told in run(root, lastlogins=["never"])["errors"]
    assert told not in run(root, names=["."])["errors"]


def test_limits_are_said(root: Path) -> None:
    result = run(root, names=["."], options={"matchlimit": 2})
    assert len(result["elements"]["accounts"]) == 2
    assert "warning: 7 accounts match, of which 2 are returned (-matchlimit)" in result["errors"]
    small = run(root, names=["."], context=Context(now=NOW_S, result_bytes=(256 << 10) + 700))
    assert 0 < len(small["elements"]["accounts"]) < 7
    assert any("more findings than a result can hold" in text for text in small["errors"])


def test_names_that_are_no_utf8_come_back_losslessly(root: Path) -> None:
    with (root / "etc/passwd").open("ab") as file:
        file.write(b"caf\xe9:x:2000:2000::/home/caf\xe9:/bin/sh\n")
    (found,) = run(root, uids=["2000"])["elements"]["accounts"]
    assert (found["name"], found["home"]) == (r"$'caf\xe9'", r"$'/home/caf\xe9'")
    assert names(root, names=["^caf.$"]) == [r"$'caf\xe9'"]


def sudoers(root: Path, text: str) -> tuple[Sudoers, list[str]]:
    (root / "etc").mkdir(exist_ok=True)
    (root / "etc/sudoers").write_text(text)
    (root / "etc/sudoers").chmod(0o440)
    notes = Notes()
    return read_sudoers(str(root), notes), notes.texts() or []


def users(found: Sudoers) -> list[dict[str, bool]]:
    return [found.users_of(rule) for rule in found.rules]


def test_includes_that_form_a_loop_are_read_once(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/b").write_text("@include sudoers\nb ALL=ALL\n")
    found, told = sudoers(tmp_path, "@include /etc/b\n#include b\n@include sudoers\na ALL=ALL\n")
    assert [rule.who for rule in found.rules] == [("b",), ("a",)]
    assert told == []


def test_includes_are_capped_in_number_and_depth(tmp_path: Path) -> None:
    (tmp_path / "etc/d").mkdir(parents=True)
    for number in range(MAX_DEPTH + 5):
        (tmp_path / f"etc/{number}").write_text(f"@include {number + 1}\nu{number} ALL=ALL\n")
    found, told = sudoers(tmp_path, "@include 0\n")
    assert len(found.rules) == MAX_DEPTH
    assert told == [f"warning: /etc/{MAX_DEPTH} was not read: too many files of sudoers, or too deep"]
    for number in range(MAX_FILES + 5):
        (tmp_path / f"etc/d/{number:04}").write_text("u ALL=ALL\n")
    found, told = sudoers(tmp_path, "@includedir /etc/d\n")
    assert len(found.rules) == MAX_FILES - 1
    assert len(told) == 6


def test_an_include_that_is_gone_is_an_error_and_a_folder_that_is_gone_none(tmp_path: Path) -> None:
    _, told = sudoers(tmp_path, "@include /etc/gone\n@includedir /etc/gone.d\n")
    assert told == ["could not read /etc/gone: no such file or directory"]


def test_a_file_that_others_can_write_is_named(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/loose").write_text("a ALL=ALL\n")
    (tmp_path / "etc/loose").chmod(0o666)
    found, told = sudoers(tmp_path, '@include "loose"\n')
    assert len(found.rules) == 1
    assert told == ["warning: /etc/loose: others than root can write it, and sudo may refuse it"]


@pytest.mark.parametrize(
    ("line", "whom", "rule"),
    [
        ("a,b  ALL=ALL", {"a": True, "b": True}, "ALL=ALL"),
        ("a , !b ALL = (root) ALL", {"a": True, "b": False}, "ALL=(root) ALL"),
        ('"domain user" ALL=ALL', {"domain user": True}, "ALL=ALL"),
        (r"domain\\user ALL=ALL", {r"domain\user": True}, "ALL=ALL"),
        ("%#27 ALL=ALL", {"%#27": True}, "ALL=ALL"),
        ("#0 ALL=ALL # comment", {"#0": True}, "ALL=ALL"),
        ("a ALL=/bin/sh -c x\\,y, /bin/ls", {"a": True}, "ALL=/bin/sh …, /bin/ls"),
        ('a ALL=/bin/echo "x, y", ALL', {"a": True}, "ALL=/bin/echo …, ALL"),
        ("a ALL=(b,c:d) SETENV:NOPASSWD: ALL", {"a": True}, "ALL=(b,c:d) SETENV: NOPASSWD: ALL"),
        ("a ALL=TIMEOUT=5m CWD=/tmp /bin/ls", {"a": True}, "ALL=TIMEOUT=5m CWD=/tmp /bin/ls"),
        ("a ALL=!/bin/su, !SU", {"a": True}, "ALL=!/bin/su, !SU"),
        ("a h1, h2=/x", {"a": True}, "h1,h2=/x"),
    ],
)
def test_a_rule_is_read_as_sudo_does(tmp_path: Path, line: str, whom: dict[str, bool], rule: str) -> None:
    found, told = sudoers(tmp_path, line + "\n")
    assert told == []
    assert users(found) == [whom]
    assert found.text(found.rules[0], arguments=False) == rule


def test_several_host_lists_are_several_rules_and_tags_are_no_separators(tmp_path: Path) -> None:
    found, _ = sudoers(tmp_path, "a h=NOPASSWD: /x : k, l=(r:g) /y z\n")
    assert [found.text(rule, arguments=True) for rule in found.rules] == ["h=NOPASSWD: /x", "k, l=(r:g) /y z"]


def test_the_last_item_that_fits_decides(tmp_path: Path) -> None:
    found, _ = sudoers(tmp_path, "User_Alias A = a, !b\na, ALL, !a ALL=ALL\n!A ALL=ALL\n")
    assert list(users(found)[0].items()) == [("ALL", True), ("a", False)]
    assert users(found)[1] == {"a": False, "b": True}
    assert keys_of("a", 7, ["g"], {9}) == {"ALL", "a", "#7", "%g", "%#9"}


def test_aliases_that_contain_each_other_end() -> None:
    loop = {f"A{number}": [f"A{other}" for other in range(200)] for number in range(200)}
    assert expanded(["A0"], loop) == []
    assert expanded(["A"], {"A": ["B", "x"], "B": ["!A", "!y"]}) == ["!y", "x"]
    assert len(expanded(["A"], {"A": ["x"] * 5000})) == MAX_ITEMS


TEXTS = st.lists(
    st.sampled_from(["root", ":", "x", "\n", "0", "%wheel", "ALL", "=", "(", ")", ",", "\\", '"', "!", "#", " ", "NOPASSWD:",
                     "User_Alias A", "Cmnd_Alias", "@include ", "/etc/x", "sha256:", "\udcff", "\t", "\0", "A"])
).map("".join)  # fmt: skip


@given(TEXTS)
def test_no_text_of_sudoers_breaks_the_reader(text: str) -> None:
    found = Sudoers()
    for _ in found.take(text, "/etc/sudoers"):
        pass
    for rule in found.rules:
        assert len(found.users_of(rule)) <= MAX_ITEMS
        assert len(found.text(rule, arguments=False)) <= len(found.text(rule, arguments=True)) + 2 * MAX_ITEMS


@given(st.one_of(st.binary(max_size=300), TEXTS.map(os.fsencode)))
def test_no_bytes_break_the_readers_of_accounts(content: bytes) -> None:
    wrong: list[int] = []
    for account in parse_passwd(content, wrong.append):
        assert account.password in ("none", "locked", "set", "unknown")
        assert 0 <= account.uid < 2**32
    parse_group(content, wrong.append)
    assert set(parse_shadow(content, wrong.append).values()) <= {"none", "locked", "set"}
    assert all(1 <= number <= content.count(b"\n") + 1 for number in wrong)


@given(st.binary(max_size=2000), st.sampled_from(("x86_64", "aarch64")))
def test_no_bytes_break_the_readers_of_logins(content: bytes, machine: str) -> None:
    layout = layout_of(machine)
    assert len(list(logins_in(content, layout, "wtmp"))) <= len(content) // layout.record.size
    last_login(content, layout)
    last_login(content.ljust(layout.last.size)[: layout.last.size], layout)


def test_both_layouts_have_the_c_librarys_sizes() -> None:
    assert (layout_of("x86_64").record.size, layout_of("x86_64").last.size) == (384, 292)
    assert (layout_of("aarch64").record.size, layout_of("aarch64").last.size) == (400, 296)


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({}, "names: a search needs at least one check"),
        ({"names": [""]}, "names: an empty regular expression matches everything; `.` says so"),
        ({"names": ["a("]}, "names: regular expression 'a(' does not compile: missing ) at character 2"),
        ({"sudo": ["!a["]}, "sudo: regular expression 'a[' does not compile"),
        ({"uids": ["-1"]}, "uids: '-1' is not of the form [<>]N, N up to 4294967295"),
        ({"uids": ["4294967296"]}, "uids: '4294967296' is not of the form"),
        ({"lastlogins": ["7d"]}, "lastlogins: '7d' is not of the form <N or >N and d, h or m, nor `never`"),
        ({"passwords": ["weak"]}, "module user: passwords[0]: Invalid enum value 'weak'"),
        ({"names": ["a"] * 1001}, "names: 1,001 checks in all; 1,000 at most"),
        ({"name": ["a"]}, "module user: parameters: there is no parameter 'name'; did you mean 'names'?"),
        ({"names": ["a"], "options": {"matchlimit": -1}}, "module user: options.matchlimit: "),
    ],
)
def test_bad_parameters_are_named(asked: dict[str, Any], told: str) -> None:
    with pytest.raises((BadParameters, BadRegex)) as caught:
        load_parameters(MODULE, asked)
    assert isinstance(caught.value, BadInput)
    assert str(caught.value).startswith(told)
    assert "\n" not in str(caught.value)


def test_flags_become_parameters_and_matchany_wins() -> None:
    made = MODULE.from_flags({"names": ["a"], "options": {"matchall": True, "matchany": True, "matchlimit": 5}})
    assert made == {"names": ["a"], "options": {"matchall": False, "matchlimit": 5}}
    load_parameters(MODULE, made)


def test_the_lines_say_it(root: Path) -> None:
    result = run(root, names=["^(bob|old)$"])
    result["statistics"]["exectime"] = "1ms"
    bob = (
        "account name=bob uid=1001 gid=100 groups=users,wheel home=/home/bob shell=/bin/bash password=locked "
        'lastlogin="2026-08-16 06:00:00 +0000 UTC on pts/0" sudo="ALL=ALL; ALL=(ALL) NOPASSWD: /usr/bin/systemctl …"'
    )
    old = (
        "account name=old uid=1002 gid=1002 groups=1002 home=/home/old shell=/bin/sh password=set lastlogin=never "
        'sudo="ALL=/usr/bin/id"'
    )
    assert list(MODULE.lines(result, everything=False)) == [bob, old]
    assert list(MODULE.lines(result, everything=True))[-1] == (
        "Statistics: 7 accounts, 5 groups, 8 sudo rules, 2 matched, ran in 1ms."
    )
    lines = list(MODULE.lines(run(root, groups=["^wheel$"]), everything=False))
    assert lines[-1] == "group name=wheel gid=10 members=alice,bob,ldapuser"
    lines = list(MODULE.lines(run(root, sudo=["^ldap"]), everything=False))
    assert lines == ['sudoers who=ldapuser rule="ALL=ALL" in /etc/sudoers.more line 1']


def test_masked_results_name_nobody_and_nothing(root: Path) -> None:
    asked: dict[str, Any] = {"groups": ["."], "sudo": ["."], "options": {"matchall": False}}
    masked = MODULE.masked(run(root, **asked), load_parameters(MODULE, asked))
    for word in ("alice", "bob", "root", "wheel", "/home", "gateway", "pts/", "apt", "/etc/", "zsh"):
        assert word not in str({**masked, "statistics": None}), word
    (alice,) = (each for each in masked["elements"]["accounts"] if each["uid"] == 1000)
    assert (alice["name"], alice["password"], alice["groups"]) == (MASK, "set", [MASK] * 3)
    assert list(MODULE.lines(masked, everything=True))


@linux
def test_on_this_host_it_finds_what_the_system_says() -> None:
    me = pwd.getpwuid(os.getuid())
    result = MODULE.run(load_parameters(MODULE, {"uids": [str(os.getuid())]}), Context())
    assert (me.pw_name, me.pw_gid, me.pw_dir) in [
        (each["name"], each["gid"], each["home"]) for each in result.elements["accounts"]
    ]


@linux
def test_it_runs_in_a_worker() -> None:
    async def ask() -> Any:
        async with Runner(Limits()) as runner:
            return await runner.run("user", {"uids": ["0"], "lastlogins": [">1m"]}, deadline_s=time.monotonic() + 60)

    ran = asyncio.run(ask())
    assert ran.state == "done", ran
    assert "root" in [each["name"] for each in ran.result.read().elements["accounts"]]
