"""What Sinkwell's own sinks are tested with: a local AWS that keeps AWS's rules and fails when it is told to."""

from ._answers import AddUnknown as AddUnknown
from ._answers import Contradict as Contradict
from ._answers import Omit as Omit
from ._answers import Reorder as Reorder
from ._answers import Repeat as Repeat
from ._clock import ClockAhead as ClockAhead
from ._dynamodb import DynamoDB as DynamoDB
from ._dynamodb_table import StoredWrite as StoredWrite
from ._endpoint import AwsEndpoint as AwsEndpoint
from ._faults import AccessDenied as AccessDenied
from ._faults import Bandwidth as Bandwidth
from ._faults import CutAnswer as CutAnswer
from ._faults import Drop as Drop
from ._faults import DropMidAnswer as DropMidAnswer
from ._faults import DropUnread as DropUnread
from ._faults import EmptyAnswer as EmptyAnswer
from ._faults import ExpiredToken as ExpiredToken
from ._faults import FailEntries as FailEntries
from ._faults import Garbage as Garbage
from ._faults import Hang as Hang
from ._faults import Late as Late
from ._faults import QueueGone as QueueGone
from ._faults import Redirect as Redirect
from ._faults import Refuse as Refuse
from ._faults import ServerError as ServerError
from ._faults import Throttle as Throttle
from ._faults import ThrottleWrites as ThrottleWrites
from ._faults import TopicGone as TopicGone
from ._faults import Trickle as Trickle
from ._faults import WrongChecksum as WrongChecksum
from ._plan import AwsPlan as AwsPlan
from ._sns import Sns as Sns
from ._sns_topic import StoredPublish as StoredPublish
from ._sqs import Sqs as Sqs
from ._sqs_queue import StoredMessage as StoredMessage
from ._sqs_rules import Attribute as Attribute
from ._turn import Pace as Pace
from ._turn import Turn as Turn
from ._wire import AwsError as AwsError
from ._wire import AwsRequest as AwsRequest
from ._wire import EntryError as EntryError
from ._wire import Reply as Reply

__all__ = [
    "AccessDenied",
    "AddUnknown",
    "Attribute",
    "AwsEndpoint",
    "AwsError",
    "AwsPlan",
    "AwsRequest",
    "Bandwidth",
    "ClockAhead",
    "Contradict",
    "CutAnswer",
    "Drop",
    "DropMidAnswer",
    "DropUnread",
    "DynamoDB",
    "EmptyAnswer",
    "EntryError",
    "ExpiredToken",
    "FailEntries",
    "Garbage",
    "Hang",
    "Late",
    "Omit",
    "Pace",
    "QueueGone",
    "Redirect",
    "Refuse",
    "Reorder",
    "Repeat",
    "Reply",
    "ServerError",
    "Sns",
    "Sqs",
    "StoredMessage",
    "StoredPublish",
    "StoredWrite",
    "Throttle",
    "ThrottleWrites",
    "TopicGone",
    "Trickle",
    "Turn",
    "WrongChecksum",
]
