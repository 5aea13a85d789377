"""Checks of what models need: MLflow and Triton."""

from __future__ import annotations

from casa_env.checks import server_check

__all__ = ["mlflow", "triton"]

mlflow = server_check("mlflow", "mlflow_uri")
triton = server_check("triton", "triton_url")
