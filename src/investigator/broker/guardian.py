"""Start a program so that it ends with the process that asked for it, even if that one is killed.

Run as a script of its own, by path, with nothing of this package loaded: `guardian.py MODE PARENT PROGRAM ARGUMENT…`.

`exec`, on Linux: asks the kernel for SIGTERM at the parent's death, then becomes the program, so that nothing of this
stays. Being a process of its own it can do what `preexec_fn` must not in a process with threads. The kernel means the
*thread* that forked: the event loop that starts the program must run in a thread that lives as long as it.

`watch`, elsewhere: stays, reads standard input, and ends the program when the other end of that pipe is gone.
"""

from __future__ import annotations

import os
import sys

PR_SET_PDEATHSIG = 1
SIGTERM = 15
STOP_WITHIN_S = 10.0


def become(parent: int, command: list[str]) -> None:
    """Turn into `command`, unless the parent died before the kernel was told."""
    import ctypes

    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, SIGTERM, 0, 0, 0):
        sys.exit(f"prctl: {os.strerror(ctypes.get_errno())}")
    if os.getppid() != parent:
        sys.exit("the parent is gone")
    os.execv(command[0], command)  # noqa: S606 - the caller's own command line


def watch(command: list[str]) -> int:
    """Run `command` until it ends, or until standard input does."""
    import subprocess
    import threading

    child = subprocess.Popen(command, stdin=subprocess.DEVNULL)  # noqa: S603 - the caller's own command line

    def end_with_parent() -> None:
        sys.stdin.buffer.read()
        child.terminate()
        try:
            child.wait(STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            child.kill()

    threading.Thread(target=end_with_parent, daemon=True).start()
    return child.wait()


if __name__ == "__main__":
    mode, parent_pid, *program = sys.argv[1:]
    try:
        if mode == "exec":
            become(int(parent_pid), program)
        else:
            sys.exit(watch(program))
    except OSError as error:
        sys.exit(f"{program[0]}: {error.strerror}")
