from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from casa_env.settings.places import SITES, detected_site, site_defaults

#: What a single-user server of a hub finds in its environment.
HUB = {
    "JUPYTERHUB_API_URL": "http://hub:8081/hub/api",
    "JUPYTERHUB_SERVICE_PREFIX": "/user/alice/",
    "JUPYTERHUB_USER": "alice",
}
BINDER = {
    **HUB,
    "BINDER_LAUNCH_HOST": "https://mybinder.org/",
    "BINDER_REPO_URL": "https://github.com/a/b",
}


@pytest.mark.parametrize(
    ("environ", "site"),
    [
        ({}, "local"),
        ({"HOME": "/home/alice", "SLURM_JOB_ID": "7"}, "local"),
        (HUB, "facility"),
        ({"JUPYTERHUB_USER": "alice"}, "facility"),
        ({"JUPYTERHUB_USER": ""}, "local"),
        ({"JUPYTERHUB_SERVICE_PREFIX": "/"}, "local"),
        (BINDER, "binder"),
        ({"BINDER_REQUEST": "v2/gh/a/b/main"}, "binder"),
        ({**HUB, "BINDER_REQUEST": ""}, "facility"),
        # Kubernetes gives every pod the addresses of services in its namespace.
        ({**HUB, "BINDER_SERVICE_HOST": "10.0.0.1"}, "facility"),
    ],
)
def test_the_environment_tells_the_site(environ: dict[str, str], site: str) -> None:
    assert detected_site(environ) == site


@given(st.dictionaries(st.sampled_from([*BINDER, "HOME"]), st.text(max_size=3)))
def test_a_site_is_always_one_of_three_and_the_input_unchanged(
    environ: dict[str, str],
) -> None:
    before = dict(environ)
    assert detected_site(environ) in SITES
    assert environ == before


def test_only_binder_implies_settings() -> None:
    assert site_defaults("local") == site_defaults("facility") == {}
    assert site_defaults("binder") == {"dask_processes": False}
