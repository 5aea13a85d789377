"""The unit tests pass in the image: on its Python, with its packages, no network."""

from __future__ import annotations

import re
import time
from pathlib import Path

from support.figures import Figures
from support.images import Images

#: The image with what only tests need on top: the rest of it is what is tested.
DOCKERFILE = """
FROM casa-tools:{tag} AS tools
FROM {lab}
USER 0
COPY test.lock image /tests/
RUN --mount=from=tools,source=/opt/tools,target=/opt/tools \\
    --mount=type=cache,id=casa,target=/cache --mount=type=secret,id=ca,target=/run/ca.pem \\
    UV_CACHE_DIR=/cache /tests/packages.sh /tests/test.lock && \\
    /opt/tools/bin/uv pip install -q --offline --no-deps --python /opt/casa/bin/python {wheel}
USER 1000
"""


def test_the_unit_tests_pass_in_the_image(
    images: Images, repository: Path, tmp_path: Path, figures: Figures
) -> None:
    image = with_tests(images, repository, tmp_path)
    places = ("casa_env", "environment", "tests", "pyproject.toml", "README.md")
    began = time.monotonic()
    printed = images.run(
        image,
        [
            *("python", "-m", "pytest", "tests/unit", "-n", "2", "-q"),
            *("-p", "no:cacheprovider"),
        ],
        *(f"--volume={repository / name}:/srv/casa/{name}:ro" for name in places),
        "--workdir=/srv/casa",
        "--env=CI=true",
        "--env=PYTHONDONTWRITEBYTECODE=1",
    )
    figures.add("unit tests in the image", time.monotonic() - began, "s")
    assert re.search(r"\d+ passed", printed), printed[-3000:]
    assert "failed" not in printed.splitlines()[-1]
