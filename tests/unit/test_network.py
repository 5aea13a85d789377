from __future__ import annotations

import socket
import time

import pytest

from casa_env.network import host_and_port, tcp_problem


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("root://cache.example.org", ("cache.example.org", 1094)),
        ("root://cache.example.org:2094//x", ("cache.example.org", 2094)),
        ("https://alice:pw@mlflow.example.org/x", ("mlflow.example.org", 443)),
        ("grpc://triton:8001", ("triton", 8001)),
        ("http://[::1]:5000", ("::1", 5000)),
        ("sqlite:///mlflow.db", None),
        ("/var/mlruns", None),
        ("cache.example.org:1094", None),
        ("http://host:port", None),
        ("http://host:99999", None),
        ("ftp://host", None),
        ("", None),
    ],
)
def test_the_host_and_port_of_a_url(url: str, target: tuple[str, int] | None) -> None:
    assert host_and_port(url) == target


def test_something_that_listens_is_no_problem() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert tcp_problem("127.0.0.1", server.getsockname()[1], timeout=1) == ""


def test_nobody_listening_is_said() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert "refused" in tcp_problem("127.0.0.1", port, timeout=1)


def test_a_server_too_busy_to_accept_is_given_up_on_in_time() -> None:
    with socket.socket() as server, socket.socket() as first, socket.socket() as second:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        for client in (first, second):  # fill the queue of what waits for accept()
            client.settimeout(0)
            client.connect_ex(server.getsockname())
        began = time.monotonic()
        problem = tcp_problem("127.0.0.1", server.getsockname()[1], timeout=0.3)
        assert "no answer" in problem
        assert time.monotonic() - began < 5


def test_a_host_name_that_does_not_exist_is_said() -> None:
    assert "is not known" in tcp_problem("nowhere.invalid", 80, timeout=1)


def test_an_impossible_port_is_a_problem_and_no_crash() -> None:
    assert tcp_problem("127.0.0.1", 70000, timeout=1)
