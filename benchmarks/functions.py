"""Batched functions beside the systems that they come from: one module a table, each adds its own to the report."""

from __future__ import annotations

import _functions_async_batcher
import _functions_redis
from _report import Report, is_quick

# Modules with `add_to(report)`, in the order of the tables.
TABLES = (_functions_async_batcher, _functions_redis)


def main() -> None:
    report = Report("functions", "Batched functions in services, side by side", is_quick(__doc__))
    for table in TABLES:
        table.add_to(report)
    report.finish()


if __name__ == "__main__":
    main()
