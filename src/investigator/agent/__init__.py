"""What runs on every host: hears actions, admits or refuses them by itself, runs them, answers.

Start reading in `service`. Nothing here imports the console, the command line or typer: each import is memory on every
host.
"""
