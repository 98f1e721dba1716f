"""sudoers (sudoers(5)): who may run what as whom; as data, for one text at a time. Pure.

Aliases of users and commands are replaced by what they stand for. Of a command only the program is shown: its arguments
may hold a password, so that they take part in a search and never in a result.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

MAX_ITEMS: Final = 1000
"""Of one list after its aliases are replaced."""
MAX_ALIASES: Final = 10_000
MAX_LINE_CHARACTERS: Final = 64 << 10
MAX_STEPS: Final = 20_000
"""Of replacing aliases in one list."""
EVERYBODY: Final = "ALL"
_TAG_CHARACTERS: Final = 64
CUT: Final = "…"

_PIECE: Final = re.compile(r'\\.|"(?:\\.|[^"\\])*"|.', re.DOTALL)
_INCLUDE: Final = re.compile(r'[@#](include|includedir)[ \t]+(?:"([^"]+)"|((?:\\.|[^ \t\\])+))[ \t]*\Z')
_ALIAS: Final = re.compile(r"(User|Runas|Host|Cmnd|Cmd)_Alias[ \t]+")
_ALIAS_NAME: Final = re.compile(r"[A-Z][A-Z0-9_]*")
_TAG: Final = re.compile(
    r"(?:NO)?(?:EXEC|FOLLOW|INTERCEPT|LOG_INPUT|LOG_OUTPUT|MAIL|PASSWD|SETENV)[ \t]*:[ \t]*"
    r"|(?:CHROOT|CWD|NOTAFTER|NOTBEFORE|PRIVS|LIMITPRIVS|ROLE|TIMEOUT|TYPE|APPARMOR_PROFILE)[ \t]*=[ \t]*[^ \t,]+[ \t]*"
)
_DIGEST: Final = re.compile(r"sha(?:224|256|384|512)[ \t]*:[ \t]*[^ \t,]+[ \t]*,?[ \t]*")
_BEFORE_COLON: Final = re.compile(
    r"(?:^|[ \t,(=])(?:(?:NO)?(?:EXEC|FOLLOW|INTERCEPT|LOG_INPUT|LOG_OUTPUT|MAIL|PASSWD|SETENV)|sha(?:224|256|384|512))[ \t]*\Z"
)
_NUMBER_AFTER: Final = re.compile(r"#[0-9]")


class Include(NamedTuple):
    """A line that takes in another file, or a folder's files."""

    path: str
    is_folder: bool


@dataclass(frozen=True, slots=True)
class Rule:
    """What a list of users may run on some hosts."""

    who: tuple[str, ...]
    hosts: str
    commands: tuple[str, ...]
    """Each with its run-as part, tags and arguments."""
    file: str
    line: int


@dataclass(slots=True)
class Sudoers:
    """The rules and aliases of all files so far, in their order."""

    rules: list[Rule] = field(default_factory=list)
    users: dict[str, list[str]] = field(default_factory=dict)
    commands: dict[str, list[str]] = field(default_factory=dict)

    def take(self, text: str, file: str) -> Iterator[Include | int]:
        """Read a file's text; yields what it includes, where it does, and the numbers of lines that say nothing known."""
        for number, line in logical_lines(text):
            if len(line) > MAX_LINE_CHARACTERS:
                yield number
                continue
            include = _INCLUDE.match(line)
            if include is not None:
                yield Include(include[2] or re.sub(r"\\(.)", r"\1", include[3]), include[1] == "includedir")
                continue
            if not self._understood(uncommented(line), file, number):
                yield number

    def _understood(self, line: str, file: str, number: int) -> bool:
        if not line or re.match(r"Defaults(?:[ \t@:!>]|\Z)", line):
            return True
        alias = _ALIAS.match(line)
        if alias is not None:
            return self._take_aliases(alias[1], line[alias.end() :])
        left, *rights = split(line, "=", at_most=1)
        names = _words(left)
        if not rights or len(names) != 2:
            return False
        who, hosts = tuple(_items(names[0])), names[1]
        for part in _groups(rights[0]):
            further, equals, rest = part.partition("=") if hosts == "" else (hosts, "=", part)
            commands = tuple(_items(rest))
            if not equals or not commands:
                return False
            self.rules.append(Rule(who, further.strip(), commands, file, number))
            hosts = ""
        return True

    def _take_aliases(self, kind: str, text: str) -> bool:
        known = {"User": self.users, "Cmnd": self.commands, "Cmd": self.commands}.get(kind, {})
        for part in _groups(text):
            name, equals, items = part.partition("=")
            if not equals or not _ALIAS_NAME.fullmatch(name.strip()) or len(known) >= MAX_ALIASES:
                return False
            known.setdefault(name.strip(), _items(items))
        return True

    def users_of(self, rule: Rule) -> dict[str, bool]:
        """Whom a rule names, as `keys_of` has them, and whether it is for them or, by a `!`, not; the last one counts."""
        named: dict[str, bool] = {}
        for item in expanded(rule.who, self.users):
            key = _key(item.removeprefix("!"))
            named.pop(key, None)  # so that its place is that of the last one
            named[key] = not item.startswith("!")
        return named

    def text(self, rule: Rule, *, arguments: bool) -> str:
        """A rule as one line without its users: `ALL=(ALL) NOPASSWD: /usr/bin/apt …`."""
        commands = _expanded_commands(rule.commands, self.commands)
        shown = commands if arguments else [_program(command) for command in commands]
        return f"{rule.hosts}={', '.join(shown)}"


def logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Lines with those that a backslash continues joined, stripped, with the number where each begins."""
    began, held = 0, ""
    for number, line in enumerate(text.split("\n"), start=1):
        began = began or number
        body = line.rstrip("\r")
        if body.endswith("\\") and (len(body) - len(body.rstrip("\\"))) % 2 and len(held) <= MAX_LINE_CHARACTERS:
            held += body[:-1] + " "
            continue
        yield began, (held + body).strip(" \t")
        began, held = 0, ""
    if held.strip():
        yield began, held.strip(" \t")


def uncommented(line: str) -> str:
    """The line before its comment; `#` before a digit where a word may start is a number, not a comment."""
    at = 0
    for found in _PIECE.finditer(line):
        if found[0] == "#":
            starts_word = at == 0 or line[at - 1] in " \t,!=(:%"
            if not (starts_word and _NUMBER_AFTER.match(line, at)):
                return line[:at].rstrip(" \t")
        at = found.end()
    return line


def split(text: str, separator: str, *, at_most: int = -1) -> list[str]:
    """The pieces between separators that are neither escaped, nor in quotes or brackets; stripped."""
    pieces: list[str] = []
    start = depth = 0
    for found in _PIECE.finditer(text):
        if found[0] == "(":
            depth += 1
        elif found[0] == ")":
            depth = max(depth - 1, 0)
        elif found[0] == separator and not depth and at_most != len(pieces):
            pieces.append(text[start : found.start()].strip(" \t"))
            start = found.end()
    return [*pieces, text[start:].strip(" \t")]


def _groups(text: str) -> list[str]:
    """What a line strings together with `:`, those of tags and digests left where they are."""
    groups: list[str] = []
    held = ""
    for piece in split(text, ":"):
        held = f"{held}: {piece}" if held else piece
        if not _BEFORE_COLON.search(held[-_TAG_CHARACTERS:]):
            groups.append(held)
            held = ""
    return [*groups, held] if held else groups


def _items(text: str) -> list[str]:
    return [item for item in split(text, ",") if item][:MAX_ITEMS]


def _words(text: str) -> list[str]:
    """Split at blanks that are not beside a comma, a `!`, or in quotes."""
    words, word, gap = [], "", False
    for found in _PIECE.finditer(text):
        piece = found[0]
        if piece in " \t":
            gap = bool(word)
            continue
        if gap and piece != "," and not word.endswith((",", "!")):
            words.append(word)
            word = ""
        word, gap = word + piece, False
    return [*words, word] if word else words


def expanded(items: Sequence[str], aliases: dict[str, list[str]]) -> list[str]:
    """The items with aliases replaced, however deep; one that stands within itself is passed over, `!` carries over."""
    found: list[str] = []
    pending = [(iter(items), False, "")]
    """Lists on the way down: what is left, whether a `!` stands before it, the alias that it is."""
    for _ in range(MAX_STEPS):
        if not pending or len(found) >= MAX_ITEMS:
            break
        left, inverted, _name = pending[-1]
        item = next(left, None)
        if item is None:
            pending.pop()
            continue
        bare = item.lstrip("! \t")
        turned = inverted != bool(item[: len(item) - len(bare)].count("!") % 2)
        if bare not in aliases:
            found.append(f"!{bare}" if turned else bare)
        elif all(bare != name for _, _, name in pending):
            pending.append((iter(aliases[bare]), turned, bare))
    return found


def _expanded_commands(commands: Sequence[str], aliases: dict[str, list[str]]) -> list[str]:
    """Each command's head (run-as, tags, digest) goes before what its alias stands for."""
    shown: list[str] = []
    for command in commands:
        head = _head(command)
        inner = expanded([command[head:]], aliases)
        shown += [f"{command[:head]}{one}" for one in inner]
        if len(shown) >= MAX_ITEMS:
            return [*shown[:MAX_ITEMS], CUT]
    return shown


def _head(command: str) -> int:
    """Where the command itself starts, after `(alice:adm)`, tags, options and digests."""
    at = 0
    if command.startswith("("):
        closing = command.find(")")
        at = closing + 1 if closing > 0 else 0
    while True:
        while at < len(command) and command[at] in " \t":
            at += 1
        found = _TAG.match(command, at) or _DIGEST.match(command, at)
        if found is None:
            return at
        at = found.end()


def _program(command: str) -> str:
    """The command without its arguments."""
    head = _head(command)
    words = _words(command[head:])
    return command[:head] + (f"{words[0]} {CUT}" if len(words) > 1 else "".join(words))


def keys_of(name: str, uid: int, groups: Collection[str], gids: Collection[int]) -> set[str]:
    """What a rule can call an account by. Netgroups are a directory's and not known here."""
    return {EVERYBODY, name, f"#{uid}", *(f"%{group}" for group in groups), *(f"%#{gid}" for gid in gids)}


def _key(item: str) -> str:
    """An item without quotes and escapes."""
    return re.sub(r"\\(.)", r"\1", item.replace('"', ""), flags=re.DOTALL)
