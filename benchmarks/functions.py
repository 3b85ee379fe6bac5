"""Batched functions beside the systems that they come from: one module a table, each adds its own to the report."""

from __future__ import annotations

import _functions_async_batcher
import _functions_ranking
import _functions_redis
from _report import Report, is_quick

# Modules with `add_to(report)`, in the order of the tables, by the example whose page shows the picture.
TABLES = {
    "async_batcher": _functions_async_batcher,
    "redis_microbatch": _functions_redis,
    "ranking": _functions_ranking,
}


def main() -> None:
    report = Report("functions", "Batched functions in services, side by side", is_quick(__doc__))
    for name, table in TABLES.items():
        table.add_to(report)
        report.picture(name)
    report.finish()


if __name__ == "__main__":
    main()
