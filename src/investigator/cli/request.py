"""What `investigator run` and `mig` were asked, from their words; no typer here, since the flags are MIG's.

    investigator run [flags] MODULE [flags] [module flags]         mig MODULE [flags] [module flags]
    investigator run [flags] -i FILE [flags]                       mig -i FILE [flags]

Before the module's name all flags are ours. After it MIG's rule holds: from the first flag that is not ours on, all
belong to the module; one that the module does not have is still taken as ours (in MIG: an error).
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, cast

from investigator.cli.limits import read_limits
from investigator.cli.manual import command_help, module_help
from investigator.errors import BadInput
from investigator.modules import get_module
from investigator.modules.durations import NS_PER_S, parse_duration
from investigator.modules.flags import Flag, Flags, Values, module_flags, split_flag, take_value, unknown_flag
from investigator.modules.interface import Module, load_parameters
from investigator.protocol.action import AskedLimits

Show = Literal["found", "notfound", "all"]
Output = Literal["text", "json", "ndjson", "csv"]
LOCAL: Final = "local"
_DAYS: Final = re.compile(r"([0-9]{1,6}(?:\.[0-9]{1,6})?)d(?=$|[0-9.])", re.ASCII)


def _ours(name: str, help_text: str, *, to: str, **more: Any) -> Flag:
    return Flag(name=name, help=help_text, path=(to,), **more)


GLOBALS: Final = Flags(
    (
        _ours("t", "which agents: a condition, all, local (this machine), or a macro", to="target", value="TARGET",
              aliases=("target",)),
        _ours("e", "how long the action is valid: 60s, 1h30m, 3d (default 5m)", to="expire", value="D",
              aliases=("expire",)),
        _ours("show", "found, notfound or all agents' results", to="show", value="WHICH", default="found",
              choices=("found", "notfound", "all")),
        _ours("output", "text, json, ndjson or csv", to="output", value="FORMAT", default="text",
              choices=("text", "json", "ndjson", "csv")),
        _ours("wait", "stay until the action expires, also for agents that are away", to="wait", kind="switch"),
        _ours("dry-run", "show the action, its compiled target, subjects and agents; send nothing", to="dry_run",
              kind="switch"),
        _ours("log", "also write what happens to this file, as JSON lines with the action's id", to="log", value="FILE"),
        _ours("n", "the action's name (default: the command line)", to="name", value="NAME", aliases=("action-name",)),
        _ours("i", "take the action from this file (- for standard input)", to="file", value="FILE",
              aliases=("action-file",)),
        _ours("p", "print the action unsigned, send nothing", to="print_action", kind="switch"),
        _ours("s", "sign and print the action, send nothing", to="sign_only", kind="switch"),
        _ours("z", "compress the parameters", to="compress", kind="switch"),
        _ours("limit", "what it may use on each host: cpu=20%, memory=256M, time=30s, output=1M, files=256", to="limits",
              value="NAME=VALUE", many=True),
        _ours("target-found", "only agents where that action found something", to="target_found", value="ACTION"),
        _ours("target-notfound", "only agents where that action found nothing", to="target_notfound", value="ACTION"),
        _ours("home", "the deployment's folder", to="home", value="DIR"),
        _ours("c", "the console's configuration (default: console.toml in the deployment)", to="config", value="FILE",
              aliases=("config",)),
        _ours("v", "with an internal error, show its traceback", to="debug", kind="switch"),
        _ours("V", "print the version", to="version", kind="switch", aliases=("version",)),
    )
)  # fmt: skip


def _some_of(names: str) -> tuple[Flag, ...]:
    return tuple(GLOBALS[name] for name in names.split())


ACTION_NEW: Final = Flags(
    (
        _ours("o", "write the action into this new file (- for standard output)", to="out", value="FILE",
              aliases=("out",)),
        _ours("envelope", "write it as an envelope, in which signatures are collected", to="as_envelope",
              kind="switch"),
        *_some_of("t e n i z limit target-found target-notfound home c v"),
    )
)  # fmt: skip
"""Those of `investigator action new`."""
ACTION_SEND: Final = Flags(_some_of("show output wait dry-run log i home c v"))
"""Those of `investigator action send`: nothing that would change what was signed."""
_HELP: Final = frozenset(("h", "help"))


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRequest:
    """An investigation as it was typed: checked as far as that goes without a deployment."""

    name: str
    """The action's: `-n`, or the command line."""
    named: bool = False
    """Whether `-n` was given; an action file's own name counts otherwise."""
    target: str | None = None
    expire_s: float | None = None
    show: Show = "found"
    output: Output = "text"
    wait: bool = False
    dry_run: bool = False
    print_action: bool = False
    sign_only: bool = False
    compress: bool = False
    target_found: str | None = None
    target_notfound: str | None = None
    home: Path | None = None
    config: Path | None = None
    log: Path | None = None
    debug: bool = False
    version: bool = False
    limits: AskedLimits | None = None
    module: str | None = None
    """None with an action file, and where only help or the version is asked."""
    parameters: dict[str, Any] = field(default_factory=dict)
    """The operation's, validated by the module."""
    file: Path | None = None
    """The action file; `-` is standard input."""
    out: Path | None = None
    """With `ACTION_NEW`: where the action goes; `-` is standard output."""
    as_envelope: bool = False
    help: str = ""
    """Not empty: print this, and nothing else."""

    @property
    def local(self) -> bool:
        """Whether this machine alone is asked, with no broker and no key."""
        return self.target == LOCAL


