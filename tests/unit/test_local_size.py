from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from casa_env.settings import Settings
from casa_env.workers.local import LocalSize, cgroup_limits, local_size

GB = 10**9


@pytest.mark.parametrize(
    ("settings", "cores", "memory", "size"),
    [
        # A laptop: a process for each core, then threads.
        ({}, 1, 8, (1, 1, 8)),
        ({}, 2, 8, (2, 1, 4)),
        ({}, 4, 8, (4, 1, 2)),
        ({}, 8, 16, (4, 2, 4)),
        ({}, 32, 64, (8, 4, 8)),
        # What is asked for.
        ({"dask_workers": 3}, 8, 6, (3, 2, 2)),
        ({"dask_worker_threads": 2}, 8, 8, (4, 2, 2)),
        ({"dask_workers": 2, "dask_worker_threads": 5}, 4, 8, (2, 5, 4)),
        ({"dask_workers": 16}, 4, 16, (16, 1, 1)),
        ({"dask_worker_memory_bytes": 3 * GB}, 2, 8, (2, 1, 3)),
        # Binder: threads of the notebook's own process, which may use its memory.
        (
            {"dask_processes": False, "cpu_limit": 1.0, "memory_limit_bytes": 2 * GB},
            *(16, 64, (1, 1, 2)),
        ),
        ({"dask_processes": False}, 4, 8, (1, 4, 8)),
        # A facility: the session's limits, and a share for the notebook.
        ({"cpu_limit": 2.0, "memory_limit_bytes": 6 * GB}, 64, 256, (2, 1, 2)),
        ({"cpu_limit": 1.5}, 64, 8, (2, 1, 4)),
        ({"cpu_limit": 0.5}, 64, 8, (1, 1, 8)),
        ({"cpu_limit": 8.0}, 2, 8, (2, 1, 4)),
        # A limit above what there is does not count.
        ({"memory_limit_bytes": 99 * GB}, 2, 8, (2, 1, 4)),
    ],
)
def test_the_size_of_a_local_cluster(
    settings: dict[str, float],
    cores: int,
    memory: int,
    size: tuple[int, int, int],
) -> None:
    found = local_size(Settings(**settings), cores=cores, memory_bytes=memory * GB)  # type: ignore[arg-type]
    workers, threads, gigabytes = size
    assert found == LocalSize(
        workers=workers, threads=threads, memory_bytes=gigabytes * GB
    )


@given(
    cores=st.integers(1, 512),
    limit=st.floats(0, 64, allow_subnormal=False),
    memory=st.integers(2**28, 2**42),
    memory_limit=st.integers(0, 2**43),
    processes=st.booleans(),
)
def test_limits_hold_for_all_workers_together(
    cores: int, limit: float, memory: int, memory_limit: int, *, processes: bool
) -> None:
    settings = Settings(
        cpu_limit=limit, memory_limit_bytes=memory_limit, dask_processes=processes
    )
    size = local_size(settings, cores=cores, memory_bytes=memory)
    assert size.workers >= 1
    assert size.threads >= 1
    assert size.workers * size.threads <= cores
    if limit:
        assert size.workers * size.threads <= math.ceil(limit)
    assert size.workers * size.memory_bytes <= memory
    if memory_limit:
        assert size.workers * size.memory_bytes <= memory_limit


@pytest.mark.fault("silently wrong", "a batch job's limit above", "the smallest counts")
@pytest.mark.parametrize(
    ("groups", "files"),
    [
        (
            "0::/job/step/task",
            {
                "job/memory.max": "2000",
                "job/step/memory.max": "max",
                "job/cpu.max": "150000 100000",
                "job/step/task/cpu.max": "max 100000",
            },
        ),
        (
            "4:memory:/job/step\n3:cpu,cpuacct:/job/step\n0::/",
            {
                "memory/memory.limit_in_bytes": "9223372036854771712",
                "memory/job/memory.limit_in_bytes": "2000",
                "memory/job/step/memory.limit_in_bytes": "3000",
                "cpu,cpuacct/job/cpu.cfs_quota_us": "150000",
                "cpu,cpuacct/job/cpu.cfs_period_us": "100000",
                "cpu,cpuacct/job/step/cpu.cfs_quota_us": "-1",
                "cpu,cpuacct/job/step/cpu.cfs_period_us": "100000",
            },
        ),
    ],
)
def test_the_smallest_limit_on_the_way_up_counts(
    groups: str, files: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "cgroup").write_text(groups)
    assert cgroup_limits(tmp_path / "cgroup", tmp_path / "fs") == (math.inf, math.inf)
    for name, text in files.items():
        file = tmp_path / "fs" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    assert cgroup_limits(tmp_path / "cgroup", tmp_path / "fs") == (1.5, 2000)
