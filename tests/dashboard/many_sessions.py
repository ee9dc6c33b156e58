"""Twenty people at once, each a websocket client: how long a page takes while all of them look around.

A session acts every ten seconds: it goes to the next page, as a click on the menu would; an act ends when
the server says that the page's script has ended. It speaks Streamlit's own protocol, without a browser.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Sequence

from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.asyncio.client import ClientConnection, connect

ACT_EVERY_S = 10.0
LONGEST_ACT_S = 120.0


def act_seconds(address: str, paths: Sequence[str], sessions: int = 20, acts: int = 5) -> list[float]:
    """Seconds of every act of all sessions, their first looks left out.

    Args:
        address: of the dashboard.
        paths: last parts of the pages' addresses, which each session visits in turn.
        sessions: people at once.
        acts: of each.
    """
    return asyncio.run(_all(address, paths, sessions, acts))


async def _all(address: str, paths: Sequence[str], sessions: int, acts: int) -> list[float]:
    each = [_session(address, paths, place, sessions, acts) for place in range(sessions)]
    return list(itertools.chain.from_iterable(await asyncio.gather(*each)))


async def _session(address: str, paths: Sequence[str], place: int, sessions: int, acts: int) -> list[float]:
    url = f"ws{address.removeprefix('http')}/_stcore/stream"
    took = []
    async with connect(url, origin=address, subprotocols=["streamlit"], max_size=None) as socket:  # type: ignore[arg-type,list-item]
        pages = await _run(socket, "")
        starts = time.monotonic() + ACT_EVERY_S * place / sessions
        for number in range(acts):
            await asyncio.sleep(max(0.0, starts + number * ACT_EVERY_S - time.monotonic()))
            begun = time.perf_counter()
            await _run(socket, pages[paths[(place + number) % len(paths)]])
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
