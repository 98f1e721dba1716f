"""Ask a real PostgreSQL what conditions mean, and write its verdicts to `postgres.ndjson` beside this file.

    python tests/corpus/target/record.py

It needs `initdb`, `postgres` and `psql` (15 was used), starts a server of its own in a temporary folder, on a Unix socket, with
UTF-8, collation "C", time zone UTC and a fixed `now()`, and ends it. `conditions.txt` holds conditions written by hand, `rows.ndjson` the
agents; the rest is generated from a fixed seed. A line of the result is `[condition, verdicts]`: per row `t`, `f`, `n` (NULL) or
`e` (an error at this row); or `[condition, "SQLSTATE"]` where PostgreSQL refuses the condition whatever the row.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import io
import json
import os
import random
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent
NOW = "2026-11-24 08:00:00+00"
COLUMNS = {
    **dict.fromkeys(("id", "name", "queueloc", "os", "arch", "ident", "mode", "version", "status", "publicip"), "text"),
    "pid": "int",
    **dict.fromkeys(("addresses", "environment", "tags"), "json"),
    **dict.fromkeys(("starttime", "heartbeattime"), "timestamptz"),
}
SETUP = f"""
create schema shim;
create function shim.now() returns timestamptz language sql stable as $$ select '{NOW}'::timestamptz $$;
create table agents (rid int, {", ".join(f"{name} {kind}" for name, kind in COLUMNS.items())});
create table conditions (n int, condition text);
create function verdicts(condition text) returns text language plpgsql as $$
declare
  said text := ''; one text; state text; row_number int; wrong int := 0;
  pick text := 'case when v then ''t'' when not v then ''f'' when v is null then ''n'' end';
