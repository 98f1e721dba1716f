"""A start that the caller's environment cannot steer.

`./investigator.pyz` starts isolated: its first line says so. `python3 investigator.pyz` does not, and what PYTHONPATH,
PYTHONHOME, a sitecustomize or LD_PRELOAD did before the archive's first line cannot be undone from here: who may set the
environment of root's processes has them. What can be done is that nothing of it reaches the program. So nothing is
imported here that the interpreter has not loaded by itself: it could be the caller's.
"""

from __future__ import annotations

import os
import sys

from .trouble import CannotStart

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import MutableMapping

ISOLATED = "-sES"
"""No user's site-packages, no PYTHON* variables, no `site` (whose .pth files and sitecustomize run code)."""


def isolate() -> None:
    """Begin again as an isolated interpreter unless this is one; then clear the environment.

    Raises:
        CannotStart: the interpreter's path is not known.
    """
    know_the_interpreter()
    forget(os.environ)
    if sys.flags.ignore_environment and sys.flags.no_user_site and sys.flags.no_site:
        return
    command = [sys.executable, ISOLATED, *sys.orig_argv[1:]]
    if sys.platform == "win32":  # its exec returns to the shell at once
        import subprocess

        sys.exit(subprocess.call(command))  # noqa: S603 - what was started, with more flags
    os.execv(sys.executable, command)  # noqa: S606 - what was started, with more flags


def know_the_interpreter() -> None:
    """Set `sys.executable`, by which workers are started, where PATH is unset (`env -i`) and Python left it empty."""
    if not sys.executable and os.path.exists("/proc/self/exe"):
        sys.executable = os.readlink("/proc/self/exe")
    if not sys.executable:
        raise CannotStart(f"the interpreter does not know its own path; start it as /path/to/python3 {ISOLATED} FILE")


def forget(environ: MutableMapping[str, str]) -> None:
    """Take away what steers an interpreter or shiv, so that children do not get it either."""
    for name in [name for name in environ if name.startswith(("PYTHON", "SHIV_"))]:
        del environ[name]
