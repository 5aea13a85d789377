"""Apache Spark as one of coffea's executors: columns by uproot, in ``mapInArrow``."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from coffea.processor import accumulate
from coffea.processor.executor import ExecutorBase

from agc.errors import AnalysisError, workers_died

__all__ = ["SparkExecutor", "raise_if_died", "spark_failures"]


@dataclass
class SparkExecutor(ExecutorBase):  # type: ignore[misc] # coffea has no types
    """Runs each piece of a file as one task of a ``pyspark.sql.SparkSession``."""

    session: Any = None

    def __call__(
        self,
        items: Sequence[Any],
        function: Callable[[Any], Any],
        accumulator: Any,  # noqa: ANN401 - whatever coffea can add up
    ) -> tuple[Any, int]:
        """Return what the function returned of all items, added up.

        Raises
        ------
        AnalysisError
            A task, or its worker, has failed four times, or Spark has ended.
        """
        import cloudpickle

        work = cloudpickle.dumps((function, list(items)))

        def found(batches: Iterator[Any]) -> Iterator[Any]:
            import pyarrow as pa

            run, pieces = cloudpickle.loads(work)
            for batch in batches:
                done = [cloudpickle.dumps(run(pieces[i])) for i in batch["id"].tolist()]
                yield pa.record_batch({"found": pa.array(done, "binary")})

        with warnings.catch_warnings():
            # no pandas has a part in it
            warnings.filterwarnings("ignore", "PySpark does not yet", FutureWarning)
            frame = self.session.range(0, len(items), 1, len(items) or 1)
            frame = frame.mapInArrow(found, "found binary")
        try:
            rows = frame.collect()
        except spark_failures() as error:
            said = " ".join(str(error).split())
            raise_if_died(said)
            msg = f"Spark failed: {said[-600:]}"
            raise AnalysisError(msg) from None
        return accumulate((cloudpickle.loads(row[0]) for row in rows), accumulator), 0


def spark_failures() -> tuple[type[Exception], ...]:
    """Return what Spark raises, where it is installed."""
    try:
        from py4j.protocol import Py4JError
        from pyspark.errors import PySparkException
    except ImportError:
        return ()
    return Py4JError, PySparkException, ConnectionError


def raise_if_died(said: str) -> None:
    """Raise where that is what Spark (4.3) says of a worker's Python, or of its JVM."""
    if "Python worker exited unexpectedly" in said or "ExecutorLostFailure" in said:
        task = "a task of Spark"
        raise workers_died(task)