begin
  begin
    execute 'select string_agg(' || pick || ', '''' order by rid) from (select rid, ((' || condition || ') and true) as v from agents) x'
      into said;
    return said;
  exception when others then get stacked diagnostics state = returned_sqlstate;
  end;
  if state like '42%' then return state; end if;
  for row_number in select rid from agents order by rid loop
    begin
      execute 'select ' || pick || ' from (select ((' || condition || ') and true) as v from agents where rid = ' || row_number || ') x' into one;
    exception when others then one := 'e'; wrong := wrong + 1;
    end;
    said := said || one;
  end loop;
  return case when wrong = length(said) then state else said end;
end $$;
"""


@contextlib.contextmanager
def server() -> Iterator[list[str]]:
    """A PostgreSQL; yields psql's command line for it."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    home = str(found[-1].parent) if found else str(Path(shutil.which("postgres") or "postgres").parent)
    drop = {"user": "nobody", "group": "nogroup", "extra_groups": []} if os.getuid() == 0 else {}
    with tempfile.TemporaryDirectory(prefix="record-") as folder:
        if drop:
            shutil.chown(folder, "nobody")
        run = [
            f"{home}/initdb",
            "-D",
            f"{folder}/data",
            "-U",
            "postgres",
            "--locale=C",
            "--encoding=UTF8",
            "-A",
            "trust",
        ]
        subprocess.run(run, check=True, capture_output=True, cwd="/", **drop)  # type: ignore[call-overload]
        serve = [
            f"{home}/postgres",
            "-D",
            f"{folder}/data",
            "-k",
            folder,
            "-h",
            "",
            "-c",
            "timezone=UTC",
            "-c",
            "fsync=off",
        ]
        process = subprocess.Popen(serve, stderr=subprocess.DEVNULL, cwd="/", **drop)  # type: ignore[call-overload]
        psql = [f"{home}/psql", "-h", folder, "-U", "postgres", "-X", "-q", "-v", "ON_ERROR_STOP=1"]
        try:
            while subprocess.run([*psql, "-c", "select 1"], capture_output=True, check=False).returncode:
                if process.poll() is not None:
                    raise SystemExit("postgres did not start")
                time.sleep(0.1)
            yield psql
        finally:
            process.terminate()
            process.wait()


def ask(psql: list[str], rows: list[dict[str, object]], conditions: list[str]) -> list[str]:
    """PostgreSQL's verdicts, in order."""
    script = io.StringIO()
    script.write(SETUP)
    script.write("copy agents from stdin csv;\n")
    writer = csv.writer(script, lineterminator="\n")
    for number, row in enumerate(rows):
        values = [row.get(name) for name in COLUMNS]
        cells = [
            json.dumps(v, separators=(",", ":"), ensure_ascii=False) if isinstance(v, (dict, list)) else v
            for v in values
        ]
        script.write(",".join(_cell(cell) for cell in [number, *cells]) + "\n")
    script.write("\\.\ncopy conditions from stdin csv;\n")
    for number, condition in enumerate(conditions):
        writer.writerow([number, condition])
    script.write("\\.\nset search_path = shim, pg_catalog, public;\nset client_min_messages = error;\n")
    script.write("copy (select verdicts(condition) from conditions order by n) to stdout csv;\n")
    done = subprocess.run(psql, input=script.getvalue(), capture_output=True, text=True, check=False, encoding="utf-8")
    if done.returncode:
        raise SystemExit(done.stderr)
    return done.stdout.splitlines()


def _cell(value: object) -> str:
    return "" if value is None else '"' + str(value).replace('"', '""') + '"'


# --- conditions of a fixed seed

TEXTS = [
    "os",
    "name",
    "mode",
    "ident",
    "version",
    "environment->>'os'",
    "tags->>'operator'",
    "environment#>>'{aws,amiid}'",
]
TEXTS += [
    "tags->>'n'",
    "environment->>'nothing'",
    "lower(name)",
    "pid::text",
    "'linux'",
    "'Web1'",
    "NULL",
    "environment->>'isproxied'",
]
TEXTS += [
    "coalesce(tags->>'operator', os)",
    "os || '-' || arch",
    "upper(mode)",
    "nullif(os, 'linux')",
    "addresses->>0",
    "''",
]
INTEGERS = [
    "pid",
    "5",
    "-1",
    "'7'",
    "length(name)",
    "pid + 1",
    "pid % 7",
    "pid / 2",
    "NULL",
    "(tags->>'n')::int",
    "2147483647",
    "pid * 2",
]
NUMBERS = [
    *INTEGERS,
    "1.5",
    "pid::numeric",
    "pid::float8",
    "(tags->>'n')::numeric",
    "'2.5'::float8",
    "5000000000",
    "pid::bigint",
]
TIMES = [
    "starttime",
    "heartbeattime",
    "now()",
    "now() - interval '1 month'",
    "'2026-01-31 00:00'",
    "heartbeattime + interval '1 day'",
]
TIMES += [
    "NULL",
    "starttime - interval '1 year 2 days'",
    "timestamptz '2026-02-28 12:00+02'",
    "(tags->>'since')::timestamptz",
]
SPANS = [
    "now() - starttime",
    "interval '30 days'",
    "interval '1 mon'",
    "heartbeattime - starttime",
    "'1 day'",
    "interval '720 hours'",
]
JSON = [
    "environment",
    "tags",
    "environment->'aws'",
    "environment->'nothing'",
    "addresses",
    "environment#>'{}'",
    "addresses->-1",
]
BOOLEANS = [
    "true",
    "false",
    "NULL",
    "(environment->>'isproxied')::boolean",
    "'t'",
    "os = 'linux'",
    "pid IS NULL",
    "pid > 100",
]
PATTERNS = [
    "'%'",
    "'web%'",
    "'%in%'",
    "'_in%'",
    "'%\\%%'",
    "'WEB_'",
    "'%.%.%'",
    "''",
    "'linux'",
    "'%a%b%'",
    "name",
    "'%\\_%'",
    "NULL",
]
REGEXES = [
    "'^web[0-9]+'",
    "'in'",
    "'^$'",
    "'[[:digit:]]$'",
    "'\\d'",
    "'^(linux|darwin)$'",
    "'a.b'",
    "'W.B'",
    "'[^a-z]'",
    "'x{2,3}?'",
]
REGEXES += ["'\\yweb'", "'(?i)WEB'", "'\\s'", "'e+|x*'", "'\\.'", "'^.*$'", "'[.]'", "'\\w-\\w'", "NULL"]
COMPARISONS = ["=", "<>", "!=", "<", "<=", ">", ">="]


def condition(dice: random.Random, depth: int) -> str:
    """A condition that is mostly well typed."""
    if depth > 0 and dice.random() < 0.6:
        one, other = condition(dice, depth - 1), condition(dice, depth - 1)
        forms = [
            "{0} AND {1}",
            "{0} OR {1}",
            "NOT {0}",
            "({0}) AND ({1})",
            "({0}) OR ({1})",
            "NOT ({0})",
            "({0}) IS NULL",
            "({0}) IS NOT TRUE",
        ]
        forms += [
            "({0}) IS FALSE",
            "({0}) IS UNKNOWN",
            "({0}) = ({1})",
            "({0}) IS DISTINCT FROM ({1})",
            "({0}) IN ({1}, NULL)",
            "coalesce({0}, {1})",
        ]
        return dice.choice(forms).format(one, other)
    kind = dice.choice([TEXTS, TEXTS, TEXTS, INTEGERS, NUMBERS, TIMES, SPANS, BOOLEANS])
    a, b, c = (dice.choice(kind if dice.random() < 0.97 else TEXTS + NUMBERS + JSON) for _ in range(3))
    forms = ["{a} {op} {b}"] * 4 + [
        "{a} IN ({b}, {c})",
        "{a} NOT IN ({b}, {c})",
        "{a} IN ({b})",
        "{a} BETWEEN {b} AND {c}",
        "{a} NOT BETWEEN {b} AND {c}",
    ]
    forms += [
        "{a} BETWEEN SYMMETRIC {b} AND {c}",
        "{a} IS NULL",
        "{a} IS NOT NULL",
        "{a} IS DISTINCT FROM {b}",
        "{a} IS NOT DISTINCT FROM {b}",
    ]
    forms += ["({a})::text {op} 'x'", "coalesce({a}, {b}) {op} {c}", "{j} IS NULL", "nullif({a}, {b}) IS NULL"]
    if kind is TEXTS:
        forms += [
            "{a} LIKE {p}",
            "{a} NOT LIKE {p}",
            "{a} ILIKE {p}",
            "{a} ~~ {p}",
            "{a} !~~* {p}",
            "{a} ~ {r}",
            "{a} ~* {r}",
            "{a} !~ {r}",
            "{a} !~* {r}",
        ] * 2
    return dice.choice(forms).format(
        a=a, b=b, c=c, op=dice.choice(COMPARISONS), p=dice.choice(PATTERNS), r=dice.choice(REGEXES), j=dice.choice(JSON)
    )


def chain(dice: random.Random) -> str:
    """Operators and operands in a row without parentheses: what precedence makes of them."""
    operators = [
        *COMPARISONS,
        "AND",
        "OR",
        "AND NOT",
        "OR NOT",
        "LIKE",
        "NOT LIKE",
        "ILIKE",
        "~",
        "!~",
        "||",
        "->>",
        "->",
        "#>>",
        "+",
        "-",
        "*",
    ]
    operators += [
        "IS NULL AND",
        "IS NOT NULL =",
        "IS TRUE =",
        "IS DISTINCT FROM",
        "~~",
        "= NOT",
        "%",
        "IS NULL IS NULL OR",
    ]
    operands = [
        "os",
        "name",
        "pid",
        "'linux'",
        "5",
        "true",
        "NULL",
        "environment",
        "'os'",
        "'5'",
        "tags",
        "-pid",
        "-5",
        "pid::text",
        "'7'::int",
    ]
    operands += [
        "-5::text",
        "os IN ('linux')",
        "pid BETWEEN 1 AND 9",
        "'{os}'",
        "now()",
        "interval '1 day'",
        "starttime",
        "NOT true",
        "'t'",
    ]
    pieces = [dice.choice(operands)]
    for _ in range(dice.randint(1, 4)):
        pieces += [dice.choice(operators), dice.choice(operands)]
    if dice.random() < 0.2:
        pieces.append(
            dice.choice(["IS NULL", "IS NOT TRUE", "IS UNKNOWN", "NOTNULL", "::text", "ESCAPE '!'", "::bool"])
        )
    return " ".join(pieces)


def generated(seed: int, count: int) -> list[str]:
    """Half of them well typed, half chains; no doubles."""
    dice = random.Random(seed)
    made = (condition(dice, dice.randint(0, 3)) if number % 2 else chain(dice) for number in range(count))
    return list(dict.fromkeys(text for text in made if len(text) <= 400))


def by_hand() -> list[str]:
    """The lines of conditions.txt, without empty ones and those that start with #."""
    lines = (HERE / "conditions.txt").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line.strip() and not line.startswith("#")]


def read_rows() -> list[dict[str, object]]:
    """The agents."""
    return [json.loads(line) for line in (HERE / "rows.ndjson").read_text(encoding="utf-8").splitlines()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=4)
    parser.add_argument("--count", type=int, default=3000)
    parser.add_argument("--output", type=Path, default=HERE / "postgres.ndjson")
    arguments = parser.parse_args()
    conditions = list(dict.fromkeys([*by_hand(), *generated(arguments.seed, arguments.count)]))
    with server() as psql:
        verdicts = ask(psql, read_rows(), conditions)
    lines = (
        json.dumps(pair, ensure_ascii=False, separators=(",", ":")) for pair in zip(conditions, verdicts, strict=True)
    )
    arguments.output.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"{len(verdicts)} conditions over {len(read_rows())} rows: {arguments.output}")


if __name__ == "__main__":
    main()
