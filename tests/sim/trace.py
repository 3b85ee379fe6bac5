"""A world's event log for people to read."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .scenario import Scenario


def show(scenario: Scenario) -> str:
    """Say what was drawn."""
    policy = {name: value for name, value in asdict(scenario.policy).items() if value is not None}
    faults = scenario.faults
    drawn = {field.name: value for field in fields(faults) if (value := getattr(faults, field.name))}
    lines = [
        f"policy      {_pairs(policy)}",
        f"limits      {_pairs(asdict(scenario.limits))}",
        f"faults      {_pairs(drawn)}",
        f"letters     {scenario.dead_letter}; observer raises {scenario.observer_raises}",
    ]
    for number, producer in enumerate(scenario.producers):
        first, last = producer.records[0], producer.records[-1]
        lines.append(
            f"caller {number:<4} {producer.api} of records {first.id}-{last.id} at {producer.starts_at:.4f}, "
            f"every {producer.pause} s"
        )
    lines += [f"deed        {what} at {at:.4f}" for at, what in scenario.deeds]
    return "\n".join(lines)


def _pairs(values: dict[str, Any]) -> str:
    return " ".join(f"{name}={value}" for name, value in values.items())


def journey(log: Sequence[tuple[Any, ...]], record: int | None) -> Iterator[str]:
    """Give a line for each event, or for each that concerns one record."""
    requests: set[int] = set()
    for at, what, *rest in log:
        if record is not None and not _concerns(what, rest, record, requests):
            continue
        yield f"{at:12.6f}  {_sentence(what, rest)}"


def _concerns(what: str, rest: Sequence[Any], record: int, requests: set[int]) -> bool:
    if what == "send":
        if record in rest[3]:
            requests.add(rest[0])
        return record in rest[3]
    if what in ("answer", "error"):
        return rest[0] in requests
    if what in ("deed", "calm", "stall", "flushed", "closed"):
        return True
    return bool(rest) and rest[0] == record


def _sentence(what: str, rest: Sequence[Any]) -> str:
    match what, *rest:
        case ("send", request, target, reason, ids):
            return f"request {request} leaves ({reason}) for {target} with records {', '.join(map(str, ids))}"
        case ("answer", request, ends):
            return f"request {request} is answered {ends}"
        case ("error", request, name):
            return f"request {request} ended with {name}"
        case ("write", record, request):
            return f"record {record} is written by request {request}"
        case ("end", record, outcome):
            return f"record {record} ends: {outcome}"
        case ("tell", record, outcome):
            return f"record {record}'s caller is told: {outcome}"
        case ("offer", record):
            return f"record {record} is put"
        case ("accept", record):
            return f"record {record} is accepted"
        case ("refuse", record, why):
            return f"record {record} is not accepted: {why}"
        case ("cancel", record):
            return f"record {record}'s caller is cancelled"
        case ("deed", deed):
            return f"--- {deed}"
        case _:
            return " ".join(map(str, (what, *rest)))
