from __future__ import annotations

import base64
import enum
import json
import math
from decimal import Decimal
from enum import Enum, IntEnum
from typing import TYPE_CHECKING, Any

import pytest
from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.serialize import create_serializer
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sinkwell.core import InvalidRecord, RecordTooLarge
from sinkwell.sinks._dynamodb_item import ItemEncoder
from sinkwell.sinks._dynamodb_record import encode_delete, encode_put
from sinkwell.sinks._dynamodb_table import Table
from sinkwell.sinks.dynamodb import Delete, Put
from sinkwell.sinks.testing import AwsError
from sinkwell.sinks.testing import _dynamodb_rules as rules
from sinkwell.sinks.testing import _dynamodb_table as tables

if TYPE_CHECKING:
    from collections.abc import Mapping

ORDERS = {"id": "S"}
EVENTS = {"device": "N", "at": "B"}


def table_with(key: Mapping[str, str], indexes: Mapping[str, Mapping[str, str]] | None = None) -> Table:
    stored = tables.Table("orders", dict(key), {name: dict(index) for name, index in (indexes or {}).items()})
    read = Table.read("orders", stored.describe())
    assert read is not None
    return read


TABLE = table_with(ORDERS)


def counted(value: object, floats: Any = "refuse") -> int:
    encoder = ItemEncoder(floats)
    encoder.encode({"v": value})
    return encoder.counted - 1


def typed(value: object, floats: Any = "refuse") -> dict[str, object]:
    return ItemEncoder(floats).encode({"v": value})["v"]


# As measured: by the largest item that is taken beside each value.
MEASURED = [
    ("0", 1), ("-0", 1), ("1", 2), ("12", 2), ("15", 2), ("100", 2), ("0.15", 2), ("1E125", 2), ("1E-130", 2),
    ("0042", 2), ("0.0000001", 2), ("1E-100", 2), ("120", 3), ("123", 3), ("1234", 3), ("1010", 3), ("0.015", 3),
    ("1.5", 3), ("1.2", 3), ("1.200", 3), ("-42", 3), ("1.234", 4), ("123456", 4), ("100.5", 4), ("-0.015", 4),
    ("3.14159", 5), ("12345678901234567890123456789012345678", 20), ("-12345678901234567890123456789012345678", 21),
]  # fmt: skip


@pytest.mark.parametrize(("literal", "size"), MEASURED)
def test_a_number_counts_what_was_measured(literal: str, size: int) -> None:
    assert counted(Decimal(literal)) == rules.number_size(literal) == size
    if Decimal(literal) == int(Decimal(literal)):
        assert counted(int(Decimal(literal))) == size


@pytest.mark.parametrize(
    ("value", "size"),
    [
        ("", 0), ("é", 2), ("😀", 4), (b"", 0), (b"ab", 2), (None, 1), (True, 1), ([], 3), (["a"], 5), ({}, 3),
        ({"a": "b"}, 6), ([None], 5), ({"a", "bc"}, 3), ({1, 15}, 4), ({b"a", b"bc"}, 3), ({""}, 0),
        ({"a": {"b": [1]}}, 16),
    ],
)  # fmt: skip
def test_every_type_counts_what_was_measured(value: object, size: int) -> None:
    assert counted(value) == size


class Color(str, Enum):  # noqa: UP042 - the older kind, whose str() is another text
    RED = "red"