def parse_run(
    words: Sequence[str], *, prog: str = "investigator run", flags: Flags = GLOBALS, takes_file: bool = False
) -> RunRequest:
    """Read the words after `prog`, which takes these flags; with `takes_file` a word is the action file, and no module.

    Raises:
        BadInput: the first that is wrong, in one line; `BadParameters` and `BadRegex` are the module's own.
    """
    asked = _Asked(prog, flags, takes_file=takes_file)
    asked.read(words)
    if asked.help:
        return RunRequest(name="", help=asked.help)
    values = asked.ours.nested(flags)
    if values.get("version"):
        return RunRequest(name="", version=True)
    if takes_file and "file" not in values:
        raise BadInput("no action file", hint=f"`{prog} FILE`; `{prog} --help` lists the flags.")
    _check(values, asked.module, prog)
    command_line = f"{prog} {shlex.join(words)}"
    target = values.get("target")
    return RunRequest(
        name=values.get("name") or command_line,
        named="name" in values,
        target=target,
        expire_s=_expire_s(values),
        show=values.get("show", "found"),
        output=values.get("output", "text"),
        wait=values.get("wait", False),
        dry_run=values.get("dry_run", False),
        print_action=values.get("print_action", False),
        sign_only=values.get("sign_only", False),
        compress=values.get("compress", False),
        target_found=values.get("target_found"),
        target_notfound=values.get("target_notfound"),
        home=_path(values, "home"),
        config=_path(values, "config"),
        log=_path(values, "log"),
        debug=values.get("debug", False),
        limits=read_limits(values.get("limits", ())),
        module=asked.module.spec.name if asked.module is not None else None,
        parameters=asked.parameters(local=target == LOCAL),
        file=_path(values, "file"),
        out=_path(values, "out"),
        as_envelope=values.get("as_envelope", False),
    )


