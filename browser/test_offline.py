"""The page as an app: it can be installed, and is there while its server is not."""

from __future__ import annotations

import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from playwright.sync_api import expect

CACHED = """async () => {
  const cache = await caches.open((await caches.keys()).at(-1));
  return (await cache.keys()).map(({ url }) => new URL(url).pathname);
}"""


@contextmanager
def proxy(server: int, folder: str) -> Iterator[int]:
    """Passes on what is below `folder`, as a proxy does; 502 if the server does not answer."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.removeprefix(folder)
            url = f"http://127.0.0.1:{server}/{path}"
            try:
                with urllib.request.urlopen(url) as answer:
                    status, headers, body = answer.status, answer.headers, answer.read()
            except urllib.error.HTTPError as error:
                status, headers, body = error.code, error.headers, error.read()
            except OSError:
                status, headers, body = 502, {"Content-Type": "text/plain"}, b"nobody there"
            self.send_response(status)
            for name in ("Content-Type", "Content-Security-Policy", "ETag", "Cache-Control"):
                if name in headers:
                    self.send_header(name, headers[name])
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        yield listening.server_port
        listening.shutdown()


def is_ready(page) -> None:
    """The service worker has cached the page and serves it."""
    page.wait_for_function("() => navigator.serviceWorker.controller !== null")


def test_the_page_is_there_without_its_server(serve, visit) -> None:
    daemon = serve()
    anna = visit(daemon.port).enter("anna")
    is_ready(anna.page)
    daemon.process.kill()
    daemon.stopped()
    anna.page.reload()
    expect(anna.page.locator("#banner")).to_be_visible()
    expect(anna.page.locator("#banner")).to_contain_text("Not connected")
    expect(anna.page.get_by_role("heading", level=1)).to_have_text("Not connected")
    anna.sees("Your rooms will be here as soon as there is a connection.")
    serve(port=daemon.port)
    anna.is_online()
    anna.is_in("#general")


def test_the_page_alone_is_cached(serve, visit) -> None:
    daemon = serve()
    anna = visit(daemon.port).enter("anna")
    is_ready(anna.page)
    status = "async (path) => (await fetch(path)).status"
    assert anna.page.evaluate(status, "healthz") == 200
    assert anna.page.evaluate(status, "nowhere") == 404
    cached = set(anna.page.evaluate(CACHED))
    assert {"/", "/main.js", "/style.css", "/icon.svg"} <= cached
    assert cached.isdisjoint({"/ws", "/metrics", "/healthz", "/nowhere", "/service-worker.js"})
    daemon.process.kill()
    daemon.stopped()
    failed = "async (path) => { try { await fetch(path); } catch { return 'failed'; } }"
    assert anna.page.evaluate(failed, "healthz") == "failed"
    assert anna.page.evaluate("async () => (await fetch('main.js')).status") == 200


def test_a_new_version_is_shown_at_once(serve, visit) -> None:
    daemon = serve()
    anna = visit(daemon.port).enter("anna")
    is_ready(anna.page)
    # The cached page is older than the server's now.
    stale = """async () => {
      const cache = await caches.open((await caches.keys())[0]);
      await cache.put("./", new Response("an old page"));
    }"""
    anna.page.evaluate(stale)
    anna.page.reload()
    anna.is_online()
    anna.is_in("#general")


def test_a_worker_of_another_version_takes_over(serve, visit) -> None:
    daemon = serve()
    anna = visit(daemon.port)
    worker = "**/service-worker.js"
    anna.enter("anna")
    is_ready(anna.page)
    (before,) = anna.page.evaluate("caches.keys()")

    def renew(route) -> None:
        route.fulfill(
            response=(answer := route.fetch()),
            body=answer.text().replace('VERSION = "', 'VERSION = "new'),
        )

    anna.page.context.route(worker, renew)
    anna.page.evaluate("async () => (await navigator.serviceWorker.getRegistration()).update()")
    anna.page.wait_for_function(
        "async (before) => { const keys = await caches.keys();"
        " return keys.length === 1 && keys[0] !== before; }",
        arg=before,
    )


def test_below_a_folder_of_a_proxy_it_is_the_same(serve, visit) -> None:
    daemon = serve()
    with proxy(daemon.port, "/chat/") as port:
        anna = visit(port)
        anna.page.goto(f"http://127.0.0.1:{port}/chat/")
        is_ready(anna.page)
        scope = "async () => (await navigator.serviceWorker.ready).scope"
        assert anna.page.evaluate(scope) == f"http://127.0.0.1:{port}/chat/"
        assert {"/chat/", "/chat/main.js"} <= set(anna.page.evaluate(CACHED))
        # The proxy is there, and the server behind it is not.
        daemon.process.kill()
        daemon.stopped()
        anna.page.reload()
        expect(anna.page.locator("#banner")).to_contain_text("Not connected")


@pytest.mark.parametrize("name", ["icon.svg", "icon.png", "icon-maskable.svg"])
def test_the_icons_can_be_drawn(modules, name: str) -> None:
    size = """async (src) => {
      const icon = Object.assign(new Image(), { src });
      await icon.decode();
      return icon.naturalWidth;
    }"""
    assert modules.evaluate(size, name) > 0


def test_a_browser_finds_the_page_installable(serve, visit) -> None:
    anna = visit(serve().port).enter("anna")
    is_ready(anna.page)
    devtools = anna.page.context.new_cdp_session(anna.page)
    found = devtools.send("Page.getInstallabilityErrors")["installabilityErrors"]
    # A window without history is the one thing that it minds.
    assert [error["errorId"] for error in found if error["errorId"] != "in-incognito"] == []
    assert devtools.send("Page.getAppManifest")["errors"] == []


# As on Android: only a service worker may show notifications. They are kept here.
PHONE = """
window.Notification = class {
  static permission = "granted";
  static requestPermission = async () => "granted";
  constructor() { throw new TypeError("Illegal constructor"); }
};
window.shown = [];
ServiceWorkerRegistration.prototype.showNotification = async (title, { body, tag }) => {
  shown.push([title, body, tag]);
};
Object.defineProperty(document, "hidden", { get: () => window.isAway ?? false });
"""


def test_a_phone_is_told_by_the_service_worker(serve, visit, talk) -> None:
    daemon = serve()
    anna = visit(daemon.port, size="phone")
    anna.page.add_init_script(PHONE)
    anna.enter("anna")
    is_ready(anna.page)
    anna.page.locator("#settings-button").evaluate("button => button.click()")
    anna.page.get_by_role("switch", name="Notifications").check()
    anna.page.keyboard.press("Escape")
    anna.page.evaluate("window.isAway = true")
    talk(daemon, "/nick jack", "/tell anna psst")
    anna.page.wait_for_function("() => shown.length > 0")
    ((title, body, tag),) = anna.page.evaluate("shown")
    assert (title, body) == ("jack", "psst")
    # A click has the worker tell the page where to go.
    anna.page.evaluate(
        """(tag) => {
          window.isAway = false;
          const about = { data: { tag } };
          navigator.serviceWorker.dispatchEvent(new MessageEvent("message", about));
        }""",
        tag,
    )
    anna.is_in("jack")
