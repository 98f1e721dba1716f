"""The kinds of nodes that a target's condition is made of (`protocol.target` lists them), with PostgreSQL's meaning.

`moments` and `values` read and cast values, `expression` is a checked node, `leaves`, `logic`, `texts`, `documents` and
`sums` are its kinds.
"""