class Level(IntEnum):
    HIGH = 3


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("a", {"S": "a"}),
        (Color.RED, {"S": "red"}),
        (True, {"BOOL": True}),
        (7, {"N": "7"}),
        (-7, {"N": "-7"}),
        (Level.HIGH, {"N": "3"}),
        (10**38 - 1, {"N": "9" * 38}),
        (10**125, {"N": "1E125"}),
        (Decimal("1.50"), {"N": "15E-1"}),
        (Decimal("-0.0"), {"N": "0"}),
        (Decimal("1E-130"), {"N": "1E-130"}),
        (None, {"NULL": True}),
        (b"\x00\xff", {"B": b"\x00\xff"}),
        (bytearray(b"x"), {"B": b"x"}),
        (memoryview(b"x"), {"B": b"x"}),
        ([1, "a"], {"L": [{"N": "1"}, {"S": "a"}]}),
        ((), {"L": []}),
        ({"a": {}}, {"M": {"a": {"M": {}}}}),
        (frozenset({"a"}), {"SS": ["a"]}),
        ({b"a"}, {"BS": [b"a"]}),
        ({1}, {"NS": ["1"]}),
        ({"a": 1}.keys(), {"SS": ["a"]}),
    ],
)
def test_python_types_become_dynamodbs(value: object, expected: dict[str, object]) -> None:
    assert typed(value) == expected


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (0.5, 'a float, .*floats="decimal"'),
        (math.nan, "a float"),
        (Decimal("NaN"), "NaN or infinite"),
        (Decimal("sNaN"), "NaN or infinite"),
        (Decimal("-Infinity"), "NaN or infinite"),
        (int("1" * 39), "39 significant digits"),
        (Decimal("1." + "1" * 38), "39 significant digits"),
        (10**126, "9.99E"),
        pytest.param(10**5000, "above 9.99E", id="5,001 digits"),
        (Decimal("1E126"), "outside 1E-130"),
        (Decimal("1E-131"), "outside 1E-130"),
        (set(), "empty set"),
        ({1, "a"}, "mixed types"),
        ({True}, "mixed types"),
        ({None}, "mixed types"),
        ({(1, 2)}, "mixed types"),
        ("\ud800", "lone surrogate"),
        (["\ud800"], "lone surrogate"),
        ({"\ud800": 1}, "lone surrogate"),
        ({1: "a"}, "name of type int"),
        ({"": "a"}, "empty name"),
        ({"n" * 65_536: "a"}, "65,536 bytes"),
        (object(), "type object"),
        (1j, "type complex"),
        (range(3), "type range"),
    ],
)
def test_what_dynamodb_has_no_form_for_is_refused_at_put_in_one_sentence(value: object, sentence: str) -> None:
    for record in (value, [value], {"a": value}):
        with pytest.raises(InvalidRecord, match=rf"attribute 'v' .*{sentence}"):
            typed(record)


@pytest.mark.parametrize("value", [0.1, -2.5, 1e100, 5e-100, 1.7976931348623157e100, 1 / 3, 0.0, -0.0])
def test_a_float_becomes_the_decimal_that_reads_back_as_the_same_float(value: float) -> None:
    text = typed(value, "decimal")["N"]
    assert isinstance(text, str)
    assert float(text) == value
    assert Decimal(text) == Decimal(repr(value))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e126, 5e-324])
def test_a_float_that_has_no_number_in_dynamodb_is_refused_also_when_floats_are_taken(value: float) -> None:
    with pytest.raises(InvalidRecord):
        typed(value, "decimal")


def test_a_set_with_one_number_in_two_forms_is_refused() -> None:
    assert len({0.1, Decimal("0.1")}) == 2
    with pytest.raises(InvalidRecord, match="twice"):
        typed({0.1, Decimal("0.1")}, "decimal")


def nested(levels: int) -> object:
    value: object = "leaf"
    for place in range(levels):
        value = [value] if place % 2 else {"n": value}
    return value


def test_values_are_nested_up_to_32_levels() -> None:
    assert typed(nested(31))
    circle: list[object] = []
    circle.append(circle)
    for value in (nested(32), nested(5000), circle):
        with pytest.raises(InvalidRecord, match="deeper than 32"):
            typed(value)


