"""What modules read of running processes, shared by those that need it.

`parsing` reads the texts of Linux's /proc, `procfs` the processes themselves, `family` says which of them are our own,
`crew` does work on many of them in threads that can be left behind when one hangs.
"""