class _Asked:
    """The words, sorted into ours and the module's."""

    def __init__(self, prog: str, known: Flags, *, takes_file: bool) -> None:
        self._known = known
        self._takes_file = takes_file
        self.ours = Values()
        self.theirs = Values()
        self.module: Module[Any] | None = None
        self.help = ""
        self._flags = Flags(())
        self._prog = prog

    def read(self, words: Sequence[str]) -> None:
        at = 0
        while at < len(words) and not self.help:
            named = split_flag(words[at]) if words[at] != "--" else None
            at += 1
            if named is not None:
                at += self._flag(*named, words[at:])
            elif words[at - 1] != "--":
                self._word(words[at - 1])
            elif at < len(words):
                raise BadInput(f"nothing can follow '--', but {words[at]!r} does")
        if self.help or self.ours.nested(self._known).get("version"):
            return
        bare = self.module is not None and self.module.spec.flags is not None and self.module.spec.help_when_bare
        if bare and not self.theirs:
            self._module_help()

    def parameters(self, *, local: bool) -> dict[str, Any]:
        if self.module is None:
            return {}
        parameters = self.module.from_flags(self.theirs.nested(self._flags))
        load_parameters(self.module, parameters, local=local)
        return parameters

    def _word(self, word: str) -> None:
        if self.module is not None:
            if word == "help" and not self.theirs:
                self._module_help()
                return
            raise BadInput(
                f"{word[:60]!r} is no flag, and belongs to none",
                hint=f"Values stand behind their flag; quote what holds spaces. `{self._prog} "
                f"{self.module.spec.name} --help` lists the flags.",
            )
        if word == "help" and not self._takes_file:
            self.help = command_help(self._prog, self._known, takes_file=self._takes_file)
            return
        if self._takes_file and "file" not in self.ours.nested(self._known):
            self.ours.set(self._known["i"], word)
            return
        if "file" in self.ours.nested(self._known):
            raise BadInput(f"with -i the action file says what is asked; {word[:60]!r} has no place")
        self.module = get_module(word)
        if self.module.spec.flags is not None:
            self._flags = module_flags(self.module.spec.flags)

    def _flag(self, name: str, inline: str | None, following: Sequence[str]) -> int:
        owners = [(self._flags, self.theirs), (self._known, self.ours)]
        if not self.theirs:
            owners.reverse()
        for flags, values in owners:
            if name in flags:
                value, used = take_value(flags[name], name, inline, following)
                values.set(flags[name], value)
                return used
        if name in _HELP:
            if self.module is None:
                self.help = command_help(self._prog, self._known, takes_file=self._takes_file)
            else:
                self._module_help()
            return 0
        if self.module is None:
            error = unknown_flag(name, self._known, of=self._prog)
            error.hint = "" if self._takes_file else "A module's own flags come after its name."
            raise error
        if self.module.spec.flags is None:
            raise _no_flags(self.module, self._prog)
        raise unknown_flag(name, self._flags, self._known, of=f"module {self.module.spec.name}")

    def _module_help(self) -> None:
        assert self.module is not None
        settings = getattr(self.module, "settings", None)
        self.help = module_help(self.module.spec, self._flags, self._known, prog=self._prog, settings=settings)


def _check(values: dict[str, Any], module: Module[Any] | None, prog: str) -> None:
    """What excludes each other, and what must be there."""
    if module is None and "file" not in values:
        raise BadInput("no module, and no action file (-i)", hint=f"`{prog} --help` lists the modules.")
    if module is not None and "file" in values:
        raise BadInput("a module and an action file (-i): one of the two")
    if module is not None and module.spec.flags is None:
        raise _no_flags(module, prog)
    for one, other in (("target_found", "target_notfound"), ("print_action", "sign_only")):
        if values.get(one) and values.get(other):
            names = [next(flag.name for flag in GLOBALS.all if flag.path == (key,)) for key in (one, other)]
            raise BadInput(f"-{names[0]} and -{names[1]} exclude each other")
    if values.get("target") == LOCAL and (values.get("target_found") or values.get("target_notfound")):
        raise BadInput("-t local asks this machine alone: -target-found and -target-notfound have no meaning there")
    if values.get("target") == "":
        raise BadInput("-t: an empty target", hint="`-t all` asks every agent.")


def _no_flags(module: Module[Any], prog: str) -> BadInput:
    return BadInput(
        f"module '{module.spec.name}' does not support command line invocation",
        hint=f"Write its parameters into an action file: `{prog} -i FILE`.",
    )


def _expire_s(values: dict[str, Any]) -> float | None:
    text = cast("str | None", values.get("expire"))
    if text is None:
        return None
    expire_s = life_s(text, what="-e")
    if expire_s <= 0:
        raise BadInput(f"-e {text}: an action that is never valid")
    return expire_s


def life_s(text: str, *, what: str) -> float:
    """Seconds of a duration as Go writes it, with days beside: `90s`, `1h30m`, `3d`, `1d12h`.

    Raises:
        BadInput: `what`, and that it is none.
    """
    days = _DAYS.match(text)
    rest = text[days.end() :] if days else text
    try:
        return (float(days[1]) * 86_400 if days else 0.0) + (
            parse_duration(rest) / NS_PER_S if rest or not days else 0.0
        )
    except BadInput:
        raise BadInput(
            f"{what}: {text[:40]!r} is no duration", hint="For example 60s, 1h30m, 1.5h, 3d; units: ms s m h d."
        ) from None


def _path(values: dict[str, Any], key: str) -> Path | None:
    text = values.get(key)
    if text == "":
        raise BadInput(
            f"-{next(flag.name for flag in (*GLOBALS.all, *ACTION_NEW.all) if flag.path == (key,))}: an empty path"
        )
    return Path(text).expanduser() if text is not None else None
