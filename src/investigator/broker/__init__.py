"""The broker: an embedded nats-server, and the connection to it. The only package that imports nats.

`server` runs a nats-server as a child process: `binary` finds it, `guardian` starts it, `server_log` reads what it
says. `credentials` says who may do what, with keys in the text form of `nkeys`. `connection` is what agents and
consoles hold: `subscription`s over one `link` at a time. `batch` reads streams, `streams` makes them, and `problems`
translates what goes wrong.
"""
