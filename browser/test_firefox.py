"""The page in Firefox, driven by WebDriver BiDi: Playwright has a Firefox of its own only.

NODE_FOLDER is a folder in which npm has installed puppeteer-core.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from processes import PATIENCE

FIREFOX = shutil.which("firefox-esr") or shutil.which("firefox")
SCRIPT = Path(__file__).with_name("firefox.mjs")


@pytest.mark.skipif(not FIREFOX, reason="Firefox is not installed: apt-get install firefox-esr")
def test_firefox_talks_with_a_line_client(serve, talk) -> None:
    daemon = serve()
    jack = talk(daemon, "/nick jack", "/join #general")
    jack.hears("> all right, I will call you jack", "> welcome to #general")
    url = f"http://127.0.0.1:{daemon.port}/"
    command = ["node", str(SCRIPT), str(FIREFOX), url]
    jack.socket.settimeout(3 * PATIENCE)  # a browser takes its time to start
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as fox:
        try:
            jack.hears("> fox joined the room", "> fox: Hello from Firefox")
            jack.say("/msg Hi fox")
            _, problems = fox.communicate(timeout=3 * PATIENCE)
        finally:
            fox.kill()
    assert (fox.returncode, problems) == (0, "")
    jack.hears("> topic of #general: Tea", "> fox: half a thought")
