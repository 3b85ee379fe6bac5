"""Sinkwell's batching core: records in one at a time, the provider's best batches out. Standard library only."""

from ._batch import Batch as Batch
from ._batch import SealReason as SealReason
from ._batched import batched as batched
from ._batched_function import Batched as Batched
from ._batched_function import BatchedMethod as BatchedMethod
from ._dead_letter import DeadLetter as DeadLetter
from ._dead_letter import DeadLetterTarget as DeadLetterTarget
from ._destination import Destination as Destination
from ._entry import Encoded as Encoded
from ._entry import Entry as Entry
from ._errors import ConfigError as ConfigError
from ._errors import DeliveryAbandoned as DeliveryAbandoned
from ._errors import DeliveryError as DeliveryError
from ._errors import DeliveryExpired as DeliveryExpired
from ._errors import DeliveryRejected as DeliveryRejected
from ._errors import DeliverySuperseded as DeliverySuperseded
from ._errors import InvalidRecord as InvalidRecord
from ._errors import RecordTooLarge as RecordTooLarge
from ._errors import SinkClosed as SinkClosed
from ._errors import SinkFull as SinkFull
from ._errors import SinkwellError as SinkwellError
from ._observe import BatchDone as BatchDone
from ._observe import BatchSent as BatchSent
from ._observe import CloseReport as CloseReport
from ._observe import DeadLetterFailed as DeadLetterFailed
from ._observe import Observer as Observer
from ._observe import RecordFailed as RecordFailed
from ._observe import RecordOrphaned as RecordOrphaned
from ._observe import SinkStats as SinkStats
from ._policy import Adaptive as Adaptive
from ._policy import Backoff as Backoff
from ._policy import Limits as Limits
from ._policy import Policy as Policy
from ._policy import Rate as Rate
from ._receipt import Outcome as Outcome
from ._receipt import Receipt as Receipt
from ._sink import Sink as Sink
from ._verdict import BatchRefused as BatchRefused
from ._verdict import Delivered as Delivered
from ._verdict import Rejected as Rejected
from ._verdict import Retry as Retry
from ._verdict import Unknown as Unknown
from ._verdict import Verdict as Verdict

__all__ = [
    "Adaptive",
    "Backoff",
    "Batch",
    "BatchDone",
    "BatchRefused",
    "BatchSent",
    "Batched",
    "BatchedMethod",
    "CloseReport",
    "ConfigError",
    "DeadLetter",
    "DeadLetterFailed",
    "DeadLetterTarget",
    "Delivered",
    "DeliveryAbandoned",
    "DeliveryError",
    "DeliveryExpired",
    "DeliveryRejected",
    "DeliverySuperseded",
    "Destination",
    "Encoded",
    "Entry",
    "InvalidRecord",
    "Limits",
    "Observer",
    "Outcome",
    "Policy",
    "Rate",
    "Receipt",
    "RecordFailed",
    "RecordOrphaned",
    "RecordTooLarge",
    "Rejected",
    "Retry",
    "SealReason",
    "Sink",
    "SinkClosed",
    "SinkFull",
    "SinkStats",
    "SinkwellError",
    "Unknown",
    "Verdict",
    "batched",
]
