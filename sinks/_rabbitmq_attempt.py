"""What goes in which window, and what the broker's words mean. No await. Before: one batch. After: its verdicts.

A batch goes in one window, but for these cases:

1. A message has the id of an earlier one of the window: a new window begins, for a return names its message by its id.
2. An exchange has not answered for a message yet, or has closed a channel since: its first message goes alone. Refused,
   it is certain that neither it nor those behind it are written.
3. A message is suspected of having closed a channel: it goes alone. When it does so again, it is the culprit.

When a channel is closed over a window, those before the culprit may be in their queues and the others are not. All
that have no answer go again on a new channel, with attempts counted, and the suspects among them alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sinkwell.core import Delivered, Receipt, Rejected, Retry, Unknown

from ._rabbitmq_channel import ChannelError, Nacked, Returned

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sinkwell.core import Batch, Verdict

    from ._rabbitmq_channel import Answer
    from ._rabbitmq_message import Prepared

# AMQP's reply codes for a channel that is closed over one message; any other says nothing about messages.
_REFUSED, MISSING, _PRECONDITION = 403, 404, 406
_DEFAULT_EXCHANGE: Final = "amq.default"


@dataclass(slots=True, kw_only=True)
class RabbitMQReceipt(Receipt):
    """The broker has taken responsibility: every queue that the message was routed to has it.

    Attributes:
        message_id: the id that consumers see.
    """

    message_id: str


class Exchanges:
    """What the sink knows of the exchanges it publishes to, from one batch to the next."""

    def __init__(self) -> None:
        # They have answered for a message, and have closed no channel since.
        self.trusted: set[str] = set()
        # The longest body that was confirmed: a shorter one is not above the broker's limit.
        self.longest = 0


class Attempt:
    """One batch on its way.

    Args:
        batch: what the core wants written.
        exchanges: what earlier batches have taught; this one adds to it.
        repeats: whether what may be there already may go again.
    """

    def __init__(self, batch: Batch, exchanges: Exchanges, *, repeats: bool) -> None:
        self._entries = batch.entries
        self._exchanges = exchanges
        self._repeats = repeats
        self._messages: Sequence[Prepared] = batch.payloads
        self._verdicts: list[Verdict[RabbitMQReceipt] | None] = [None] * len(batch)
        # Indices without a verdict, in the order in which they must go.
        self.todo: Sequence[int] = range(len(batch))
        # How often each was written within this attempt and had no answer.
        self._unanswered = bytearray(len(batch))
        self._suspects: set[int] = set()

    def next_window(self) -> list[int]:
        """Choose what goes next, at once."""
        window: list[int] = []
        ids: set[bytes] = set()
        for index in self.todo:
            message = self._messages[index]
            if self._goes_alone(index, message):
                return window or [index]
            if message.message_id in ids:
                return window
            ids.add(message.message_id)
            window.append(index)
        return window

    def messages(self, window: Sequence[int]) -> list[Prepared]:
        """Return the messages of a window."""
        return [self._messages[index] for index in window]

    def _goes_alone(self, index: int, message: Prepared) -> bool:
        return message.is_suspect or message.exchange not in self._exchanges.trusted or index in self._suspects

    def landed(self, window: Sequence[int], answers: Sequence[Answer | None]) -> None:
        """Take the broker's words on a window that was written; `None` where there was none."""
        left: list[int] = []
        exchanges = self._exchanges
        for index, answer in zip(window, answers, strict=True):
            message = self._messages[index]
            if answer is True:
                attempts = self._entries[index].attempts + self._unanswered[index]
                receipt = RabbitMQReceipt(attempts=attempts, message_id=message.message_id.decode())
                self._verdicts[index] = Delivered(receipt)
                exchanges.longest = max(exchanges.longest, len(message.body))
            elif answer is None:
                left.append(index)
                continue
            else:
                self._verdicts[index] = self._refused(index, message, answer)
            exchanges.trusted.add(message.exchange)
        for index in left:
            self._unanswered[index] = min(self._unanswered[index] + 1, 255)
        self.todo = [*left, *self.todo[len(window) :]]

    def _refused(self, index: int, message: Prepared, answer: bool | Returned) -> Verdict[RabbitMQReceipt]:  # noqa: FBT001 - an Answer
        """Judge a message that the broker does not take responsibility for.

        The cases: (1) an earlier copy of it may have been taken, (2) returned: no queue has it, (3) refused by the one
        queue that the default exchange knows, (4) refused by some queue, while others may have it.
        """
        if isinstance(answer, Returned):
            return Unknown(answer) if self._unanswered[index] else Rejected(answer)
        nacked = Nacked("the broker refused the message (basic.nack): a queue is full or has failed")
        if self._unanswered[index] or message.exchange:
            return Unknown(nacked)
        return Retry(nacked, throttled=True)

    def channel_closed(self, window: Sequence[int], error: ChannelError) -> None:
        """Learn that the broker closed the channel over a window, whose answers have `landed`."""
        left = [index for index in window if self._verdicts[index] is None]
        if not left:
            return  # it was closed over nothing that we wait for
        if error.code not in (_REFUSED, MISSING, _PRECONDITION):
            self.end(error)
        elif len(window) == 1:
            self._culprit_found(left[0], error)
        elif not self._repeats:
            for index in left:
                self._verdicts[index] = Unknown(error)
            self.todo = self.todo[len(left) :]
            self._distrust(left, error)
        elif error.code == _PRECONDITION:
            # The broker said no to what a message says, or to its size.
            risky = [index for index in left if self._may_be_precluded(self._messages[index])]
            self._suspects.update(risky or left)
        else:
            self._distrust(left, error)

    def _distrust(self, left: Sequence[int], error: ChannelError) -> None:
        """Remember whose fault it may have been: an exchange's, or that of messages for it."""
        named = [index for index in left if _names(error, self._messages[index].exchange)] or left
        if error.code != _PRECONDITION and _is_about_exchange(error):
            self._exchanges.trusted.difference_update(self._messages[index].exchange for index in named)
        else:
            self._suspects.update(named)

    def _may_be_precluded(self, message: Prepared) -> bool:
        return not message.is_plain or len(message.body) > self._exchanges.longest

    def _culprit_found(self, culprit: int, error: ChannelError) -> None:
        """Judge a message that closed a channel alone, and those that would do the same."""
        exchange = self._messages[culprit].exchange
        self._judge_culprit(culprit, error)
        if error.code != _PRECONDITION and _is_about_exchange(error):
            self._exchanges.trusted.discard(exchange)
            for index in self.todo:
                if self._messages[index].exchange == exchange and self._verdicts[index] is None:
                    self._judge_culprit(index, error)
        self.todo = [index for index in self.todo if self._verdicts[index] is None]

    def _judge_culprit(self, index: int, error: ChannelError) -> None:
        """A precondition is about the message itself, so no earlier copy was taken; the other two may have changed."""
        had_a_copy = self._unanswered[index] > (index == self.todo[0])
        if had_a_copy and error.code != _PRECONDITION:
            self._messages[index].is_suspect = True
            self._verdicts[index] = Unknown(error)
        else:
            self._verdicts[index] = Rejected(error)

    def end(self, error: BaseException, *, is_setup: bool = False) -> None:
        """Give up the rest: what was written and has no answer is unknown, what was not is not there."""
        self._end(error, Rejected(error) if is_setup else Retry(error))

    def held_back(self, error: BaseException, seconds: float) -> None:
        """Give up the rest while the broker takes nothing: what was not written waits, which is no attempt."""
        self._end(error, Retry(error, throttled=True, after=seconds, unsent=True))

    def _end(self, error: BaseException, unwritten: Rejected | Retry) -> None:
        for index in self.todo:
            self._verdicts[index] = Unknown(error) if self._unanswered[index] else unwritten
        self.todo = []

    def verdicts(self) -> list[Verdict[RabbitMQReceipt]]:
        """Return a verdict for each entry, in order."""
        return [verdict for verdict in self._verdicts if verdict is not None]


def _names(error: ChannelError, exchange: str) -> bool:
    return f"exchange '{exchange or _DEFAULT_EXCHANGE}'" in str(error)


def _is_about_exchange(error: ChannelError) -> bool:
    """Tell the exchange's absence or right from that of one routing key (topic authorisation)."""
    return "access to topic" not in str(error)
