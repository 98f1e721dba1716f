"""Regular expressions over blocks of bytes, fast: what the modules for files and for memory share.

`superset` rewrites a pattern that people wrote into one over bytes that misses nothing, `hyper` runs that with Hyperscan,
`prefilter` chooses between Hyperscan and RE2. None of them decides: whoever asks judges, with RE2 and the pattern as
written, what they point at.
"""
