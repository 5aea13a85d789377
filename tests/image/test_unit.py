"""The unit tests pass in the image: on its Python, with its packages, no network."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from support.figures import Figures
from support.images import Images

#: How long a whole suite may take on a loaded machine, in seconds.
PATIENCE_S = 1500.0

#: The image with what only tests need on top: the rest of it is what is tested.
DOCKERFILE = """
FROM {tools} AS tools
FROM {lab}
USER 0
COPY environment/test.lock /
RUN --mount=from=tools,source=/opt/tools,target=/opt/tools \\
    --mount=type=cache,id=casa,target=/cache \\
    --mount=type=secret,id=ca,target=/run/ca.pem \\
    if [ -s /run/ca.pem ]; then export SSL_CERT_FILE=/run/ca.pem; fi && \\
    UV_CACHE_DIR=/cache /opt/tools/bin/uv pip install -q --link-mode copy --no-build \\
    --no-deps --python /opt/casa/bin/python --require-hashes --requirements /test.lock
USER 1000
"""


def with_tests(images: Images, repository: Path, folder: Path) -> str:
    """Build the lab with the tests' packages on top."""
    tools, image = f"casa-tools:{images.tag}", f"casa-tests:{images.tag}"
    bundle = images.engine.environ.get("SSL_CERT_FILE")
    secret = [f"--secret=id=ca,src={bundle}"] if bundle else []
    options = [*images.options, *secret, str(repository)]
    images.engine.command("build", "--target=tools", f"--tag={tools}", *options)
    dockerfile = folder / "Dockerfile"
    dockerfile.write_text(DOCKERFILE.format(tools=tools, lab=images.lab))
    file = f"--file={dockerfile}"
    images.engine.command("build", file, f"--tag={image}", *options)
    return image


@pytest.mark.timeout(PATIENCE_S + 300)  # and the build before it
def test_the_unit_tests_pass_in_the_image(
    images: Images, repository: Path, tmp_path: Path, figures: Figures
) -> None:
    image = with_tests(images, repository, tmp_path)
    places = ("casa_env", "environment", "tests", "pyproject.toml")
    began = time.monotonic()
    printed = images.run(
        image,
        [
            *("python", "-m", "pytest", "tests/unit", "-n", "2", "-q"),
            *("-p", "no:cacheprovider", "--ignore=tests/unit/standin"),  # made outside
            *("-m", "not slow"),  # what takes long are numbers, the same outside
        ],
        *(f"--volume={repository / name}:/srv/casa/{name}:ro" for name in places),
        "--workdir=/srv/casa",
        "--env=CI=true",
        "--env=PYTHONDONTWRITEBYTECODE=1",
        timeout=PATIENCE_S,
    )
    figures.add("unit tests in the image", time.monotonic() - began, "s")
    assert re.search(r"\d+ passed", printed), printed[-3000:]
    assert "failed" not in printed.splitlines()[-1]
