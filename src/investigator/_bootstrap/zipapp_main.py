"""The zipapp's `__main__`: says in one line which Python it needs, in words that every Python understands.

Read by whatever `python3` is on the host, 2.7 included, so nothing newer than that may stand here. The other files are
read only once the version is known to fit.
"""
# Annotations and format strings would be syntax errors where this must still be read:
# ruff: noqa: ANN001, ANN202, UP031

import sys


def misfit(built_for, running):
    # type: (tuple[str, str, str], tuple[str, str, str]) -> str
    """Why the interpreter cannot run this archive, or "" when it can.

    Both are (cache tag, ABI flags, platform triplet), such as ("cpython-311", "", "x86_64-linux-gnu"): what the names
    of compiled extensions end with.
    """
    if built_for[:2] != running[:2]:
        wanted, found = readable(built_for), readable(running)
        binary = wanted.replace("CPython ", "python")
        return "needs %s (this is %s, %s); start it with %s FILE" % (wanted, found, sys.executable, binary)
    if built_for[2] != running[2]:
        return "was built for %s (this is %s)" % (built_for[2], running[2] or sys.platform)
    return ""


def readable(python):
    # type: (tuple[str, str, str]) -> str
    """Such as "CPython 3.11": the cache tag holds the version without its dot."""
    name = python[0].rstrip("0123456789")
    digits = python[0][len(name) :]
    name = {"cpython-": "CPython", "pypy": "PyPy"}.get(name, name)
    return "%s %s.%s%s" % (name, digits[:1], digits[1:], python[1])


def running_python():
    # type: () -> tuple[str, str, str]
    """The interpreter's own (cache tag, ABI flags, platform triplet)."""
    implementation = getattr(sys, "implementation", None)  # Python 2 has none
    tag = getattr(implementation, "cache_tag", None) or "cpython-%d%d" % sys.version_info[:2]
    flags = "t" if "t" in getattr(sys, "abiflags", "") else ""
    return (tag, flags, getattr(implementation, "_multiarch", ""))


def main():
    # type: () -> None
    """Refuse another Python with exit code 5, else go on in `start`."""
    from _bootstrap import built_for  # type: ignore[import-not-found]  # stands in the archive only

    reason = misfit(built_for.BUILT_FOR, running_python())
    if reason:
        sys.stderr.write("investigator: this file %s\n" % reason)
        sys.exit(5)

    from _bootstrap import start

    start.main()


if __name__ == "__main__":
    main()
