"""A network on loopback that can be cut: it forwards connections to a port until it is told not to."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any


class LoopbackProxy:
    """Forwards what arrives at its own port to another port, from a thread of its own."""

    def __init__(self, target: int) -> None:
        """Listen on a free port, and forward to `target` of this machine."""
        self._target = target
        self._refuses = False
        self._writers: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._run(self._start())

    @property
    def port(self) -> int:
        """The port to connect to."""
        return int(self._server.sockets[0].getsockname()[1])

    def fall_silent(self) -> None:
        """Hold back every byte, as a network does whose cable is pulled: nobody is told."""
        self._loop.call_soon_threadsafe(self._forwards.clear)

    def reset(self) -> None:
        """End every connection, and refuse new ones."""
        self._run(self._reset())

    def restore(self) -> None:
        """Forward again, what was held back first."""
        self._refuses = False
        self._loop.call_soon_threadsafe(self._forwards.set)

    def close(self) -> None:
        """End all connections and the thread."""
        self._run(self._reset())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _run(self, coroutine: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(10)

    async def _start(self) -> None:
        self._forwards = asyncio.Event()
        self._forwards.set()
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)

    async def _reset(self) -> None:
        self._refuses = True
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if self._refuses:
                raise ConnectionRefusedError
            onward_reader, onward_writer = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, onward_writer}
        await asyncio.gather(self._pump(reader, onward_writer), self._pump(onward_reader, writer))

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while chunk := await reader.read(1 << 16):
                await self._forwards.wait()
                writer.write(chunk)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.transport.abort()
            self._writers.discard(writer)
