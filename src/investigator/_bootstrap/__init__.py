"""What runs first in `investigator.pyz`: check, unpack where nobody else can write, hand over.

It stands beside `site-packages/` in the archive, as the package `_bootstrap`, in the place of shiv's own, which unpacks
where SHIV_ROOT or ~/.shiv says: a folder that somebody else prepared there would be run as root. The order:

1. `zipapp_main` (the archive's `__main__`): is this a Python that it was built for?
2. `isolation`: begins again as `python -sES` where the caller's PYTHON* variables could act; clears the environment.
3. `folders`: the place to unpack, owned by us, writable by nobody else, up to the root folder.
4. `unpack`: whole and checked against the hash that names it, or not at all. Then `start` runs the program's entry point.

Only the standard library may be imported here, and as little of it as can be: each import delays every start.
`built_for` and `built` are written by tools/zipapp.py: what the archive was built for, and which folders of it each
CPython version gets, all of them as its one `site-packages`; beside them a list of the files of each folder. There is no
byte code: it would be for one version, and save 4 ms.
This file is read by every Python, however old: nothing else may stand in it.
"""
