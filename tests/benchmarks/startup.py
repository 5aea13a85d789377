"""How long things take to start: one table, each figure a median within this run.

``make bench`` runs it. Nothing is asserted: machines differ, and are shared.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable

REPEATS = 5


def median(action: Callable[[], object], repeats: int = REPEATS) -> float:
    """Return the median time of an action in seconds."""
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        action()
        times.append(time.perf_counter() - begin)
    return statistics.median(times)


def medians(
    one: Callable[[], object], other: Callable[[], object]
) -> tuple[float, float]:
    """Return the median times of two actions, taken in turn: the load changes."""
    pairs = [(median(one, 1), median(other, 1)) for _ in range(REPEATS)]
    first, second = zip(*pairs, strict=True)
    return statistics.median(first), statistics.median(second)


def python(code: str) -> Callable[[], object]:
    """Return an action that runs code in a new interpreter."""
    return lambda: subprocess.run([sys.executable, "-c", code], check=True)


def bare_dask() -> None:
    """Start and stop what `casa_env.dask_client` starts, without it."""
    from distributed import Client, LocalCluster

    with (
        LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0"
        ) as cluster,
        Client(cluster),
    ):
        pass


def our_dask() -> None:
    """Start and stop a client of ours."""
    import casa_env

    with casa_env.dask_client(workers=2, threads=1):
        pass


def main() -> None:
    """Print the table."""
    nothing = median(python("pass"))
    package = median(python("import casa_env"))
    settings = median(python("import casa_env; casa_env.load_settings()"))
    bare_dask()  # the imports are not what is compared
    bare, ours = medians(bare_dask, our_dask)
    rows = (
        ("python -c pass", nothing, ""),
        ("import casa_env", package, f"{(package - nothing) * 1e3:+.0f} ms"),
        ("... and load_settings()", settings, f"{(settings - nothing) * 1e3:+.0f} ms"),
        ("LocalCluster + Client, started and stopped", bare, ""),
        (
            "casa_env.dask_client(), the same",
            ours,
            f"{ours - bare:+.2f} s (target: below +0.5 s)",
        ),
    )
    for name, seconds, difference in rows:
        print(f"{name:44} {seconds:7.3f} s   {difference}")


if __name__ == "__main__":
    main()
