"""200 users and 10,000 workers: how busy each service is, and what breaks first.

``python environment/facility/capacity.py`` prints README.md's table, and ``--users``
and ``--workers`` ask about another facility. It is a calculation, not a measurement:
every number that it starts from stands in `Assumptions` with where it comes from.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass, replace


@dataclass(frozen=True, kw_only=True)
class Assumptions:
    """What the calculation starts from; times in seconds, sizes in bytes."""

    users: int = 200
    """Who are logged in at once, each with a server."""
    workers: int = 10_000
    """Workers of one core that are busy, all on one scheduler."""

    # The work.
    events_per_s: float = 13_000.0
    """Of one core: the columnar engine in README.md's table."""
    events_per_task: float = 100_000.0
    """A chunk; coffea's own default."""
    read_per_event: float = 500.0
    """Assumed: a quarter of the 2 kB that an event of the AGC takes on disk."""
    warm: float = 0.9
    """Assumed: the share of what is read that the caches have already."""

    # How often things ask.
    activity_s: float = 300.0
    """A server tells the hub that it is used: JupyterHub's default."""
    token_fetch_s: float = 300.0
    """A server asks the hub for its token: hub_token_s in values-tier2.yaml."""
    token_life_s: float = 3600.0
    """Of an access token: WLCG Common JWT Profiles v1.0; exchanged after a third."""
    logins_within_s: float = 600.0
    """Assumed: a tutorial begins, and everybody logs in within ten minutes."""
    runs_per_user_and_hour: float = 12.0
    """Assumed, with 60 requests for each run."""
    requests_per_run: float = 60.0

    # What a service can do.
    hub_requests_per_s: float = 50.0
    """Assumed: the hub is one process, and a request takes 20 ms of it."""
    spawns_per_s: float = 1.0
    """Assumed: pods that a cluster starts, images being on the nodes already."""
    scheduler_s_per_task: float = 0.001
    """Dask's documentation: about a millisecond for each task."""
    scheduler_s_per_heartbeat: float = 0.0002
    """Assumed."""
    cache_bytes_per_s: float = 2.5e9
    """Of one cache with a network of 25 Gbit/s, four fifths of it."""
    caches: int = 6
    """Those of values-tier2.yaml."""
    origin_bytes_per_s: float = 12.5e9
    """A site's network of 100 Gbit/s."""
    issuer_requests_per_s: float = 20.0
    """Assumed: what a token issuer grants one client."""
    mlflow_requests_per_s: float = 100.0
    """Assumed: two servers of four processes in values-tier2.yaml."""


@dataclass(frozen=True)
class Load:
    """One service: what it is asked for, what it can do, and what follows."""

    service: str
    asked: float
    possible: float
    unit: str
    remedy: str

    @property
    def share(self) -> float:
        """How busy it is; more than 1 is too much."""
        return self.asked / self.possible


def heartbeats_per_s(workers: int) -> float:
    """Return how often workers report; distributed lets many do so more seldom."""
    from distributed.scheduler import heartbeat_interval

    return workers / heartbeat_interval(workers)


def loads(a: Assumptions) -> list[Load]:
    """Return how busy each service is, the busiest first."""
    tasks = a.workers * a.events_per_s / a.events_per_task
    busy = tasks * a.scheduler_s_per_task
    busy += heartbeats_per_s(a.workers) * a.scheduler_s_per_heartbeat
    read = a.workers * a.events_per_s * a.read_per_event
    asking = a.users / a.activity_s + a.users / a.token_fetch_s
    exchanged = a.users / (a.token_life_s / 3)
    recorded = a.users * a.runs_per_user_and_hour * a.requests_per_run / 3600
    found = [
        Load(
            "Dask scheduler",
            busy,
            1.0,
            "of a core",
            "larger chunks; a scheduler for each user, by Dask Gateway",
        ),
        Load(
            "XCache",
            read / 1e9,
            a.caches * a.cache_bytes_per_s / 1e9,
            "GB/s",
            "more caches; they are independent, and their number is xcache.count",
        ),
        Load(
            "network to the origins",
            read * (1 - a.warm) / 1e9,
            a.origin_bytes_per_s / 1e9,
            "GB/s",
            "larger disks in the caches, so that more is warm",
        ),
        Load(
            "hub, requests",
            asking,
            a.hub_requests_per_s,
            "/s",
            "a second facility",
        ),
        Load(
            "hub, servers that start",
            a.users / a.logins_within_s,
            a.spawns_per_s,
            "/s",
            "placeholders for users, which Zero to JupyterHub has",
        ),
        Load(
            "token issuer",
            exchanged,
            a.issuer_requests_per_s,
            "/s",
            "a longer CASA_HUB_TOKEN_AGE_S",
        ),
        Load(
            "MLflow",
            recorded,
            a.mlflow_requests_per_s,
            "/s",
            "mlflow.replicas",
        ),
    ]
    return sorted(found, key=lambda load: -load.share)


def workers_until_full(a: Assumptions) -> dict[str, int]:
    """Return how many workers fill each service that workers ask."""
    full = {}
    for service in ("Dask scheduler", "XCache", "network to the origins"):
        low, high = 1, 10_000_000
        while high - low > 1:
            middle = (low + high) // 2
            (load,) = (
                one
                for one in loads(replace(a, workers=middle))
                if one.service == service
            )
            low, high = (middle, high) if load.share < 1 else (low, middle)
        full[service] = low
    return full


def caches_needed(a: Assumptions) -> int:
    """Return how many caches the workers' reading takes."""
    read = a.workers * a.events_per_s * a.read_per_event
    return -int(-read // a.cache_bytes_per_s)


def table(a: Assumptions) -> str:
    """Return the result in Markdown."""
    lines = [
        f"{a.users:,} users and {a.workers:,} busy workers:",
        "",
        "| service | asked for | can do | share | when it is full |",
        "|---|---:|---:|---:|---|",
    ]
    for one in loads(a):
        numbers = f"{one.asked:.2f} | {one.possible:.2f} {one.unit} | {one.share:.0%}"
        lines.append(f"| {one.service} | {numbers} | {one.remedy} |")
    first = loads(a)[0].service
    full = [f"{name}: {n:,}" for name, n in workers_until_full(a).items()]
    lines += [
        "",
        f"It breaks first at: {first}. Workers that fill a service: {'; '.join(full)}.",
        f"So many workers want {caches_needed(a)} caches.",
    ]
    return "\n".join(lines)


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--users", type=int, default=Assumptions.users)
    parser.add_argument("--workers", type=int, default=Assumptions.workers)
    parser.add_argument("--caches", type=int, default=Assumptions.caches)
    words = parser.parse_args()
    if min(vars(words).values()) < 1:
        parser.error("--users, --workers and --caches are 1 or more")
    given = Assumptions(users=words.users, workers=words.workers, caches=words.caches)
    print(table(given))
    return 0


if __name__ == "__main__":
    sys.exit(main())
