"""A session of Apache Spark, from the settings that start Dask's workers."""

from __future__ import annotations

import contextlib
import os
import sys
import sysconfig
import threading
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from casa_env.errors import ClusterError, require_package
from casa_env.network import host_and_port, is_loopback, tcp_problem
from casa_env.settings import Settings, load_settings
from casa_env.workers import remote
from casa_env.workers.local import size_here
from casa_env.workers.sameness import FOR_PEOPLE, mismatch
from casa_env.workers.tls import new_session

#: What is no setting. Who is not authenticated gets no answer, and what goes over the
#: network is encrypted; pages would show their readers what runs.
_FIXED = {
    "spark.app.name": "casa",
    "spark.authenticate": "true",
    "spark.network.crypto.enabled": "true",
    "spark.ui.enabled": "false",
    "spark.log.level": "ERROR",
}


def spark_session(
    settings: Settings | None = None, *, conf: Mapping[str, str] | None = None
) -> Any:  # noqa: ANN401 - native
    """Return the `pyspark.sql.SparkSession` of this process; start it if need be.

    On a laptop and on Binder all of Spark is a Java process on loopback that ends with
    the kernel, with as many workers as Dask's threads; at a facility whose
    ``spark_master`` names a standalone cluster, its executors do the work. They run
    this environment's Python and import what is imported here, from the same paths;
    those that answer first are compared with it. The secret that both sides share,
    ``spark_secret``, is in no command line and no log.

    Parameters
    ----------
    settings
        By default those of `load_settings`.
    conf
        More of Spark's configuration, or instead.

    Raises
    ------
    ClusterError
        Java or the master is not there, no worker came within ``dask_wait_s``, or
        executors elsewhere would have no ``dask_interface`` to call.
    EnvironmentMismatchError
        Executors have other packages.
    MissingPackageError
        pyspark is not installed.
    """
    require_package("pyspark", why="Spark")
    with warnings.catch_warnings():  # nothing here hands pandas to Spark
        warnings.filterwarnings("ignore", "PySpark does not yet", FutureWarning)
        return _session(settings or load_settings(), conf or {})


def _session(settings: Settings, conf: Mapping[str, str]) -> Any:  # noqa: ANN401
    from pyspark import SparkConf, SparkContext
    from pyspark.java_gateway import launch_gateway
    from pyspark.sql import SparkSession

    if (active := SparkSession.getActiveSession()) is not None:
        return active
    native = {**_FIXED, **where_spark_runs(settings), **conf}
    chosen = SparkConf().setAll(list(native.items()))
    log = new_session(settings).path / "tls" / "spark.log"  # goes if this process dies
    started: Any = None
    with _explained(settings, log, "Spark did not start."):
        with log.open("ab") as file:
            said = {"stdout": file, "stderr": file}
            gateway = SparkContext._gateway or launch_gateway(chosen, said)  # noqa: SLF001 - a JVM outlives a session that was stopped
        if settings.spark_master:  # by the gateway's socket, and in no command line
            chosen.set("spark.authenticate.secret", settings.spark_secret)
        started = SparkContext(conf=chosen, gateway=gateway)
    started.pythonExec = str(settings.dask_worker_python or sys.executable)
    try:
        if settings.spark_master:
            with _explained(settings, log, "No worker of Spark has answered."):
                _compare(started, settings)
    except BaseException:
        started.stop()
        raise
    return SparkSession(started)


def where_spark_runs(settings: Settings) -> dict[str, str]:
    """Return where Spark runs: the master, and the address that workers call."""
    size, master, address = size_here(settings), settings.spark_master, "127.0.0.1"
    host, port = host_and_port(master) or ("", 0)
    what = step = problem = ""
    if master and not settings.spark_secret:
        what = "A cluster of Spark takes only those who know its secret."
        step = "Set spark_secret, or Spark's own _SPARK_AUTH_SECRET, to the master's."
    elif master and not is_loopback(host) and not settings.dask_interface:
        what = "Workers of Spark have to be told an address."
        step = "Set dask_interface to one that they reach."
    elif master and (problem := tcp_problem(host, port, timeout=settings.timeout_s)):
        what = "The master of Spark cannot be reached."
        step = "Check that it runs, and its address; without spark_master, Spark is "
        step += "on this machine."
    if what:
        where = ": ".join(filter(None, (settings.where("spark_master"), problem)))
        raise ClusterError(what, looked_at=where, next_step=step)
    if master and not is_loopback(host):
        from distributed.utils import get_ip_interface

        address = get_ip_interface(settings.dask_interface)  # type: ignore[no-untyped-call]
    own = [sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")]
    paths = [Path(entry).absolute() for entry in sys.path]
    more = [str(one) for one in paths if not any(map(one.is_relative_to, own))]
    # as on a cluster, a task may fail three times: its process may have been killed
    return {
        "spark.master": master or f"local[{size.workers * size.threads},4]",
        "spark.driver.host": address,
        "spark.driver.bindAddress": address,
        "spark.executorEnv.PYTHONPATH": os.pathsep.join(more),
        "spark.executorEnv.PYTHONSAFEPATH": "1",
    }


@contextlib.contextmanager
def _explained(settings: Settings, log: Path, what: str) -> Iterator[None]:
    """Turn what Spark raises into an error that says what to do."""
    from py4j.protocol import Py4JError
    from pyspark.errors import PySparkException

    try:
        yield
    except (Py4JError, PySparkException, OSError) as err:
        step = f"{log} says more; Spark needs Java 17 or newer (apt-get install "
        step += "default-jre-headless), and the master the same secret as we have."
        where = f"{settings.where('spark_master')}: {' '.join(str(err).split())[:300]}"
        raise ClusterError(what, looked_at=where, next_step=step) from None


def _compare(context: Any, settings: Settings) -> None:  # noqa: ANN401 - native
    """Wait for workers, and compare those that answer with this process."""
    ours = remote.describe() | {"for_people": FOR_PEOPLE}
    describe, tasks = remote.call("describe"), 2 * context.defaultParallelism
    ended = threading.Timer(settings.dask_wait_s, context.cancelAllJobs)
    ended.start()
    try:
        answers = context.parallelize(range(tasks), tasks).map(
            lambda _: (os.uname().nodename, eval(*describe))  # noqa: S307 - ours
        )
        found = dict(answers.collect())
    finally:
        ended.cancel()
    for packages in (ours["packages"], *(one["packages"] for one in found.values())):
        for name in ("py4j", "pyspark"):  # whose workers take them from Spark's folder
            packages.pop(name, None)
    problems = {
        f"worker on {host}": rows
        for host, theirs in found.items()
        if (rows := remote.differences(ours, theirs, settings.dask_require))
    }
    if problems:
        raise mismatch(problems, total=len(found))
