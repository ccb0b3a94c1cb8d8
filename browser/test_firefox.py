"""The page in Firefox, driven by WebDriver BiDi: Playwright has a Firefox of its own only.

NODE_FOLDER is a folder in which npm has installed puppeteer-core.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

from needs import needs
from processes import PATIENCE

SCRIPT = Path(__file__).with_name("firefox.mjs")


def test_firefox_talks_with_a_line_client(serve, talk) -> None:
    firefox = needs("firefox-esr")
    daemon = serve()
    jack = talk(daemon, "/nick jack", "/join #general")
    jack.hears("> all right, I will call you jack", "> welcome to #general")
    url = f"http://127.0.0.1:{daemon.port}/"
    command = ["node", str(SCRIPT), firefox, url]
    jack.socket.settimeout(3 * PATIENCE)  # a browser takes its time to start
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as fox:
        try:
            jack.hears("> fox joined the room", "> fox: Hello from Firefox")
            jack.say("/msg Hi fox")
            _, problems = fox.communicate(timeout=3 * PATIENCE)
        finally:
            fox.kill()
    assert (fox.returncode, problems) == (0, "")
    jack.hears("> topic of #general: Tea", "> fox: **bold**", "> fox: half a thought")
