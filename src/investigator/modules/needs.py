"""What a module needs of a host, checked on this host: asked before it runs, and told in the facts of each agent.

`missing` is the reason why a module cannot run here at all, `lacking` what it runs without. Each is one line that says
what is needed, what for, and what to do about it.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from pathlib import Path
from typing import Final

from investigator.modules.interface import OS, Need, Spec

PROGRAM_FOLDERS: Final[dict[str, str]] = {
    "linux": "/usr/sbin:/usr/bin:/sbin:/bin",
    "darwin": "/usr/sbin:/usr/bin:/sbin:/bin:/opt/homebrew/bin:/usr/local/bin",
}
"""Where a module may take programs from: only root writes there, whatever the agent's PATH says."""
_SYSTEMS: Final[dict[str, OS]] = {"linux": "linux", "darwin": "darwin", "win32": "windows"}
_CAPABILITIES: Final[dict[str, int]] = {
    "CAP_DAC_OVERRIDE": 1, "CAP_DAC_READ_SEARCH": 2, "CAP_KILL": 5, "CAP_NET_ADMIN": 12, "CAP_NET_RAW": 13,
    "CAP_SYS_PTRACE": 19, "CAP_SYS_ADMIN": 21, "CAP_AUDIT_CONTROL": 30, "CAP_SYSLOG": 34, "CAP_AUDIT_READ": 37,
    "CAP_PERFMON": 38, "CAP_BPF": 39,
}  # fmt: skip
"""Numbers of linux/capability.h."""


def here() -> str:
    """This system, as `Spec.platforms` calls it; one that no module knows, as Python calls it."""
    return _SYSTEMS.get(sys.platform, sys.platform)


def missing(spec: Spec, *, system: str | None = None) -> str | None:
    """Why this module cannot run on this host, in one line; None if it can."""
    system = system or here()
    if system not in spec.platforms:
        return f"module {spec.name} does not run on {system}: it is for {', '.join(sorted(spec.platforms))}"
    for need in spec.needs:
        if need.essential and not is_met(need):
            return f"module {spec.name} needs {_what(need)} to {need.why}; {_remedy(need)}"
    return None


def lacking(spec: Spec, *, system: str | None = None) -> list[str]:
    """What this module would find more with, one line each; nothing where it cannot run at all."""
    if missing(spec, system=system) is not None:
        return []
    return [
        f"without {_what(need)} module {spec.name} cannot {need.why}; {_remedy(need)}"
        for need in spec.needs
        if not need.essential and not is_met(need)
    ]


def is_met(need: Need) -> bool:
    """Whether this process, on this host, has it."""
    match need.kind:
        case "root":
            return is_root()
        case "capability":
            return has_capability(need.name)
        case "package":
            return has_package(need.name)
        case "program":
            return find_program(need.name) is not None
        case "path":
            return os.access(need.name, os.R_OK)


def is_root() -> bool:
    """Whether this process is the superuser's; on Windows, an administrator's."""
    if sys.platform == "win32":
        import ctypes

        return bool(ctypes.windll.shell32.IsUserAnAdmin())
    return os.geteuid() == 0


def has_capability(name: str) -> bool:
    """Whether this process has a Linux capability in force; where there are no capabilities, root has them all."""
    number = _CAPABILITIES[name]
    if sys.platform != "linux":
        return is_root()
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return is_root()
    in_force = next((line.split()[1] for line in status.splitlines() if line.startswith("CapEff:")), "0")
    return bool(int(in_force, 16) >> number & 1)


def has_package(name: str) -> bool:
    """Whether a Python package can be imported; it is looked for, not loaded."""
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):  # what it is in is missing, or broken
        return False


def find_program(name: str) -> str | None:
    """A program's path in the system's own folders; None where it has none of that name."""
    folders = PROGRAM_FOLDERS.get(here()) or os.environ.get("SYSTEMROOT", r"C:\Windows") + r"\System32"
    return shutil.which(name, path=folders)


def _what(need: Need) -> str:
    match need.kind:
        case "root":
            return "root"
        case "capability":
            return need.name
        case "package":
            return f"the Python package {need.name}"
        case "program":
            return f"the program {need.name}"
        case "path":
            return need.name


def _remedy(need: Need) -> str:
    match need.kind:
        case "root":
            return "run as root"
        case "capability":
            return f"run as root, or grant it {need.name}"
        case "package":
            return "install it where this Python finds it"
        case "program":
            return "install it"
        case "path":
            return "it is not there, or not readable"
