"""Scans all records below a Codex home with DuckDB and prints how many seconds that takes."""

import sys
import time

import duckdb

SCAN = """
    SELECT type, count(*), sum(length(payload::VARCHAR))
    FROM read_json(
        ['{home}/trace_spine/*/*.jsonl', '{home}/sessions/*/*/*/*.jsonl'],
        format = 'newline_delimited',
        columns = {{type: 'VARCHAR', timestamp: 'VARCHAR', seq: 'UBIGINT', payload: 'JSON'}},
        ignore_errors = true,
        maximum_object_size = 67108864
    )
    GROUP BY type
"""

start = time.monotonic()
duckdb.execute(SCAN.format(home=sys.argv[1].replace("'", "''"))).fetchall()
print(time.monotonic() - start)
