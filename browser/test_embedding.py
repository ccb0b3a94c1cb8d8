"""The page within a site's frame: the site logs its people in, and no other page can."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import jwt
import pytest
from playwright.sync_api import Browser, expect

SECRET = "a secret that the site and the chat share"
PAGE = """<!doctype html><title>A site</title><iframe src="{chat}/#%23general"></iframe><script>
const frame = document.querySelector("iframe").contentWindow;
addEventListener("message", (event) => {{
  if (event.origin === "{chat}" && event.data.type === "trio_chat:token_wanted") {{
    frame.postMessage({{ type: "trio_chat:token", token: "{token}" }}, "{chat}");
  }}
}});
</script>
"""


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Nothing: the test looks at the page."""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """The origin of a site, and the directory with its pages."""
    pages = tmp_path / "site"
    pages.mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=pages)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}", pages
        server.shutdown()
        thread.join()


def token() -> str:
    claims = {"sub": "7", "nick": "john", "aud": "chat", "exp": time.time() + 3_600}
    return jwt.encode(claims, SECRET, "HS256")


@pytest.fixture
def start(serve: Callable, tmp_path: Path) -> Callable[..., str]:
    """Starts a daemon that these sites may embed; gives its origin."""
    key = tmp_path / "key"
    key.write_text(SECRET)
    key.chmod(0o600)

    def start(*origins: str) -> str:
        daemon = serve(
            f"--jwt-key={key}", "--jwt-audience=chat", f"--embed-origins={','.join(origins)}"
        )
        return f"http://localhost:{daemon.port}"

    return start


def test_a_site_logs_its_person_in(browser: Browser, site, start) -> None:
    origin, pages = site
    chat = start(origin)
    (pages / "index.html").write_text(PAGE.format(chat=chat, token=token()))
    page = browser.new_page()
    page.goto(origin)
    frame = page.frame_locator("iframe")
    expect(frame.locator("#my-name")).to_have_text("john")
    page.close()


def test_another_page_cannot_show_it(browser: Browser, site, start) -> None:
    origin, pages = site
    chat = start("https://www.example.org")
    (pages / "index.html").write_text(PAGE.format(chat=chat, token=token()))
    page = browser.new_page()
    page.goto(origin)
    expect(page.frame_locator("iframe").locator("#my-name")).to_have_count(0)
    page.close()


def test_a_page_that_opens_the_chat_cannot_log_in_there(browser: Browser, site, start) -> None:
    """It is not around the page, and may be of a site that could embed it."""
    origin, pages = site
    chat = start(origin)
    opener = f"""<!doctype html><title>A site</title><script>
    window.chat = window.open("{chat}/");
    window.sent = 0;
    setInterval(() => {{
      chat.postMessage({{ type: "trio_chat:token", token: "{token()}" }}, "*");
      sent += 1;
    }}, 50);
    </script>"""
    (pages / "index.html").write_text(opener)
    page = browser.new_page()
    with page.expect_popup() as popup:
        page.goto(origin)
    opened = popup.value
    expect(opened.locator("#entrance")).to_be_visible()
    before = page.evaluate("sent")
    page.wait_for_function("(before) => sent >= before + 10", arg=before)
    expect(opened.locator("#my-name")).not_to_have_text("john")
    page.close()
    opened.close()
