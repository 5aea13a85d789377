"""A real Dask Gateway."""

from __future__ import annotations

import asyncio

import dask
import dask_gateway
import distributed
import pytest

from casa_env import dask_client, dask_cluster, load_settings
from casa_env.errors import ClusterError
from support.gateway import Gateway
from support.panel import panel_configuration
from support.processes import free_port

pytestmark = pytest.mark.filterwarnings(
    # dask-gateway 2026.3.0 looks for the running loop as asyncio did before 3.12.
    "ignore:There is no current event loop:DeprecationWarning"
)


def test_a_client_has_native_objects_and_closing_it_stops_the_cluster(
    on_gateway: Gateway,
) -> None:
    with dask_client(workers=2) as client:
        assert type(client) is distributed.Client
        assert type(client.cluster) is dask_gateway.GatewayCluster
        assert client.submit(sum, [1, 2]).result(timeout=60) == 3
        client.wait_for_workers(2, timeout=60)
        assert client.cluster.name in on_gateway.clusters()
        assert client.cluster.dashboard_link.startswith(on_gateway.address)


def test_the_panel_can_start_scale_and_stop_one(on_gateway: Gateway) -> None:
    async def panel() -> tuple[str, int]:
        # Importing it makes a manager, which needs an event loop.
        from dask_labextension.manager import DaskClusterManager

        async with DaskClusterManager() as manager:
            model = await manager.start_cluster()
            await manager.scale_cluster(model["id"], 2)
            cluster = manager._clusters[model["id"]]
            async with distributed.Client(
                cluster, security=cluster.security, asynchronous=True
            ) as client:
                await client.wait_for_workers(2, timeout=60)
            workers = manager.get_cluster(model["id"])["workers"]
            await manager.close_cluster(model["id"])
            return model["dashboard_link"], workers

    with dask.config.set(panel_configuration()):
        link, workers = asyncio.run(asyncio.wait_for(panel(), 120))
    assert link.startswith(f"{on_gateway.address}/clusters/")
    assert workers == 2


@pytest.mark.usefixtures("on_gateway")
def test_a_wrong_password_is_refused_with_what_to_do() -> None:
    login = {"username": "alice", "password": "wrong"}
    wrong = {"gateway.auth": {"type": "basic", "kwargs": login}}
    with (
        dask.config.set(wrong),
        pytest.raises(ClusterError, match="refuses us: 401") as caught,
    ):
        dask_client()
    assert caught.value.kind == "unreachable"
    assert "DASK_GATEWAY__ADDRESS" in caught.value.looked_at
    assert "gateway.auth" in caught.value.next_step
    assert "wrong" not in str(caught.value)


def test_a_gateway_that_is_down_is_an_error_within_the_time_out() -> None:
    address = f"http://127.0.0.1:{free_port()}"
    settings = load_settings(dask_backend="gateway", dask_gateway_address=address)
    with pytest.raises(ClusterError, match="does not answer") as caught:
        dask_cluster(settings=settings)
    assert "refused" in caught.value.looked_at


def test_no_address_is_an_error_that_names_the_setting() -> None:
    with pytest.raises(ClusterError, match="no Gateway to ask") as caught:
        dask_cluster(backend="gateway")
    assert "dask_gateway_address" in caught.value.next_step
