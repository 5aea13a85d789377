"""What a person does with a hub, without a browser: log in, start, run code."""

from __future__ import annotations

import json
import re
import time
import uuid
from typing import Any

import requests
import websocket

#: How long a hub, a server or a kernel may take on a loaded machine, in seconds.
PATIENCE_S = 120.0


class HubUser:
    """Somebody who logs in to a hub through its provider's pages."""

    def __init__(self, hub: str, name: str, *, login: str | None = None) -> None:
        self.hub = hub
        self.name = name
        self.login = login or f"sub-of-{name}"
        self.session = requests.Session()
        self.home = f"{hub}/user/{name}/"

    def log_in(self) -> None:
        """Follow the provider's pages: a name, then consent."""
        page = self.follow_provider()
        assert page.ok, page.text
        assert page.url.startswith(self.hub), page.url

    def follow_provider(self) -> requests.Response:
        """Return what the hub answers to a login at the provider."""
        page = self.session.get(f"{self.hub}/hub/oauth_login", timeout=PATIENCE_S)
        for _ in range(4):
            prompt = re.search(r'name="prompt" value="(\w+)"', page.text)
            if prompt is None:
                break
            form = {"prompt": prompt[1], "login": self.login, "password": "any"}
            (action,) = re.findall(r'<form[^>]* action="([^"]+)"', page.text)
            address = requests.compat.urljoin(page.url, action)
            page = self.session.post(address, data=form, timeout=PATIENCE_S)
        return page

    def start(self) -> None:
        """Start the server, and open JupyterLab as the hub's pages lead there."""
        self.session.get(f"{self.hub}/hub/spawn/{self.name}", timeout=PATIENCE_S)
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            page = self.session.get(f"{self.home}lab", timeout=PATIENCE_S)
            if page.ok and page.url.startswith(f"{self.home}lab"):
                return
            time.sleep(0.3)
        msg = f"no JupyterLab: {page.status_code} {page.url}"
        raise AssertionError(msg)

    def run(self, code: str) -> str:
        """Run code in a new kernel; return what it printed."""
        kernel = self._api("POST", "api/kernels", json={"name": "python3"})
        address = f"{self.home}api/kernels/{kernel['id']}/channels"
        channel = websocket.create_connection(
            address.replace("http", "ws", 1),
            cookie="; ".join(f"{c.name}={c.value}" for c in self._cookies()),
            origin=self.hub,
            timeout=PATIENCE_S,
        )
        try:
            request = _request(code)
            channel.send(json.dumps(request))
            printed = ""
            while True:
                message = json.loads(channel.recv())
                content = message["content"]
                if message["msg_type"] == "stream":
                    printed += content["text"]
                elif message["msg_type"] == "error":
                    raise AssertionError("\n".join(content["traceback"]))
                elif content.get("execution_state") == "idle" and (
                    message["parent_header"].get("msg_id")
                    == request["header"]["msg_id"]
                ):
                    return printed  # unlike the reply, it comes after all output
        finally:
            channel.close()
            self._api("DELETE", f"api/kernels/{kernel['id']}")

    def _cookies(self) -> list[requests.cookies.Cookie]:
        """Return the cookies that a browser sends to the server."""
        place = f"/user/{self.name}/"
        return [c for c in self.session.cookies if place.startswith(c.path)]

    def _api(self, method: str, path: str, **options: object) -> dict[str, str]:
        """Ask the server's API as its pages do."""
        xsrf = [c.value for c in self._cookies() if c.name == "_xsrf"]
        answer = self.session.request(
            method,
            self.home + path,
            headers={"X-XSRFToken": xsrf[-1], "Referer": f"{self.home}lab"},
            timeout=PATIENCE_S,
            **options,
        )
        assert answer.ok, answer.text
        return answer.json() if answer.content else {}


def _request(code: str) -> dict[str, Any]:
    """Return Jupyter's message to run code."""
    header = {
        "msg_id": uuid.uuid4().hex,
        "msg_type": "execute_request",
        "session": uuid.uuid4().hex,
        "username": "",
        "version": "5.4",
    }
    content = {"code": code, "silent": False, "store_history": False}
    return {
        "header": header,
        "parent_header": {},
        "metadata": {},
        "content": content,
        "channel": "shell",
        "buffers": [],
    }
