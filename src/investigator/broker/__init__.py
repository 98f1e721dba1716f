"""The broker: an embedded nats-server, and the connection to it. The only package that imports nats.

`server` runs a nats-server as a child process, found by `binary` and started through `guardian`; `credentials` says who
may do what, with keys in the text form of `nkeys`; `connection` is what agents and consoles hold, over one `link` at a
time; `batch` reads streams; `streams` makes them; `problems` translates what goes wrong.
"""
