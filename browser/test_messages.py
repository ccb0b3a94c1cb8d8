"""The look of messages: markup, links, mentions, colours, initials, names and times."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

# Texts, and how they look: an element as TAG[...], and text as it stands.
MARKUP = {
    "a `b *c*` d": "a code[b *c*] d",
    "``a`b``": "code[a`b]",
    "`` `a` ``": "code[`a`]",
    "```x = 1```": "code[x = 1]",
    "`a": "`a",
    "*a* _b_ **c** __d__ ~~e~~": "em[a] em[b] strong[c] strong[d] s[e]",
    "***both***": "strong[em[both]]",
    "**a *b* c**": "strong[a em[b] c]",
    "*a **b* c**": "em[a **b] c**",
    "snake_case_name 2*3*4 2 * 3 * 4": "snake_case_name 2*3*4 2 * 3 * 4",
    "f(*args, **kwargs), SELECT *, count(*)": "f(*args, **kwargs), SELECT *, count(*)",
    r"¯\_(ツ)_/¯ and \*this\*": r"¯\_(ツ)_/¯ and \*this\*",
    "これは**太字**です": "これはstrong[太字]です",
    "> quoted *text*": "blockquote[quoted em[text]]",
    "> ": "> ",
    ">_<": ">_<",
    "**https://example.org/a_b_c**": "strong[a[https://example.org/a_b_c]]",
    "*see www.example.org.*": "em[see a[www.example.org].]",
    "www.example www. xwww.example.org": "www.example www. xwww.example.org",
    "~single~ ****four****": "~single~ ****four****",
    "<b>*x*</b> &amp;": "<b>em[x]</b> &amp;",
}
SHOW = """async (texts) => {
  const { message } = await import("./markup.js");
  const show = (node) => node.nodeName === "#text" ? node.data : typeof node === "string" ? node
    : `${node.localName}[${[...node.childNodes].map(show).join("")}]`;
  return texts.map((text) => message(text).map(show).join(""));
}"""


def test_markup_becomes_elements(modules) -> None:
    shown = modules.evaluate(SHOW, list(MARKUP))
    assert dict(zip(MARKUP, shown, strict=True)) == MARKUP


def test_emphasis_is_not_nested_without_end(modules) -> None:
    (shown,) = modules.evaluate(SHOW, ["*a _b " * 50 + "c_ d* " * 50])
    depths = [shown[:at].count("[") - shown[:at].count("]") for at in range(len(shown))]
    assert max(depths) == 8


HOSTILE = [
    *("*a ", "*_", "_a*", "`", "``a`", "~~a ", "@", "@a.", "#x", "(", "http://", "www.a.b)"),
    *("https://a)", "https://a/(((", "https://a/)))", "https://a...", "** *", "[(", "> "),
]


def test_time_grows_with_the_length_alone(modules) -> None:
    took = """async (parts) => {
      const { message } = await import("./markup.js");
      const time = (part, length, times) => {
        const text = part.repeat(length / part.length);
        const since = performance.now();
        for (let turn = 0; turn < times; turn += 1) {
          message(text, { "@": () => null, "#": () => null });
        }
        return performance.now() - since;
      };
      return parts.map((part) => {
        let [short, long] = [Infinity, Infinity];
        for (let round = 0; round < 2 || (long > 5 * short && round < 40); round += 1) {
          short = Math.min(short, Math.max(time(part, 10_000, 16), 8));
          long = Math.min(long, time(part, 160_000, 1));
        }
        return [short, long];
      });
    }"""
    # One text is sixteen times as long as the other, which is read sixteen times. With squared time
    # it would take sixteen times as long. A busy machine interrupts both alike.
    slow = [
        (part, short, long)
        for part, (short, long) in zip(HOSTILE, modules.evaluate(took, HOSTILE), strict=True)
        if long > 5 * short
    ]
    assert slow == []


def test_messages_actions_and_topics_are_marked_up(serve, visit, talk) -> None:
    daemon = serve()
    anna = visit(daemon.port).enter("anna")
    jack = talk(daemon, "/nick jack", "/join #general", "/topic *Tea*")
    jack.say("/msg run `ls` **now**", "/me is *tired*", "/msg > quoted")
    log = anna.page.locator("#log-rows")
    expect(log.locator(".said code")).to_have_text("ls")
    expect(log.locator(".said strong")).to_have_text("now")
    expect(log.locator(".acted em")).to_have_text("tired")
    expect(log.locator(".topic_set em")).to_have_text("Tea")
    expect(log.locator("blockquote")).to_have_text("quoted")


def test_mentions_stand_out_and_lead_to_their_person(serve, visit, talk) -> None:
    daemon = serve()
    anna = visit(daemon.port).enter("anna")
    jack = talk(daemon, "/nick jack", "/join #general")
    anna.sees("jack joined")
    jack.say("/msg @Anna, @jackdaw and @jack's mail is a@jack or `@jack`")
    expect(anna.page.locator("#log mark")).to_have_text("@Anna")
    named = anna.page.locator("#log .named")
    expect(named).to_have_text("@jack")
    named.click()
    anna.is_in("jack")


def test_an_author_can_be_clicked(serve, visit, talk) -> None:
    daemon = serve()
    anna = visit(daemon.port).enter("anna")
    talk(daemon, "/nick jack", "/join #general", "/msg hi")
    anna.sees("hi")
    anna.page.locator("#log .author").click()
    anna.is_in("jack")


def test_colours_differ_within_a_room(serve, visit, talk) -> None:
    daemon = serve()
    for number in range(11):
        talk(daemon, f"/nick person{number}", "/join #general", "/msg hi").hears_until(
            "> welcome to #general"
        )
    anna = visit(daemon.port).enter("anna")
    members = anna.page.locator("#members .nick")
    expect(members).to_have_count(12)
    expect(anna.page.locator(".row.said .nick")).to_have_count(11)
    for scheme in ("light", "dark"):
        anna.page.emulate_media(color_scheme=scheme)
        colours = members.evaluate_all("all => all.map(one => getComputedStyle(one).color)")
        assert len(set(colours)) == 12
        # A person looks the same wherever the room shows them.
        beside = dict(zip(members.all_text_contents(), colours, strict=True))
        for nick in anna.page.locator("#log-rows .nick").all():
            colour = nick.evaluate("one => getComputedStyle(one).color")
            assert colour == beside[nick.text_content()]


def test_a_colour_is_the_same_elsewhere_if_it_is_free_there(serve, visit, talk) -> None:
    daemon = serve()
    for number in range(11):
        talk(daemon, f"/nick person{number}", "/join #general").hears_until("> welcome to #general")
    anna = visit(daemon.port).enter("anna")
    expect(anna.page.locator("#members .nick")).to_have_count(12)
    colour = "one => getComputedStyle(one).backgroundColor"
    member = anna.page.locator("#members button").last
    before = member.locator(".avatar").evaluate(colour)
    member.click()
    assert anna.page.locator("#talks .avatar").evaluate(colour) == before


def test_avatars_have_initials(modules) -> None:
    nicks = ["anna", "jane_doe", "Ewa.K", "李雷", "...", "a-b-c", "👩\u200d👧 x"]
    shown = modules.evaluate(
        'async (nicks) => nicks.map((await import("./people.js")).initials)',
        nicks,
    )
    assert shown == ["A", "JD", "EK", "李", ".", "AB", "X"]


def test_a_name_stands_again_after_a_screenful(serve, visit, talk) -> None:
    daemon = serve()
    anna = visit(daemon.port).enter("anna")
    talk(daemon, "/nick jack", "/join #general", *(f"/msg number {at}" for at in range(30)))
    anna.sees("number 29")
    follows = anna.page.locator(".row.said").evaluate_all(
        "all => all.map(one => one.classList.contains('follows'))"
    )
    assert [at for at, is_below in enumerate(follows) if not is_below] == [0, 12, 24]


def test_a_name_stands_again_after_five_minutes(modules) -> None:
    follows = modules.evaluate(
        """async () => {
          const { context } = await import("./rows.js");
          const said = (time) => ({ kind: "said", author: "1", nick: "a", time });
          const items = [0, 200, 299, 301, 400].map(said);
          let run;
          return items.map((item, at) => {
            const around = context(items[at - 1], item, run);
            run = around.run;
            return around.follows;
          });
        }"""
    )
    assert follows == [False, True, True, False, True]


@pytest.mark.parametrize("size", ["desktop", "phone"])
def test_each_message_has_its_time(serve, visit, talk, size: str) -> None:
    daemon = serve()
    anna = visit(daemon.port, size=size).enter("anna")
    talk(daemon, "/nick jack", "/join #general", "/msg one", "/msg two", "/me waves")
    anna.sees("waves")
    times = anna.page.locator(".row.said time, .row.acted time")
    expect(times).to_have_count(3)
    # A mouse shows the time of a message below another one; fingers have none.
    if size == "desktop":
        anna.page.locator(".row.follows").hover()
    for time in times.all():
        expect(time).to_have_text(re.compile(r"\d\d:\d\d"))
        expect(time).to_have_css("opacity", "1")


LINKS = {
    "看https://example.com/页面。很好": "https://example.com/页面",
    "（见https://example.com/a）然后": "https://example.com/a",
    "https://zh.wikipedia.org/wiki/Foo（bar）": "https://zh.wikipedia.org/wiki/Foo（bar）",
    "(https://en.wikipedia.org/wiki/A_(b)).": "https://en.wikipedia.org/wiki/A_(b)",
    "انظر https://example.com/a، ثم": "https://example.com/a",
    "「https://example.com/a」です": "https://example.com/a",
    "https://example.com/a，b": "https://example.com/a",
    "https://example.com/a।": "https://example.com/a",
    "“https://example.com/a”": "https://example.com/a",
    "https://ca.wikipedia.org/wiki/Col·legi": "https://ca.wikipedia.org/wiki/Col·legi",
    "(www.example.org/a_b, or": "www.example.org/a_b",
}


def test_a_link_ends_where_its_script_ends_it(modules) -> None:
    shown = modules.evaluate(
        """async (texts) => {
          const { inline } = await import("./markup.js");
          const links = (text) => inline(text).filter((node) => node.href);
          return texts.map((text) => links(text).map((node) => node.textContent).join());
        }""",
        list(LINKS),
    )
    assert dict(zip(LINKS, shown, strict=True)) == LINKS


def test_a_link_without_a_scheme_is_https(modules) -> None:
    shown = modules.evaluate(
        """async () => {
          const { inline } = await import("./markup.js");
          return inline("WWW.example.org/x").map((node) => [node.href, node.textContent]);
        }"""
    )
    assert shown == [["https://www.example.org/x", "WWW.example.org/x"]]
