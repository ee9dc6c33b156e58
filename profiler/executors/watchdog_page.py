"""Where a child is, in memory shared with its parent, so that a crash has a name."""

from __future__ import annotations

import mmap
import os
import struct
import tempfile

_FORM = struct.Struct("<iI")


class Whereabouts:
    """The place (an index, -1 for none) of what runs now, and how often it changed.

    Telling costs a store to memory and wakes nobody: a message per visit would disturb what is measured.
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

    def tell(self, place: int) -> None:
        """Say that this place is reached now."""
        _FORM.pack_into(self._page, 0, place, (self.steps + 1) % 2**32)

    @property
    def place(self) -> int:
        """The place last told."""
        return int(_FORM.unpack_from(self._page)[0])

    @property
    def steps(self) -> int:
        """How often a place was told; a watchdog looks for it to change."""
        return int(_FORM.unpack_from(self._page)[1])

    def close(self) -> None:
        """Give the page back."""
        self._page.close()
        os.close(self.descriptor)
