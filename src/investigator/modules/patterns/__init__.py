"""Regular expressions over blocks of bytes, fast: what the modules for files and for memory share.

`superset` rewrites a pattern that people wrote into one over bytes that misses nothing, `prefilter` runs that: with RE2, and
with `hyper` before it (`libhs` is the library itself). None decides: whoever asks judges, with RE2 and the pattern as
written, what they point at.
"""
