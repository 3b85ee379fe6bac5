"""A gRPC service: each call carries one item, the model behind it is called with lists.

Run it: a server, and a client that makes three hundred calls at once, one of them malformed.
"""

import asyncio
import json
import time
from typing import Any

import grpc

from sinkwell.core import batched

METHOD = ("examples.Predictor", "Predict")


@batched(max_records=200)
def predict(rows: list[list[float]]) -> list[float | Exception]:
    """Sum each row, in the 11 ms to 13 ms that such a model takes."""
    time.sleep(0.011 + 0.000_01 * (len(rows) - 1))
    return [sum(row) if row else ValueError("an empty row") for row in rows]


async def handle(row: list[float], context: grpc.aio.ServicerContext[Any, Any]) -> float:
    """Handle one call; it knows nothing of lists."""
    try:
        return await predict(row)
    except ValueError as error:
        await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))


def encode(value: object) -> bytes:
    """Stand in for protobuf, whose generated code would be longer than this page."""
    return json.dumps(value).encode()


async def serve() -> tuple[grpc.aio.Server, int]:
    """Start the server on a free port."""
    server = grpc.aio.server()
    handler = grpc.unary_unary_rpc_method_handler(handle, request_deserializer=json.loads, response_serializer=encode)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(METHOD[0], {METHOD[1]: handler}),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    return server, port


async def main() -> None:
    """Make three hundred calls."""
    server, port = await serve()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = channel.unary_unary("/".join(("", *METHOD)), request_serializer=encode, response_deserializer=json.loads)
        rows = [[float(number), 0.5] for number in range(299)]
        answers = await asyncio.gather(*(call(row, timeout=10) for row in [*rows, []]), return_exceptions=True)
    await server.stop(grace=1)

    assert answers[:299] == [sum(row) for row in rows]
    assert isinstance(answers[299], grpc.aio.AioRpcError)
    assert answers[299].code() is grpc.StatusCode.INVALID_ARGUMENT
    calls = predict.stats().requests
    assert calls < 100
    print(f"{len(answers)} calls, far fewer of the model, 1 failed alone")


if __name__ == "__main__":
    asyncio.run(main())
