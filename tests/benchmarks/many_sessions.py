"""Twenty users at once, each a websocket client: the response time of pages under load.

A session acts every ten seconds: it opens the next page, as a click on the menu would; an act ends when
the server reports the end of the page's script. Clients use Streamlit's own protocol, without a browser.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.asyncio.client import ClientConnection, connect

ACT_EVERY_S = 10.0
LONGEST_ACT_S = 120.0


def act_seconds(
    address: str,
    paths: Sequence[str],
    sessions: int = 20,
    acts: int = 5,
    clock: Callable[[], float] = time.process_time,
) -> tuple[list[float], float]:
    """Seconds of every act of all sessions, and the CPU time of all of them together.

    First loads are left out of both.

    Args:
        address: of the dashboard.
        paths: last parts of the pages' addresses, which each session visits in turn.
        sessions: at once.
        acts: of each.
        clock: of the server's CPU time.
    """
    return asyncio.run(_Crowd(address, paths, sessions, acts, clock).act())


@dataclass
class _Crowd:
    """The sessions of one run, and the CPU time of the server after the last first load."""

    address: str
    paths: Sequence[str]
    sessions: int
    acts: int
    clock: Callable[[], float]
    start_cpu_s: float = 0.0

    async def act(self) -> tuple[list[float], float]:
        self.all_there = asyncio.Barrier(self.sessions)
        seconds = await asyncio.gather(*map(self.session, range(self.sessions)))
        return list(itertools.chain.from_iterable(seconds)), self.clock() - self.start_cpu_s

    async def session(self, place: int) -> list[float]:
        url = f"ws{self.address.removeprefix('http')}/_stcore/stream"
        seconds = []
        async with connect(url, origin=self.address, subprotocols=["streamlit"], max_size=None) as socket:  # type: ignore[arg-type,list-item]
            pages = await _run(socket, "")
            if await self.all_there.wait() == 0:
                self.start_cpu_s = self.clock()
            starts = time.monotonic() + ACT_EVERY_S * place / self.sessions
            for number in range(self.acts):
                await asyncio.sleep(max(0.0, starts + number * ACT_EVERY_S - time.monotonic()))
                start = time.perf_counter()
                await _run(socket, pages[self.paths[(place + number) % len(self.paths)]])
                seconds.append(time.perf_counter() - start)
        return seconds


async def _run(socket: ClientConnection, page_hash: str) -> dict[str, str]:
    """Request a page and wait until it is drawn; returns the hashes of the pages by their paths."""
    request = BackMsg()
    request.rerun_script.page_script_hash = page_hash
    request.rerun_script.query_string = ""
    await socket.send(request.SerializeToString())
    pages: dict[str, str] = {}
    async with asyncio.timeout(LONGEST_ACT_S):
        async for packed in socket:
            message = ForwardMsg()
            message.ParseFromString(packed)  # type: ignore[arg-type]
            if message.WhichOneof("type") == "navigation":
                pages = {page.url_pathname: page.page_script_hash for page in message.navigation.app_pages}
            elif message.WhichOneof("type") == "script_finished":
                return pages
    raise RuntimeError("the server closed the session")