def item_of(size: int, letter: str = "a", **more: object) -> dict[str, object]:
    """An item that counts so many bytes."""
    item = {"id": "k", **more, "p": ""}
    room = size - encode_size(item)
    width = len(letter.encode())
    return {**item, "p": letter * (room // width) + "a" * (room % width)}


def encode_size(item: dict[str, object]) -> int:
    encoder = ItemEncoder("refuse")
    encoder.encode(item)  # type: ignore[arg-type]
    return encoder.counted


@pytest.mark.parametrize("letter", ["a", "é", "\x00"])
@pytest.mark.parametrize("more", [{}, {"n": Decimal("-3.14159")}, {"m": [{"x": b"ab"}, {1, 2}], "é": None}])
def test_an_item_is_taken_up_to_its_last_byte(letter: str, more: dict[str, object]) -> None:
    for size in (409_599, 409_600):
        assert encode_size(item_of(size, letter, **more)) == size
        encode_put(Put(item_of(size, letter, **more)), TABLE, "refuse")
    with pytest.raises(RecordTooLarge, match=r"409,601 bytes is above the 409,600"):
        encode_put(Put(item_of(409_601, letter, **more)), TABLE, "refuse")


@pytest.mark.parametrize(
    ("item", "sentence"),
    [
        ({"x": "a"}, "lacks attribute 'id', a key of DynamoDB table 'orders'"),
        ({"id": 7}, r"must be text \(S\), not N"),
        ({"id": b"x"}, r"must be text \(S\), not B"),
        ({"id": ["x"]}, r"must be text \(S\), not L"),
        ({"id": None}, r"must be text \(S\), not NULL"),
        ({"id": ""}, "empty"),
        ({"id": "a" * 2049}, "2,049 bytes"),
        ({"id": "é" * 1025}, "2,050 bytes"),
        ({}, "lacks"),
    ],
)
def test_a_record_without_its_key_is_refused_at_put(item: dict[str, object], sentence: str) -> None:
    for encode, record in ((encode_put, Put(item)), (encode_delete, Delete(item))):
        with pytest.raises(InvalidRecord, match=sentence):
            encode(record, TABLE, "refuse")  # type: ignore[operator]


def test_a_sort_key_has_a_smaller_limit() -> None:
    table = table_with(EVENTS)
    encode_put(Put({"device": 1, "at": b"x" * 1024}), table, "refuse")
    with pytest.raises(InvalidRecord, match="1,025 bytes, and DynamoDB takes 1,024"):
        encode_put(Put({"device": 1, "at": b"x" * 1025}), table, "refuse")


def test_a_delete_takes_the_key_and_nothing_else() -> None:
    encode_delete(Delete({"id": "a"}), TABLE, "refuse")
    with pytest.raises(InvalidRecord, match="made of 'id', and of nothing else"):
        encode_delete(Delete({"id": "a", "x": 1}), TABLE, "refuse")


def test_what_an_index_demands_is_checked_at_put() -> None:
    table = table_with(ORDERS, {"by-customer": {"customer": "S", "at": "N"}})
    encode_put(Put({"id": "a"}), table, "refuse")
    encode_put(Put({"id": "a", "customer": "c", "at": 7}), table, "refuse")
    for item in ({"customer": 7}, {"customer": ""}, {"customer": "c" * 2049}, {"at": "7"}, {"at": None}):
        with pytest.raises(InvalidRecord, match="index 'by-customer'"):
            encode_put(Put({"id": "a", **item}), table, "refuse")


@pytest.mark.parametrize(
    ("first", "second"), [(1, Decimal("1.0")), (100, Decimal("1E2")), (0, Decimal("-0.00")), (10**30, Decimal("1E30"))]
)
def test_equal_numbers_are_one_key(first: object, second: object) -> None:
    table = table_with(EVENTS)
    keys = [encode_put(Put({"device": n, "at": b"x"}), table, "refuse").key for n in (first, second)]
    assert keys[0] == keys[1]
    assert hash(keys[0]) == hash(keys[1])


def test_a_record_changed_after_put_is_sent_as_it_was() -> None:
    inner, data = {"a": [1]}, bytearray(b"x")
    payload = encode_put(Put({"id": "k", "m": inner, "b": data}), TABLE, "refuse").payload
    inner["a"].append(2)
    data[0] = 0
    assert payload.request["PutRequest"]["Item"]["m"] == {"M": {"a": {"L": [{"N": "1"}]}}}
    assert payload.request["PutRequest"]["Item"]["b"] == {"B": b"x"}


def test_a_refusal_never_shows_a_value() -> None:
    for value in ("canary\ud800", {"canary", 1}, ["canary", object()], float("0.77771")):
        with pytest.raises(InvalidRecord) as refused:
            typed(value)
        assert "canary" not in repr(refused.value)
        assert "0.7777" not in repr(refused.value)


def test_a_huge_name_is_shown_shortened() -> None:
    with pytest.raises(InvalidRecord) as refused:
        ItemEncoder("refuse").encode({"n" * 5000: 0.5})
    assert len(str(refused.value)) < 300


TEXTS = st.text(st.characters() | st.sampled_from('"\\\x00\x1f\x7fé😀'), max_size=12)
NUMBERS = st.integers() | st.decimals() | st.integers(-(10**40), 10**40)
SCALARS = TEXTS | NUMBERS | st.binary(max_size=12) | st.booleans() | st.none() | st.floats()
SETS = st.sets(TEXTS, max_size=4) | st.sets(st.integers(-500, 500), max_size=4) | st.sets(st.binary(max_size=4))
NAMES = st.text(max_size=8)
VALUES = st.recursive(
    SCALARS | SETS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4), max_leaves=12
)
ITEMS = st.fixed_dictionaries({"id": TEXTS}) | st.dictionaries(NAMES | st.just("id"), VALUES, max_size=5)
MERGED = st.builds(lambda first, second: {**second, **first}, ITEMS, st.dictionaries(NAMES, VALUES, max_size=5))


def wire_form(value: Any) -> Any:
    """What the client makes of a payload: binary values become Base64."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, dict):
        return {name: wire_form(inner) for name, inner in value.items()}
    return [wire_form(inner) for inner in value] if isinstance(value, list) else value


@settings(deadline=None)
@given(MERGED, st.sampled_from(["refuse", "decimal"]))
@example({"id": "a", "s": {0.1, Decimal("0.1")}}, "decimal")
@example({"id": "a", "n": Decimal(-120)}, "refuse")
def test_any_item_is_refused_at_put_or_taken_by_the_exact_rules_and_counted_as_they_count(
    item: dict[str, Any], floats: Any
) -> None:
    try:
        encoded = encode_put(Put(item), TABLE, floats)
    except InvalidRecord:
        return
    sent = wire_form(encoded.payload.request["PutRequest"]["Item"])
    stored = rules.read_item(sent)
    tables.Table("orders", ORDERS, {}).check(tables.Write("put", stored))
    encoder = ItemEncoder(floats)
    encoder.encode(item)
    assert encoder.counted == rules.item_size(stored) == independent_size(encoded.payload.request["PutRequest"]["Item"])


def independent_size(item: dict[str, Any]) -> int:
    """Count a third time, over the typed form: names, then values; numbers by pairs of digits around the point."""
    return sum(len(name.encode()) + size_of(*value.popitem()) for name, value in json_copy(item).items())


def json_copy(value: Any) -> Any:
    return {k: json_copy(v) for k, v in value.items()} if isinstance(value, dict) else value


def size_of(kind: str, value: Any) -> int:
    match kind:
        case "S" | "B":
            return len(value.encode()) if kind == "S" else len(value)
        case "N":
            return size_of_number(value)
        case "BOOL" | "NULL":
            return 1
        case "L":
            return 3 + sum(1 + size_of(*next(iter(inner.items()))) for inner in value)
        case "M":
            return 3 + len(value) + independent_size(value)
        case _:
            return sum(size_of(kind[0], member) for member in value)


def size_of_number(text: str) -> int:
    number = Decimal(text)
    if not number:
        return 1
    whole, _, fraction = f"{abs(number):f}".partition(".")
    whole, fraction = whole.zfill(len(whole) + len(whole) % 2), fraction.ljust(len(fraction) + len(fraction) % 2, "0")
    digits = whole + fraction
    pairs = [digits[place : place + 2] for place in range(0, len(digits), 2)]
    while pairs[0] == "00":
        pairs.pop(0)
    while pairs[-1] == "00":
        pairs.pop()
    return 1 + len(pairs) + (number < 0)


SERIALIZER = create_serializer("json")
OPERATION = ServiceModel(Loader().load_service_model("dynamodb", "service-2")).operation_model("BatchWriteItem")


def body_of(encoded: list[Any]) -> bytes:
    request: dict[str, list[object]] = {}
    for one in encoded:
        request.setdefault(one.payload.table, []).append(one.payload.request)
    body = SERIALIZER.serialize_to_request({"RequestItems": request}, OPERATION)["body"]
    assert isinstance(body, bytes)
    assert json.loads(body)
    return body


@settings(deadline=None)
@given(st.lists(MERGED, min_size=1, max_size=5))
def test_the_bytes_of_a_request_are_never_more_than_was_counted_and_hardly_less(items: list[dict[str, Any]]) -> None:
    encoded = []
    for item in items:
        try:
            encoded.append(encode_put(Put(item), TABLE, "decimal"))
        except InvalidRecord:
            continue
    if encoded:
        body = len(body_of(encoded))
        count = sum(one.size for one in encoded)
        assert body <= count + len('{"RequestItems": {}}')
        containers = sum(str(one.payload.request).count("{") + str(one.payload.request).count("[") for one in encoded)
        assert count <= body + 2 * containers + 30 * len(encoded)


class Name(enum.StrEnum):
    ID = "id"

    def __hash__(self) -> int:
        return object.__hash__(self)


def test_a_dict_that_holds_a_name_twice_is_refused() -> None:
    # In JSON it would stand twice, and nobody knows which DynamoDB takes.
    with pytest.raises(InvalidRecord, match="two names"):
        encode_put(Put({"id": "a", Name.ID: "b"}), TABLE, "refuse")
    assert encode_put(Put({Name.ID: "b"}), TABLE, "refuse").key == ("orders", "b")


def test_escapes_and_base64_count_against_the_request_not_against_the_item() -> None:
    for value, wire in (("é" * 100, 600), ("€" * 100, 600), ("\x00" * 100, 600), (b"x" * 300, 400)):
        encoder = ItemEncoder("refuse")
        _, body = encoder.encode_json({"v": value}, ())
        assert encoder.counted == 1 + len(value.encode() if isinstance(value, str) else value)
        assert wire < len(body) < wire + 30


@pytest.mark.parametrize("value", ["1 ", " 1", "1_0", "NaN", "", "e5", "٣"])
def test_the_endpoint_takes_no_number_that_is_none(value: str) -> None:
    with pytest.raises(AwsError):
        rules.read_item({"n": {"N": value}})
