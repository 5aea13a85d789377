"""Memory that this process and a Triton server on the same machine both see."""

from __future__ import annotations

import contextlib
import logging
import os
import uuid
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["SharedRegion"]

log = logging.getLogger(__name__)


class SharedRegion:
    """A region for one thread's requests: features first, scores behind them.

    A server in a container of its own does not see our memory: it refuses the first
    region, and requests carry their features from then on.
    """

    def __init__(self) -> None:
        self._handle: Any = None
        self._client: Any = None
        self._name = ""
        self._size = 0
        self._input_bytes = 0
        self._refused = False

    def offer(
        self,
        client: Any,  # noqa: ANN401 - tritonclient is untyped
        input_bytes: int,
        rows: int,
        options: dict[str, Any],
    ) -> bool:
        """Make room for one request; tell whether the server takes part.

        Parameters
        ----------
        client
            The native client.
        input_bytes, rows
            The size of the features, and how many scores there will be.
        options
            The request's bound, as the client takes it.
        """
        needed = input_bytes + 4 * rows
        if self._refused:
            return False
        self._input_bytes = input_bytes
        if needed <= self._size and client is self._client:
            return True
        self.close()
        from tritonclient.utils import InferenceServerException, shared_memory

        name = f"casa-{os.getpid()}-{uuid.uuid4().hex[:12]}"
        try:
            self._handle = shared_memory.create_shared_memory_region(
                name, name, needed, create_only=True
            )
            self._client, self._name, self._size = client, name, needed
            client.register_system_shared_memory(name, name, needed, **options)
        except (InferenceServerException, shared_memory.SharedMemoryException) as err:
            log.debug("the Triton server shares no memory with us: %s", err)
            self.close(refused=True)
        return not self._refused

    def put(
        self,
        part: npt.NDArray[np.float32],
        given: Any,  # noqa: ANN401 - tritonclient is untyped
        wanted: Any,  # noqa: ANN401 - likewise
    ) -> None:
        """Copy features in, and name the region in a request's input and output."""
        from tritonclient.utils import shared_memory

        shared_memory.set_shared_memory_region(self._handle, [part])
        given.set_shared_memory(self._name, part.nbytes)
        wanted.set_shared_memory(self._name, 4 * len(part), self._input_bytes)

    def taken(self, rows: int) -> npt.NDArray[np.float32]:
        """Return a copy of the scores that the server has written."""
        import numpy as np
        from tritonclient.utils import shared_memory

        view = shared_memory.get_contents_as_numpy(
            self._handle, np.float32, [rows], self._input_bytes
        )
        scores: npt.NDArray[np.float32] = view.copy()
        return scores

    def close(self, *, refused: bool = False) -> None:
        """Give the region back.

        Parameters
        ----------
        refused
            Offer no other one from now on.
        """
        self._refused = self._refused or refused
        if self._handle is None:
            return
        from tritonclient.utils import InferenceServerException, shared_memory

        # A server that is gone has nothing to give back.
        with contextlib.suppress(InferenceServerException, OSError):
            self._client.unregister_system_shared_memory(self._name)
        shared_memory.destroy_shared_memory_region(self._handle)
        self._handle, self._size = None, 0
