"""`AwsEndpoint`: a local AWS in the user's own event loop. Reads, asks the plan, performs, answers.

Before me: `_http.py`. After me: `_plan.py` says what goes wrong, `_sqs.py` and `_dynamodb.py` what AWS does.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from typing import TYPE_CHECKING, Protocol, Self, final

from ._dynamodb import DynamoDB
from ._faults import DropUnread
from ._fields import document_of
from ._http import Connection, Head
from ._plan import AwsPlan
from ._query import read_form
from ._sns import Sns
from ._sqs import Sqs
from ._turn import Pace, Turn
from ._wire import AwsError, AwsRequest, Document, EntryError, Reply, to_wire, xml_reply

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

    from ._turn import Fault


class _Service(Protocol):
    """What the endpoint needs of one AWS service."""

    name: str
    prefix: str

    def perform(self, request: AwsRequest, refused: Mapping[str, EntryError]) -> Document: ...
    def error_reply(self, error: AwsError) -> Reply: ...


@final
class AwsEndpoint:
    """A local AWS endpoint that keeps AWS's rules to the byte, remembers everything, and fails when it is told to.

    It runs in the event loop that enters it, on 127.0.0.1, without a thread or a task, and needs no package.

    ```python
    async with AwsEndpoint() as aws, session.client("sqs", **aws.client_options()) as client:
        queue_url = aws.sqs.create_queue("orders")
        aws.plan.next("SendMessageBatch", FailEntries(positions=[1]))
        await client.send_message_batch(QueueUrl=queue_url, Entries=[...])
        assert [message.body for message in aws.sqs.messages(queue_url)] == ["a", "c"]
        print(aws.log[-1])
    ```

    Args:
        port: 0 takes a free one.

        seed: of the plan's chance; see `AwsPlan`.

        remembers: False keeps no log and no messages, only counts: for benchmarks that send millions.

    Attributes:
        plan: what goes wrong, and when.
        log: every request so far, in order of its arrival.
        sqs: the queues.
        sns: the topics.
        dynamodb: the tables.
    """

    def __init__(self, *, port: int = 0, seed: int = 0, remembers: bool = True) -> None:
        self.plan = AwsPlan(seed)
        self.log: list[AwsRequest] = []
        self._port = port
        self._remembers = remembers
        self._requests = 0
        self._arrived: Counter[str] = Counter()
        # Those in `arrival`; each looks again after the next request.
        self._waiting: list[asyncio.Future[None]] = []
        self._server: asyncio.Server | None = None
        self._sqs: Sqs | None = None
        self._sns: Sns | None = None
        self._dynamodb: DynamoDB | None = None
        self._services: dict[str, _Service] = {}
        self._connections: set[Connection] = set()
        # Waits of turns that are not over. Cancelled when the endpoint closes, and only then: a request whose client
        # left is still carried out.
        self._timers: set[asyncio.TimerHandle] = set()
        # The faults chosen at a request's head, until its body is there.
        self._chosen: dict[Connection, list[tuple[Fault, random.Random]]] = {}

    async def __aenter__(self) -> Self:
        self._loop = asyncio.get_running_loop()
        self._server = await self._loop.create_server(lambda: Connection(self), "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]
        self._sqs = Sqs(self._loop.time, self.url, remembers=self._remembers)
        self._sns = Sns(self._loop.time, self._sqs, remembers=self._remembers)
        self._dynamodb = DynamoDB(self._loop.time, remembers=self._remembers)
        services: tuple[_Service, ...] = (self._sqs, self._sns, self._dynamodb)
        self._services = {name: service for service in services for name in (service.prefix, service.name)}
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the port, every connection and every wait; the log and the queues can still be read."""
        if self._server is None:
            return
        server, self._server = self._server, None
        server.close()
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        self._wake_waiting()
        for connection in list(self._connections):
            connection.drop()
        await server.wait_closed()

    @property
    def url(self) -> str:
        """What a client takes as `endpoint_url`."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def sqs(self) -> Sqs:
        """The queues, from the moment the endpoint was entered.

        Raises:
            RuntimeError: if it was not.
        """
        if self._sqs is None:
            raise RuntimeError("The endpoint has no queues before `async with` has entered it")
        return self._sqs

    @property
    def sns(self) -> Sns:
        """The topics, from the moment the endpoint was entered.

        Raises:
            RuntimeError: if it was not.
        """
        if self._sns is None:
            raise RuntimeError("The endpoint has no topics before `async with` has entered it")
        return self._sns

    @property
    def dynamodb(self) -> DynamoDB:
        """The tables, from the moment the endpoint was entered.

        Raises:
            RuntimeError: if it was not.
        """
        if self._dynamodb is None:
            raise RuntimeError("The endpoint has no tables before `async with` has entered it")
        return self._dynamodb

    def client_options(self) -> dict[str, str]:
        """What `session.client("sqs", **options)` needs to talk to this endpoint: URL, region and made-up keys."""
        return {
            "endpoint_url": self.url,
            "region_name": "us-east-1",
            "aws_access_key_id": "testing",
            "aws_secret_access_key": "testing",
        }

    async def arrival(self, action: str, count: int = 1) -> None:
        """Wait until so many requests of an action have come since the endpoint began.

        Cancelled while waiting: nothing else happens.

        Raises:
            RuntimeError: if the endpoint is closed, or closes, before that.
        """
        while self._arrived[action] < count:
            if self._server is None:
                raise RuntimeError(f"The endpoint was closed before {action} had come {count} times")
            coming: asyncio.Future[None] = self._loop.create_future()
            self._waiting.append(coming)
            await coming

    def requests(self, action: str) -> list[AwsRequest]:
        """The log's requests of one action."""
        return [request for request in self.log if request.action == action]

    def __repr__(self) -> str:
        state = "open" if self._server is not None else "closed"
        return f"<AwsEndpoint {self.url} {state} requests={self._requests} connections={len(self._connections)}>"

    # What a connection tells.

    def opened(self, connection: Connection) -> None:
        """A client came."""
        self._connections.add(connection)

    def closed(self, connection: Connection) -> None:
        """A client left, or was dropped."""
        self._connections.discard(connection)
        self._chosen.pop(connection, None)

    def wants_body(self, connection: Connection, head: Head) -> bool:
        """A request's head is there: choose its faults. False if it was dropped at once."""
        if head.is_form:
            return True
        prefix, _, action = head.target.partition(".")
        chosen = self.plan.choose(action)
        if not chosen:
            return True
        if any(isinstance(fault, DropUnread) for fault, _ in chosen):
            request = self._new_request(prefix, action, head)
            request.faults = tuple(repr(fault) for fault, _ in chosen)
            request.ending = "dropped"
            connection.drop()
            return False
        self._chosen[connection] = chosen
        return True

    def serve(self, connection: Connection, head: Head, body: bytes) -> None:
        """A request is there as a whole."""
        if head.is_form:
            prefix, (action, document) = Sns.prefix, read_form(body)
            chosen = self.plan.choose(action)
        else:
            (prefix, _, action), document = head.target.partition("."), _read_document(body)
            chosen = self._chosen.pop(connection, []) if self._chosen else []
        request = self._new_request(prefix, action, head)
        request.document = document or {}
        chosen += self.plan.ask_scripts(request)
        if document is not None and not chosen:
            self._send_all(connection, request, self._perform(request, {}))
            return
        turn = _turn_of(request, chosen)
        if document is None and turn.instead is None:
            turn.instead, turn.is_applied = AwsError("SerializationException"), False
        if turn.wait_before > 0:
            self._later(turn.wait_before, lambda: self._carry_out(turn, connection))
        else:
            self._carry_out(turn, connection)

    def _new_request(self, prefix: str, action: str, head: Head) -> AwsRequest:
        self._requests += 1
        request = AwsRequest(self._requests, self._service(prefix).name, action, self._loop.time())
        request.signed_at = head.signed_at
        if self._remembers:
            self.log.append(request)
        self._arrived[action] += 1
        if self._waiting:
            self._wake_waiting()
        return request

    def _wake_waiting(self) -> None:
        while self._waiting:
            coming = self._waiting.pop()
            if not coming.done():
                coming.set_result(None)

    def _service(self, name: str) -> _Service:
        """A service by its name or prefix; SQS answers for one that nobody knows."""
        return self._services.get(name) or self.sqs

    def _perform(self, request: AwsRequest, refused: Mapping[str, EntryError]) -> Reply:
        service = self._service(request.service)
        try:
            document = service.perform(request, refused)
        except AwsError as error:
            return service.error_reply(error)
        return xml_reply(request.action, document) if service is self._sns else Reply(document=document)

    def _carry_out(self, turn: Turn, connection: Connection) -> None:
        """Apply (or not), find the answer, and let it leave when its time has come."""
        request = turn.request
        performed = self._perform(request, turn.refused) if turn.is_applied else Reply()
        reply = performed if turn.instead is None else turn.instead
        if isinstance(reply, AwsError):
            reply = self._service(request.service).error_reply(reply)
        for edit in turn.edits:
            edit(reply)
        if turn.hangs:
            request.ending = "hung"
        elif turn.cut_at == 0:
            request.ending = "dropped"
            connection.drop(resets=turn.resets)
        elif turn.wait_after > 0:
            self._later(turn.wait_after, lambda: self._answer(turn, reply, connection))
        else:
            self._answer(turn, reply, connection)

    def _answer(self, turn: Turn, reply: Reply, connection: Connection) -> None:
        """The answer's bytes leave: (1) cut short, (2) in pieces, (3) at once."""
        if not connection.is_open:
            return
        if turn.cut_at is not None:
            wire = _to_wire(turn.request, reply)
            turn.request.ending = "cut"
            connection.write(wire[: max(1, int(len(wire) * turn.cut_at))])
            connection.drop(resets=turn.resets, flushes=not turn.resets)
        elif turn.pace is not None:
            self._send_piece(turn.request, _to_wire(turn.request, reply), turn.pace, connection)
        else:
            self._send_all(connection, turn.request, reply)

    def _send_all(self, connection: Connection, request: AwsRequest, reply: Reply) -> None:
        connection.write(_to_wire(request, reply))
        request.ending = "answered"
        connection.finish()

    def _send_piece(self, request: AwsRequest, wire: bytes, pace: Pace, connection: Connection) -> None:
        if not connection.is_open:
            return
        connection.write(wire[: pace.piece_bytes])
        rest = wire[pace.piece_bytes :]
        if rest:
            self._later(pace.pause, lambda: self._send_piece(request, rest, pace, connection))
        else:
            request.ending = "answered"
            connection.finish()

    def _later(self, seconds: float, act: Callable[[], None]) -> None:
        def ring() -> None:
            self._timers.discard(timer)
            act()

        timer = self._loop.call_later(seconds, ring)
        self._timers.add(timer)


def _read_document(body: bytes) -> Document | None:
    """The request's JSON object; None if it is none."""
    try:
        return document_of(json.loads(body))
    except (ValueError, RecursionError, AwsError):
        return None


def _turn_of(request: AwsRequest, chosen: list[tuple[Fault, random.Random]]) -> Turn:
    turn = Turn(request, random.Random(0))  # noqa: S311 - replaced below by the rule's own
    for fault, rng in chosen:
        turn.rng = rng
        fault(turn)
    request.faults = tuple(repr(fault) for fault, _ in chosen)
    return turn


def _to_wire(request: AwsRequest, reply: Reply) -> bytes:
    request.status, request.answer = reply.status, reply.to_body()
    return to_wire(reply.status, reply.content_type, reply.headers, request.answer, request.number)
