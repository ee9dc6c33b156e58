"""Twenty people at once, each a websocket client: how long a page takes while all of them look around.

A session acts every ten seconds: it goes to the next page, as a click on the menu would; an act ends when
the server says that the page's script has ended. It speaks Streamlit's own protocol, without a browser.
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
    """Seconds of every act of all sessions, and what the clock says that all of them took together.

    Their first looks are left out of both.

    Args:
        address: of the dashboard.
        paths: last parts of the pages' addresses, which each session visits in turn.
        sessions: people at once.
        acts: of each.
        clock: of the server's CPU time.
    """
    return asyncio.run(_Crowd(address, paths, sessions, acts, clock).act())


@dataclass
class _Crowd:
    """The sessions of one run, and the server's clock when the last one had its first look."""

    address: str
    paths: Sequence[str]
    sessions: int
    acts: int
    clock: Callable[[], float]
    begun_s: float = 0.0

    async def act(self) -> tuple[list[float], float]:
        self.all_there = asyncio.Barrier(self.sessions)
        took = await asyncio.gather(*map(self.session, range(self.sessions)))
        return list(itertools.chain.from_iterable(took)), self.clock() - self.begun_s

    async def session(self, place: int) -> list[float]:
        url = f"ws{self.address.removeprefix('http')}/_stcore/stream"
        took = []
        async with connect(url, origin=self.address, subprotocols=["streamlit"], max_size=None) as socket:  # type: ignore[arg-type,list-item]
            pages = await _run(socket, "")
            if await self.all_there.wait() == 0:
                self.begun_s = self.clock()
            starts = time.monotonic() + ACT_EVERY_S * place / self.sessions
            for number in range(self.acts):
                await asyncio.sleep(max(0.0, starts + number * ACT_EVERY_S - time.monotonic()))
                begun = time.perf_counter()
                await _run(socket, pages[self.paths[(place + number) % len(self.paths)]])
                took.append(time.perf_counter() - begun)
        return took


async def _run(socket: ClientConnection, page_hash: str) -> dict[str, str]:
    """Ask for a page and wait until it has been drawn; gives the pages' hashes by their paths."""
    asked = BackMsg()
    asked.rerun_script.page_script_hash = page_hash
    asked.rerun_script.query_string = ""
    await socket.send(asked.SerializeToString())
    pages: dict[str, str] = {}
    async with asyncio.timeout(LONGEST_ACT_S):
        async for packed in socket:
            told = ForwardMsg()
            told.ParseFromString(packed)  # type: ignore[arg-type]
            if told.WhichOneof("type") == "navigation":
                pages = {page.url_pathname: page.page_script_hash for page in told.navigation.app_pages}
            elif told.WhichOneof("type") == "script_finished":
                return pages
    raise RuntimeError("the server closed the session")
