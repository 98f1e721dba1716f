"""The broker: an embedded nats-server or a cluster, and the connection to it. The only package that imports nats.

`server` runs a nats-server as a child process: `binary` finds it, `guardian` starts it, `server_log` reads what it
says. `operator` says whom it lets in, `scopes` what they may do; `credentials` are a user's, in NATS's `jwt`s and
`nkeys`. `certificates` makes those of TLS, `server_tls` keeps the server's fresh, `tls` is the clients' side. `cluster`
configures servers that run elsewhere, `cluster_files` writes it, `elsewhere` and `claims` tell them who was shut out.

`connection` is what agents and consoles hold: `subscription`s over one `link` at a time, which `supervisor` makes anew with
a `dialer` and `backoff`. `request_reply` asks, `batch` reads streams and `pub_ack` is their answer to what is stored;
`streams` makes them by way of `jetstream_api`, `backup` saves them, and `problems` translates what goes wrong.
"""
