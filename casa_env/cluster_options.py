"""Settings of Dask: where workers come from, and how many of what size."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from casa_env import values
from casa_env.declaring import says

__all__ = ["BACKENDS", "REQUIREMENTS", "ClusterOptions"]

#: The names of the Dask back ends.
BACKENDS: Final = (
    *("local", "join", "gateway"),
    *("slurm", "htcondor", "pbs", "lsf", "sge"),
)

#: How much of a worker's environment must be the client's.
REQUIREMENTS: Final = ("identical", "compatible", "off")


@dataclass(frozen=True, kw_only=True)
class ClusterOptions:
    """What Dask needs to know."""

    dask_backend: str = field(
        default="local",
        metadata=says(
            values.text,
            "Where workers come from; join, if there is an address",
            choices=BACKENDS,
        ),
    )
    dask_address: str = field(
        default="",
        metadata=says(
            values.text,
            "The scheduler to join, tls://host:port",
            "DASK_SCHEDULER_ADDRESS",
        ),
    )
    dask_tls_ca_file: Path | None = field(
        default=None,
        metadata=says(
            values.path,
            "Certificate authority of that scheduler, PEM",
            "DASK_DISTRIBUTED__COMM__TLS__CA_FILE",
        ),
    )
    dask_tls_cert: Path | None = field(
        default=None,
        metadata=says(
            values.path,
            "Our certificate for it, PEM",
            "DASK_DISTRIBUTED__COMM__TLS__CLIENT__CERT",
        ),
    )
    dask_tls_key: Path | None = field(
        default=None,
        metadata=says(
            values.path,
            "The key of our certificate, PEM",
            "DASK_DISTRIBUTED__COMM__TLS__CLIENT__KEY",
        ),
    )
    dask_workers: int = field(
        default=0,
        metadata=says(values.integer, "Workers to start; 0 is as many as fit"),
    )
    dask_max_workers: int = field(
        default=0,
        metadata=says(
            values.integer,
            "Follow the work between dask_workers and this many; 0 is a fixed number",
        ),
    )
    dask_worker_threads: int = field(
        default=0,
        metadata=says(
            values.integer, "Threads of each worker; 0 is chosen from the cores"
        ),
    )
    dask_worker_memory_bytes: int = field(
        default=0,
        metadata=says(values.size_bytes, "Memory of each worker; 0 is an even share"),
    )
    dask_processes: bool = field(
        default=True,
        metadata=says(
            values.boolean, "Workers are processes; false is threads in the notebook"
        ),
    )
    dask_dashboard: str = field(
        default="127.0.0.1:0",
        metadata=says(
            values.text,
            'Where the dashboard listens; port 0 is any free one; "" is no dashboard',
        ),
    )
    dask_gateway_address: str = field(
        default="",
        metadata=says(values.text, "Dask Gateway's address", "DASK_GATEWAY__ADDRESS"),
    )
    dask_gateway_proxy_address: str = field(
        default="",
        metadata=says(
            values.text,
            "Dask Gateway's address for schedulers",
            "DASK_GATEWAY__PROXY_ADDRESS",
        ),
    )
    dask_queue: str = field(
        default="",
        metadata=says(values.text, "The batch system's queue or partition for workers"),
    )
    dask_account: str = field(
        default="",
        metadata=says(values.text, "The batch system's account or project for workers"),
    )
    dask_walltime_s: float = field(
        default=3600.0,
        metadata=says(
            values.number, "How long a worker's batch job may run, in seconds"
        ),
    )
    dask_job_directives: tuple[str, ...] = field(
        default=(),
        metadata=says(
            values.texts,
            "More lines for the batch job's header, as the system has them",
        ),
    )
    dask_worker_disk_bytes: int = field(
        default=4_000_000_000,
        metadata=says(values.size_bytes, "Disk of each worker; HTCondor wants to know"),
    )
    dask_worker_python: Path | None = field(
        default=None,
        metadata=says(
            values.path, "The Python of batch workers, where it is not this one"
        ),
    )
    dask_interface: str = field(
        default="",
        metadata=says(
            values.text, "The network between workers and scheduler, such as ib0"
        ),
    )
    dask_shared_folder: Path | None = field(
        default=None,
        metadata=says(
            values.path, "A folder that batch workers see too: for logs, certificates"
        ),
    )
    dask_wait_s: float = field(
        default=300.0,
        metadata=says(
            values.number, "How long to wait for the first worker, in seconds"
        ),
    )
    dask_require: str = field(
        default="compatible",
        metadata=says(
            values.text,
            "How much workers' packages must be ours",
            choices=REQUIREMENTS,
        ),
    )
