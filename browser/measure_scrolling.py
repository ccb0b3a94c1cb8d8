"""Measures how smoothly the page scrolls through 10,000 messages: how long each frame takes.

nox -s browser -- -k nothing                     # once, to have what it needs
.nox/browser/bin/python -m pytest -o pythonpath=tests -s browser/measure_scrolling.py
"""

from __future__ import annotations

MESSAGES = 10_000
AT_ONCE = 500  # lines that jack sends in one go
WAYS = {
    "line by line": "900",
    "jumps of 40,000 pixels now and then": "i % 40 === 39 ? 40000 : 900",
    "back, faster than one can read": "-9000",
}
MEASURE = """async () => {
    const log = document.getElementById("log"), frames = [];
    let before = performance.now();
    for (let i = 0; i < 240; i++) {
        log.scrollTop += STEP;
        await new Promise(requestAnimationFrame);
        frames.push(performance.now() - before);
        before = performance.now();
    }
    frames.sort((one, other) => one - other);
    return [frames[120], frames[228], frames[239]].map(Math.round);
}"""


def test_scrolling(serve, visit, talk) -> None:
    daemon = serve()
    jack = talk(daemon, "/nick jack", "/join #general")
    for first in range(0, MESSAGES, AT_ONCE):
        jack.say(*(f"/msg message number {first + number}" for number in range(AT_ONCE)))
    jack.say("/who")
    jack.hears_until("> in #general: jack")
    anna = visit(daemon.port).enter("anna")
    anna.sees(f"message number {MESSAGES - 1}")
    while not anna.page.get_by_text("This is where #general begins.").is_visible():
        anna.log.evaluate("log => log.scrollTop = 0")
        anna.page.wait_for_timeout(20)
    told = [f"{len(anna.texts())} messages; ms a frame: median, 95th of 100, longest"]
    told += [f"{way}: {anna.page.evaluate(MEASURE.replace('STEP', WAYS[way]))}" for way in WAYS]
    print("", *told, sep="\n")  # noqa: T201 - what this is for
