"""What runs on workers: a processor, or an engine, and the tally of one piece."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from agc.errors import InputFileError
from agc.inputs.nano import nano_events
from agc.inputs.pieces import Piece, read_piece

if TYPE_CHECKING:
    import awkward as ak

    from agc.inputs.config import Config

__all__ = [
    "Processor",
    "Reading",
    "Tallying",
    "failed_tally",
    "for_all_files",
    "found_in",
    "tally_of",
    "task_of",
]


class Processor(Protocol):
    """A coffea processor that knows its configuration."""

    config: Config

    def process(self, events: ak.Array) -> dict[str, Any]:
        """Return ``{dataset: {"histograms": …, "cutflow": …}}``."""
        ...


@runtime_checkable
class Reading(Processor, Protocol):
    """A processor of files that are no NanoAOD."""

    def events_of(
        self, arrays: Mapping[str, ak.Array], metadata: Mapping[str, Any], *, file: str
    ) -> ak.Array:
        """Return events that have ``metadata`` and are made of the columns read."""
        ...


@runtime_checkable
class Tallying(Protocol):
    """An engine that reads files itself."""

    config: Config
    whole_files: bool

    def tally(self, piece: Piece, chunksize: int | None) -> dict[str, Any]:
        """Return a piece's tally, as `tally_of`."""
        ...


def task_of(
    processor: Processor | Tallying, fileset: Mapping[str, Mapping[str, Any]]
) -> Any:  # noqa: ANN401 - a function of a piece and a chunk size
    """Return what runs on workers."""
    import cloudpickle

    # A notebook's own classes can only be pickled by value; done anew for each piece,
    # as Dask would, that takes longer than some pieces do.
    pickled = cloudpickle.dumps(processor)
    if isinstance(processor, Tallying):
        return partial(_engine_task, pickled=pickled)
    metadata = {name: dict(dataset["metadata"]) for name, dataset in fileset.items()}
    return partial(_columnar_task, pickled=pickled, metadata=metadata)


@lru_cache(maxsize=4)
def _unpickled(pickled: bytes) -> Any:  # noqa: ANN401 - a processor or an engine
    import cloudpickle

    return cloudpickle.loads(pickled)


def _engine_task(
    piece: Piece, *, chunksize: int | None, pickled: bytes
) -> dict[str, Any]:
    engine: Tallying = _unpickled(pickled)
    return engine.tally(piece, chunksize)


def _columnar_task(
    piece: Piece,
    *,
    chunksize: int | None,
    pickled: bytes,
    metadata: Mapping[str, Mapping[str, Any]],
) -> dict[str, Any]:
    """Read a piece's columns, and let the processor look at the events."""
    begin = time.perf_counter()
    processor: Processor = _unpickled(pickled)
    columns = processor.config.columns
    entries = None
    try:
        arrays, n_events, n_bytes, entries = read_piece(piece, columns, chunksize)
        about = {**metadata[piece.dataset], "dataset": piece.dataset}
        about["filename"] = piece.file
        if isinstance(processor, Reading):
            events = processor.events_of(arrays, about, file=piece.file)
        else:
            events = nano_events(arrays, columns, about, file=piece.file)
    except InputFileError as error:
        tally = failed_tally(piece, error)
    else:
        output = processor.process(events)[piece.dataset]
        tally = tally_of(piece.sample, output, n_events=n_events, n_bytes=n_bytes)
    return found_in(piece, tally, entries if chunksize else None, begin)


def tally_of(
    sample: tuple[str, str], output: Mapping[str, Any], *, n_events: int, n_bytes: int
) -> dict[str, Any]:
    """Return what a task says of the events it was given; coffea can add it up."""
    return {
        "sample": {sample},
        "events": n_events,
        "bytes": n_bytes,
        "output": dict(output),
        "errors": set(),
    }


def failed_tally(piece: Piece, error: InputFileError) -> dict[str, Any]:
    """Return the tally of a piece that cannot be read."""
    n_events = (piece.stop or 0) - (piece.start or 0)
    tally = tally_of(piece.sample, {}, n_events=n_events, n_bytes=0)
    return {**tally, "errors": {error}}


def found_in(
    piece: Piece, tally: dict[str, Any], entries: int | None, begin: float
) -> dict[str, Any]:
    """Return what a task says of a piece and its tally, as coffea can add it up.

    The counts that tell whether a file is whole are by file; so are the sums, until it
    is known that no file is left out: see `for_all_files`. ``entries`` are the whole
    file's, if they are to be told and it can be used; ``begin`` is when the task began,
    on `time.perf_counter`.
    """
    counts = {name: tally.pop(name) for name in ("events", "bytes", "errors")}
    found = {
        "files": {piece.dataset: {piece.file: counts}},
        "sums": {piece.dataset: {} if counts["errors"] else {piece.file: tally}},
        "seconds": time.perf_counter() - begin,
    }
    if entries is not None and not counts["errors"]:
        found["entries"] = {(piece.dataset, piece.file): entries}
    return found


def for_all_files(
    piece: Piece, *, task: Callable[..., dict[str, Any]], chunksize: int | None
) -> dict[str, Any]:
    """Run a task; its sums are not by file, which memory could not hold for many."""
    found = task(piece, chunksize=chunksize)
    sums = list(found["sums"][piece.dataset].values())
    found["sums"] = {piece.dataset: {"": sums[0]} if sums else {}}
    return found
