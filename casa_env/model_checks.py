"""Checks of what models need: MLflow and Triton."""

from __future__ import annotations

import time
from typing import Any

from casa_env.checks import Check, Status, off
from casa_env.errors import CasaEnvError
from casa_env.network import host_and_port, tcp_problem
from casa_env.settings import Settings

__all__ = ["mlflow", "triton"]


def mlflow(settings: Settings) -> Check:
    """Ask the tracking server for its version and whether it takes our token."""
    from casa_env.models.mlflow import is_server, server_version

    if not settings.mlflow_uri:
        return off("mlflow", "mlflow_uri")
    where = f"{settings.shown('mlflow_uri')}, from {settings.origin('mlflow_uri')}"
    if not is_server(settings.mlflow_uri):
        evidence = f"{where}: a file or database, without a server"
        return Check(name="mlflow", status=Status.OK, evidence=evidence)
    problem = _unreachable("mlflow", "mlflow_uri", settings)
    if problem is not None:
        return problem
    began = time.monotonic()
    try:
        version = server_version(settings.mlflow_uri, settings)
    except CasaEnvError as err:
        return _failed("mlflow", err)
    took = f"{(time.monotonic() - began) * 1000:.0f} ms"
    evidence = f"{where}: MLflow {version} answered twice in {took}"
    return Check(name="mlflow", status=Status.OK, evidence=evidence)


def triton(settings: Settings) -> Check:
    """Ask the inference server for its version and its models."""
    from casa_env.models.triton import triton_address

    if not settings.triton_url:
        return off("triton", "triton_url")
    where = f"{settings.shown('triton_url')}, from {settings.origin('triton_url')}"
    try:
        address = triton_address(settings.triton_url)
        problem = _unreachable(
            "triton", "triton_url", settings, (address.host, address.port)
        )
        if problem is not None:
            return problem
        version, models, took = _triton_says(settings)
    except CasaEnvError as err:
        return _failed("triton", err)
    evidence = f"{where}: Triton {version} answered in {took * 1000:.0f} ms"
    if not models:
        step = "Publish models to its repository (agc.served.publish_models)."
        return Check(
            name="triton",
            status=Status.WARNING,
            evidence=f"{evidence}; no model is ready",
            next_step=step,
        )
    evidence = f"{evidence}; ready: {', '.join(models)}"
    return Check(name="triton", status=Status.OK, evidence=evidence)


def _triton_says(settings: Settings) -> tuple[str, list[str], float]:
    """Return a server's version, its models that are ready, and the round trip in s."""
    from casa_env.models.triton import explained, triton_address, triton_client

    address = triton_address(settings.triton_url)
    client: Any = triton_client(settings)
    grpc = address.protocol == "grpc"
    options: dict[str, Any] = (
        {"as_json": True, "client_timeout": settings.timeout_s} if grpc else {}
    )
    try:
        with explained(
            address, settings, what="the server", deadline_s=settings.timeout_s
        ):
            version = client.get_server_metadata(**options)["version"]
            began = time.monotonic()
            client.get_server_metadata(**options)
            took = time.monotonic() - began
            index = client.get_model_repository_index(**options)
    finally:
        client.close()
    listed = index.get("models", []) if isinstance(index, dict) else index
    ready = [
        f"{one['name']} version {one['version']}"
        for one in listed
        if one.get("state") == "READY"
    ]
    return version, sorted(ready), took


def _unreachable(
    name: str,
    setting: str,
    settings: Settings,
    target: tuple[str, int] | None = None,
) -> Check | None:
    """Return a failed check if nothing accepts connections where a setting points."""
    target = target or host_and_port(getattr(settings, setting))
    problem = "this is not the URL of a server"
    if target is not None:
        problem = tcp_problem(*target, timeout=settings.timeout_s)
    if not problem:
        return None
    where = f"{settings.shown(setting)}, from {settings.origin(setting)}"
    return Check(
        name=name,
        status=Status.FAILED,
        evidence=f"{where}: {problem}",
        next_step=f"Correct {setting}, or ask whether the server is up.",
    )


def _failed(name: str, err: CasaEnvError) -> Check:
    evidence = f"{err.looked_at}: {err.what}" if err.looked_at else err.what
    return Check(
        name=name, status=Status.FAILED, evidence=evidence, next_step=err.next_step
    )
