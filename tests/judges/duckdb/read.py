"""Reads an export of Spindle's with DuckDB and prints what it finds, as one JSON document.

    read.py sqlite FILE
    read.py jsonl FILE
"""

import json
import sys
from pathlib import Path

import duckdb
import duckdb_extension_sqlite_scanner


def sqlite(file):
    extension = next(Path(duckdb_extension_sqlite_scanner.__file__).parent.rglob("*.duckdb_extension"))
    database = duckdb.connect()
    # Refused unless it is signed by DuckDB's makers.
    database.execute(f"LOAD '{extension}'")
    database.execute(f"ATTACH '{file}' AS traces (TYPE sqlite, READ_ONLY)")
    database.execute("USE traces")
    return database


def main():
    form, file = sys.argv[1:]
    if form == "sqlite":
        database = sqlite(file)
        tables = [row[0] for row in database.execute("SHOW TABLES").fetchall()]
        found = {
            "rows": {table: len(database.execute(f'SELECT * FROM "{table}"').fetchall()) for table in tables},
            "first_day": str(database.execute("SELECT min(started_at)::DATE FROM sessions").fetchone()[0]),
            "codes": database.execute(
                "SELECT json_extract(evidence, '$.raw.exit_code')::INTEGER FROM signals "
                "WHERE category = 'exec_failure' ORDER BY id"
            ).fetchall(),
        }
    else:
        counts = duckdb.execute(
            "SELECT record, count(*) FROM read_json(?, format = 'newline_delimited') GROUP BY record", [file]
        )
        found = {"records": dict(counts.fetchall())}
    print(json.dumps(found))


main()
