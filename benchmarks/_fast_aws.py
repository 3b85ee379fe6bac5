"""A server that answers like SQS, DynamoDB and SNS as fast as Python can: every record is taken, nothing is kept.

In a process and on a core of its own, so that only the clients are measured.
`_fast_aws.py CORE DIGEST` prints its port.
"""

from __future__ import annotations

import asyncio
import os
import re
import sys
from typing import cast

import uvloop

_ENTRY = re.compile(rb'"Id":\s*"(\d+)"')
_MEMBER = re.compile(rb"\.Id=(\d+)&")
_TAKEN = b'{"Id":"%b","MessageId":"5fea7756-0ea4-451a-a703-a558b933e274","MD5OfMessageBody":"%b"}'
_TOPIC_ATTRIBUTES = (
    b"<GetTopicAttributesResponse><GetTopicAttributesResult><Attributes><entry><key>Owner</key><value>1</value></entry>"
    b"</Attributes></GetTopicAttributesResult></GetTopicAttributesResponse>"
)
_PUBLISHED = b"<member><MessageId>5fea7756-0ea4-451a-a703-a558b933e274</MessageId><Id>%b</Id></member>"
_PUBLISH = (
    b'<PublishBatchResponse xmlns="http://sns.amazonaws.com/doc/2010-03-31/">\n  <PublishBatchResult><Failed/>'
    b"<Successful>%b</Successful></PublishBatchResult><ResponseMetadata><RequestId>774a4f1b-5bd1-5a2f-9b7a-12a7f6a1c0de"
    b"</RequestId></ResponseMetadata></PublishBatchResponse>"
)
_ANSWER = (
    b"HTTP/1.1 200 OK\r\nx-amzn-RequestId: 774a4f1b-5bd1-5a2f-9b7a-12a7f6a1c0de\r\n"
    b"Date: Sat, 21 Nov 2026 12:00:00 GMT\r\nContent-Type: application/x-amz-json-1.0\r\nContent-Length: %d\r\n\r\n%b"
)
_TABLE = (
    b'{"Table":{"TableName":"orders","TableStatus":"ACTIVE","KeySchema":[{"AttributeName":"id","KeyType":"HASH"}],'
    b'"AttributeDefinitions":[{"AttributeName":"id","AttributeType":"S"}]}}'
)
_QUEUE = b'{"Attributes":{"QueueArn":"arn:aws:sqs:us-east-1:1:orders","MaximumMessageSize":"1048576"}}'


class Connection(asyncio.Protocol):
    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while True:
            head, found, rest = self.buffer.partition(b"\r\n\r\n")
            if not found:
                return
            head = head.lower()
            length = int(head.partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0])
            if len(rest) < length:
                return
            self.buffer = rest[length:]
            answer = answer_to(head, rest[:length])
            assert self.transport is not None
            self.transport.write(_ANSWER % (len(answer), answer))


def answer_to(head: bytes, body: bytes) -> bytes:
    if body.startswith(b"Action=PublishBatch&"):
        return _PUBLISH % b"".join([_PUBLISHED % entry for entry in _MEMBER.findall(body)])
    if body.startswith(b"Action="):
        return _TOPIC_ATTRIBUTES
    target = head.partition(b"\r\nx-amz-target:")[2].partition(b"\r\n")[0]
    if target.endswith(b".batchwriteitem"):
        return b'{"UnprocessedItems":{}}'
    if target.endswith(b".sendmessagebatch"):
        return b'{"Successful":[%b]}' % b",".join([_TAKEN % (entry, DIGEST) for entry in _ENTRY.findall(body)])
    return _TABLE if target.endswith(b".describetable") else _QUEUE


async def serve() -> None:
    server = await asyncio.get_running_loop().create_server(Connection, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    os.sched_setaffinity(0, {int(sys.argv[1])})
    DIGEST = sys.argv[2].encode()
    uvloop.run(serve())
