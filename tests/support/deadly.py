"""The compiled engine, but it ends the process that it runs in."""

from __future__ import annotations

import os
import signal
from typing import Any

from agc.fast.engine import CompiledTtbar
from agc.ttbar.config import ttbar_config


class Deadly(CompiledTtbar):
    """A piece that begins at the event of this number kills its worker."""

    def __init__(self, start: int) -> None:
        super().__init__(ttbar_config())
        self.start = start

    def tally(self, piece: Any, chunksize: int | None) -> dict[str, Any]:
        """Return what the engine says, unless this is the end."""
        if piece.start == self.start:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().tally(piece, chunksize)
