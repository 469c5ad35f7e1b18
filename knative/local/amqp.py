"""RabbitMQ through pika as awaitables: a `Link` is one connection; whatever was under way when it broke is `Lost`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pika
from pika.adapters.asyncio_connection import AsyncioConnection
from pika.exceptions import AMQPError

#: Messages RabbitMQ hands to one consumer before it waits for acknowledgements (Knative's number).
PREFETCH = 100


class Lost(Exception):
    """The connection broke, or RabbitMQ refused a message: only what was confirmed before is known to be safe."""


class Link:
    """One connection with one channel, publisher confirms on. Not to be used again once `lost` has an exception."""

    def __init__(self, url: str) -> None:
        loop = asyncio.get_running_loop()
        self.lost: asyncio.Future[None] = loop.create_future()
        self._open: set[asyncio.Future[Any]] = {self.lost}
        self._unconfirmed: dict[int, asyncio.Future[Any]] = {}
        self._published = 0
        parameters = pika.URLParameters(url)
        parameters.heartbeat, parameters.socket_timeout, parameters.stack_timeout = 10, 5, 5
        self._opened = self._future()
        self._connection = AsyncioConnection(
            parameters, _settler(self._opened), on_open_error_callback=self._broke, on_close_callback=self._broke
        )
        self._channel: Any = None

    @classmethod
    async def open(cls, url: str) -> Link:
        """Lost where nobody answers at `url`."""
        link = cls(url)
        try:
            await link._opened
            ready = link._future()
            link._channel = link._connection.channel(on_open_callback=_settler(ready))
            link._channel.add_on_close_callback(link._broke)
            link._channel.add_on_cancel_callback(lambda _: link._broke(None, "a consumer was cancelled"))
            await ready
            await link.call(link._channel.basic_qos, prefetch_count=PREFETCH)
            await link.call(link._channel.confirm_delivery, ack_nack_callback=link._confirmed)
        except BaseException:
            link.close()
            raise
        return link

    def close(self) -> None:
        self._broke(None, "closed")
        if not (self._connection.is_closing or self._connection.is_closed):
            self._connection.close()

    async def call(self, method: Callable[..., Any], **arguments: Any) -> Any:
        """Ask RabbitMQ and wait for its answer."""
        answer = self._future()
        try:
            method(**arguments, callback=_settler(answer))
        except AMQPError as error:
            self._broke(None, error)
        return await answer

    async def exchange(self, name: str) -> None:
        await self.call(self._channel.exchange_declare, exchange=name, exchange_type="headers", durable=True)

    async def queue(self, name: str, kind: str = "quorum") -> int:
        """Have a durable queue; how many messages are ready in it."""
        arguments = {"x-queue-type": kind}
        found = await self.call(self._channel.queue_declare, queue=name, durable=True, arguments=arguments)
        return int(found.method.message_count)

    async def ready(self, queue: str) -> int:
        """Messages waiting in a queue that is known to be there, those handed to a consumer not counted."""
        return int((await self.call(self._channel.queue_declare, queue=queue, passive=True)).method.message_count)

    async def bind(self, queue: str, exchange: str, match: dict[str, str]) -> None:
        """Every message with all these headers, letter for letter. Names beginning with x- do not count."""
        arguments = {**match, "x-match": "all"}
        await self.call(self._channel.queue_bind, queue=queue, exchange=exchange, arguments=arguments)

    async def unbind(self, queue: str, exchange: str, match: dict[str, str]) -> None:
        arguments = {**match, "x-match": "all"}
        await self.call(self._channel.queue_unbind, queue=queue, exchange=exchange, arguments=arguments)

    async def delete(self, queue: str) -> None:
        await self.call(self._channel.queue_delete, queue=queue)

    async def get(self, queue: str) -> bytes:
        """Take one message out of a queue that is known to have one."""
        answer = self._future()
        self._channel.basic_get(queue, lambda *found: _settler(answer)(found[3]), auto_ack=True)
        return bytes(await answer)

    async def consume(self, queue: str, receive: Callable[[int, pika.BasicProperties, bytes], None]) -> None:
        """Call `receive(tag, properties, body)` for each message; it stays RabbitMQ's until `ack(tag)`."""

        def deliver(_: object, method: Any, properties: pika.BasicProperties, body: bytes) -> None:
            receive(method.delivery_tag, properties, body)

        await self.call(self._channel.basic_consume, queue=queue, on_message_callback=deliver)

    def ack(self, tag: int) -> None:
        try:
            self._channel.basic_ack(tag)
        except AMQPError as error:
            raise Lost(str(error)) from error

    async def publish(self, exchange: str, properties: pika.BasicProperties, body: bytes, key: str = "") -> None:
        """Returns once RabbitMQ has the message safe."""
        try:
            self._channel.basic_publish(exchange, key, body, properties)
        except AMQPError as error:
            raise Lost(str(error)) from error
        self._published += 1
        self._unconfirmed[self._published] = confirmed = self._future()
        await confirmed

    def _confirmed(self, frame: Any) -> None:
        tag, refused = frame.method.delivery_tag, isinstance(frame.method, pika.spec.Basic.Nack)
        for each in [t for t in self._unconfirmed if t <= tag] if frame.method.multiple else [tag]:
            waiting = self._unconfirmed.pop(each)
            if refused and not waiting.done():
                waiting.set_exception(Lost("RabbitMQ refused a message"))
            _settler(waiting)(None)

    def _future(self) -> asyncio.Future[Any]:
        future = self.lost.get_loop().create_future()
        if self.lost.done():
            future.set_exception(Lost("not connected"))
        else:
            self._open.add(future)
            future.add_done_callback(self._open.discard)
        return future

    def _broke(self, _: object, reason: object) -> None:
        for future in list(self._open):
            if not future.done():
                future.set_exception(Lost(str(reason)))
                future.exception()  # looked at: whoever waits gets it, nobody else is warned
        self._open.clear()


def _settler(future: asyncio.Future[Any]) -> Callable[[Any], None]:
    return lambda answer: None if future.done() else future.set_result(answer)
