"""Messages that are removed from a room, and put back, in the page."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import expect
from test_accounts import register


def test_a_removed_message_leaves_the_page_and_comes_back(
    serve, visit, talk, tmp_path: Path
) -> None:
    daemon = serve(store=f"sqlite:{tmp_path / 'chat.db'}")
    ann = visit(daemon.port).enter("ann", "#go")
    register(ann)
    ann.type("/claim")
    talk(daemon, "/nick jack", "/join #go", "/msg good", "/msg bad words", "/msg fine")
    rows = ann.page.locator(".row.said")
    expect(rows).to_have_count(3)
    ann.type("/search bad")
    expect(ann.page.locator(".found-entry")).to_have_count(1)
    ann.type("/remove 3 spam")
    expect(rows.nth(1)).to_have_text("removed by ann")
    expect(ann.page.get_by_text("ann removed 1 message of jack: spam [A5]")).to_be_visible()
    expect(ann.log).not_to_contain_text("bad words")
    # The next one has its author's name above it, and the search result is gone.
    expect(rows.nth(2).locator(".author")).to_be_visible()
    expect(ann.page.locator(".found-entry")).to_have_count(0)
    ann.page.reload()
    expect(rows.nth(1)).to_have_text("removed")
    ann.type("/undo A5")
    expect(rows.nth(1)).to_contain_text("bad words")
