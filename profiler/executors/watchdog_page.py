"""The position of a child process in its work, in memory shared with its parent: it names what crashed."""

from __future__ import annotations

import mmap
import os
import struct
import tempfile

_FORM = struct.Struct("<iI")


class WatchdogPage:
    """The index of what runs now (-1 for none), and how often it was set.

    Setting it costs a store to memory and wakes no process: a message per visit would disturb what is
    measured.
    """

    def __init__(self, descriptor: int | None = None) -> None:
        """Share the page behind `descriptor`, or a new one."""
        if descriptor is None:
            with tempfile.TemporaryFile() as page:
                page.write(_FORM.pack(-1, 0))
                page.flush()
                self.descriptor = os.dup(page.fileno())
        else:
            self.descriptor = descriptor
        self._page = mmap.mmap(self.descriptor, _FORM.size)

    def set_current(self, index: int) -> None:
        """Note that the item of this index runs now."""
        _FORM.pack_into(self._page, 0, index, (self.steps + 1) % 2**32)

    @property
    def current(self) -> int:
        """The index that was set last."""
        return int(_FORM.unpack_from(self._page)[0])

    @property
    def steps(self) -> int:
        """How often an index was set; a watchdog expects it to grow."""
        return int(_FORM.unpack_from(self._page)[1])

    def close(self) -> None:
        """Give the page back."""
        self._page.close()
        os.close(self.descriptor)
