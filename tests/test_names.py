"""Valid nicks and room names, and names that count as the same."""

from __future__ import annotations

import string
import unicodedata
from collections.abc import Callable, Iterable
from itertools import combinations
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trio_chat.errors import Refused
from trio_chat.protocol import names
from trio_chat.protocol.names import (
    MAX_MARKS,
    RESERVED,
    Name,
    casefold_room,
    parse_nick,
    parse_room,
)
from trio_chat.protocol.text import clean_text

LIMIT: Final = 32

INVISIBLE: Final = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u180e\u200b\u200c\u200d\u200e\u200f\u2060\u2063\u206a"
    "\u2800\u3164\ufe0f\ufeff\uffa0\ufff9\ufffc\U00013441\U00016fe4\U0001d159\U000e0041\U000e0100"
)
BIDI: Final = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
CONTROLS: Final = "".join(map(chr, [*range(9), *range(0x0E, 0x1C), *range(0x7F, 0x85), 0x9B]))
SPACES: Final = " \t\n\x85\xa0\u1680\u2003\u2028\u2029\u202f\u205f\u3000"
ANY_TEXT: Final = st.text(
    st.characters(exclude_categories=())
    | st.sampled_from(INVISIBLE + BIDI + SPACES)
    | st.sampled_from("\u0301\u0345\u2100\uff0c\u01c5\u0130\u1e9e\u03c2")
    | st.sampled_from(string.printable),
    max_size=LIMIT + 2,
)
PARSERS: Final = (parse_nick, parse_room)
Parse = Callable[[str, int], Name]


def sentence(parse: Parse, text: str, limit: int = LIMIT) -> str:
    with pytest.raises(Refused) as caught:
        parse(text, limit)
    return str(caught.value)


def clash(one: str, other: str) -> bool:
    return not set(parse_nick(one, LIMIT).keys).isdisjoint(parse_nick(other, LIMIT).keys)


@pytest.mark.parametrize(
    "text",
    [
        "john", "John_7", "u10x1", "a-b", "[away]", "x", "{}|^~", "O'Brien", "100%",
        "jos\u00e9", "\u0418\u0432\u0430\u043d", "\u674e\u5c0f\u9f99", "\u30ce\u30a2",
        "\u05d3\u05d5\u05d3", "\u0639\u0644\u064a", "\u0926\u0941\u0903\u0916",
        "\u0e01\u0e34\u0e48\u0e07", "\U0001f600",
    ],
)  # fmt: skip
def test_good_nicks_are_shown_as_they_were_written(text: str) -> None:
    assert parse_nick(text, LIMIT).display == text


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "a nick may not be empty"),
        *((f"jo{char}hn", f"a nick may not contain '{char}'") for char in "#/@:,*!?"),
        *((f"{char}john", f"a nick may not begin with '{char}'") for char in ">$&+%~"),
        ("john?", "a nick may not contain '?'"),
        ("?", "a nick may not contain '?'"),
        ("+?", "a nick may not begin with '+'"),
        ("\uff1fjohn", "a nick may not contain '?'"),
        ("\uff0bjohn", "a nick may not begin with '+'"),
        ("#john", "a nick may not contain '#'"),
        ("\uff1ejohn", "a nick may not begin with '>'"),
        ("a\u2100b", "a nick may not contain '/'"),
        ("john\uff1a", "a nick may not contain ':'"),
        ("john\ua789", "a nick may not contain characters that look like ':'"),
        ("jo hn", "a nick may not contain white space"),
        ("a\u00b4", "a nick may not contain white space"),
        ("jo\x1b[hn", "a nick may not contain control characters (arrow keys send them)"),
        ("jo\u200bhn", "a nick may not contain invisible characters"),
        ("jo\u202ehn", "a nick may not contain invisible characters"),
        ("jo\ud800hn", "a nick may not contain the character U+D800"),
        ("\u0301john", "a nick may not begin with an accent or mark: a letter comes first"),
        ("a" + "\u0316" * 5, "a nick may not contain more than 4 accents or marks on one letter"),
        ("x" * 33, "a nick may have at most 32 characters"),
        ("\u00e9" * 33, "a nick may have at most 32 characters"),
        ("\u00e9" * 9999, "a nick may have at most 32 characters"),
        ("Anonymous", "the nick 'Anonymous' is reserved: please choose another"),
    ],
)
def test_refused_nicks(text: str, reason: str) -> None:
    assert sentence(parse_nick, text) == reason


def test_a_nick_may_hold_what_it_may_not_begin_with() -> None:
    assert parse_nick("john>$&+%~", LIMIT).display == "john>$&+%~"


# Nicks that people may have since an earlier version.
HELD_BEFORE: Final = [
    "?john",
    "jo?hn",
    "$john",
    "&john",
    "+john",
    "%john",
    "~john",
    "+",
    "anonymous-1",
]


@pytest.mark.parametrize("text", [*HELD_BEFORE, *RESERVED])
def test_a_nick_that_nobody_can_take_is_found_by_those_who_look_for_it(text: str) -> None:
    sentence(parse_nick, text)
    name = parse_nick(text, LIMIT, reserved=True)
    assert name.display == text
    assert name == parse_nick(name.display, LIMIT, reserved=True)
    assert parse_nick(text.upper(), LIMIT, reserved=True).casefolded == name.casefolded


@pytest.mark.parametrize("text", ["#john", ">john", "jo hn", "x" * 33])
def test_a_nick_that_nobody_ever_had_is_not_looked_for(text: str) -> None:
    with pytest.raises(Refused):
        parse_nick(text, LIMIT, reserved=True)


def test_length_is_counted_after_enforcement() -> None:
    assert parse_nick("\u03b1\u0313\u0300\u0345" * LIMIT, LIMIT).display == "\u1f82" * LIMIT
    assert "at most 2" in sentence(parse_nick, "\ufb03", 2)
    assert parse_nick("\ufb03", 3).display == "ffi"


@pytest.mark.parametrize("parse", PARSERS)
def test_names_hold_none_of_these(parse: Parse) -> None:
    for char in INVISIBLE + BIDI + CONTROLS + SPACES + "\ue000\ufdd0":
        for text in (char, f"{char}a", f"a{char}", f"a{char}b"):
            with pytest.raises(Refused):
                parse(text, LIMIT)


@pytest.mark.parametrize("text", ["\u0628\u200c\u0628", "\u0915\u094d\u200d\u0937"])
def test_joiners_that_precis_allows_are_invisible_in_a_name(text: str) -> None:
    assert sentence(parse_nick, text) == "a nick may not contain invisible characters"


@pytest.mark.parametrize("text", ["general", "#general", "/@:*!>", ">", "\u2100"])
def test_good_rooms(text: str) -> None:
    assert parse_room(text, LIMIT).display == unicodedata.normalize("NFKC", text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "a room name may not be empty"),
        ("a,b", "a room name may not contain ','"),
        ("a\uff0cb", "a room name may not contain ','"),
        ("\u0301", "a room name may not begin with an accent or mark: a letter comes first"),
        (
            "a" + "\u0316" * 5,
            "a room name may not contain more than 4 accents or marks on one letter",
        ),
        ("x" * 33, "a room name may have at most 32 characters"),
    ],
)
def test_refused_rooms(text: str, reason: str) -> None:
    assert sentence(parse_room, text) == reason


def test_rooms_are_compared_folded_and_no_further() -> None:
    room = parse_room("#General", LIMIT)
    assert room == Name("#General", "#general", ("#general",))
    assert room.keys == parse_room("#GENERAL", LIMIT).keys
    assert set(room.keys).isdisjoint(parse_room("general", LIMIT).keys)
    assert set(room.keys).isdisjoint(parse_room("#genera1", LIMIT).keys)
    assert parse_room("anonymous", LIMIT).casefolded == "anonymous"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("john", "JOHN"),
        ("john", "\uff4a\uff4f\uff48\uff4e"),  # wide
        ("john", "j\u043ehn"),  # Cyrillic o
        ("john", "j\u03bfhn"),  # Greek omicron
        ("JOHN", "\u0458\u043e\u04bb\u0578"),  # Cyrillic and Armenian
        ("john", "\u0408\u041e\u041dN"),  # Cyrillic that looks like Latin only as capitals
        ("mary", "\u039cARY"),  # Greek capital mu
        ("rnary", "\u039cARY"),
        ("mary", "rnary"),
        ("no\u00ebl", "no\u0451l"),  # Latin and Cyrillic e with the same mark
        ("Ivan", "lvan"),
        ("Ivan", "1van"),
        ("BILL", "b1l|"),
        ("bob", "b0b"),
        ("ioi", "I0I"),
        ("stra\u00dfe", "STRASSE"),
        ("\u03c3\u03b1\u03c2", "\u03a3\u0391\u03a3"),  # both forms of sigma
        ("jose\u0301", "jos\u00e9"),
        ("\ufb01fi", "FIfi"),
        ("\u0661", "l"),  # Arabic one: a row with direction marks in Unicode's file
        ("vv", "VV"),
    ],
)
def test_nicks_that_clash(one: str, other: str) -> None:
    assert clash(one, other)
    assert clash(other, one)


@pytest.mark.parametrize(
    ("one", "other"),
    [("ivan", "lvan"), ("jose", "jos\u00e9"), ("alice", "bob"), ("user7", "user8"), ("ab", "ba")],
)
def test_nicks_that_do_not_clash(one: str, other: str) -> None:
    assert not clash(one, other)


def numbered(rooms: int, members: int) -> Iterable[str]:
    return (f"u{room}x{member}" for room in range(rooms) for member in range(members))


def test_ordinary_numbered_nicks_do_not_clash() -> None:
    owners: dict[str, str] = {}
    nicks = {*numbered(500, 2), *numbered(1, 1000), *numbered(100, 10), "alice", "bob", "carol"}
    nicks |= {f"user{number}" for number in range(1000)}
    for nick in nicks:
        for key in parse_nick(nick, LIMIT).keys:
            assert owners.setdefault(key, nick) == nick


def test_folded_names_the_nick_whatever_the_case() -> None:
    assert parse_nick("John", LIMIT).casefolded == "john"
    assert parse_nick("\u0408\u043e\u04bbN", LIMIT).casefolded == "\u0458\u043e\u04bbn"
    mary = parse_nick("Mary0", LIMIT)
    assert mary.casefolded in mary.keys


@pytest.mark.parametrize("word", RESERVED)
def test_reserved_nicks_and_what_looks_like_them(word: str) -> None:
    likes = {word, word.title(), word.upper(), word.replace("o", "\u043e").replace("e", "\u0435")}
    for text in likes | {word.replace("o", "0"), word.replace("m", "rn")}:
        assert sentence(parse_nick, text) == f"the nick '{text}' is reserved: please choose another"


@pytest.mark.parametrize("word", RESERVED)
def test_reserved_words_with_something_around_them(word: str) -> None:
    likes = [
        f"[{word}]",
        f"-{word}-",
        f"({word.upper()})",
        f"_{word}",
        f"{word}.",
        f"\u2605{word}_",
        f"\u02bc{word}\u02bc",
        f"\u02c8{word}\u02cb",
    ]
    for text in [*likes, f"\u3010{word}\u3011", f"[{word.replace('e', chr(0x435))}]"]:
        with pytest.raises(Refused, match="is reserved: please choose another"):
            parse_nick(text, LIMIT)


def test_reserved_words_are_no_more_than_whole_nicks() -> None:
    for text in ("anonymous2", "the-anonymous-1", "anonymou-s", "server-1", "[bob]", "_", "--"):
        assert parse_nick(text, LIMIT).display == text


@pytest.mark.parametrize(
    "text",
    [
        *("anonymous-", "anonymous-Zk3xyz12", "ANONYMOUS-1", "An0nym0us-x", "anonyrnous-1"),
        "\u0430nonymous-1",  # Cyrillic a
        "\uff21nonymous-1",  # wide
        "anonymous\u2010x",  # another hyphen
    ],
)
def test_the_beginning_of_names_of_unnamed_people_is_reserved(text: str) -> None:
    shown = unicodedata.normalize("NFKC", text)
    assert sentence(parse_nick, text) == f"the nick '{shown}' is reserved: please choose another"


@pytest.mark.parametrize("parse", PARSERS)
@given(text=ANY_TEXT)
def test_any_text_is_a_safe_name_or_refused(parse: Parse, text: str) -> None:
    try:
        name = parse(text, LIMIT)
    except Refused as refused:
        sentence = str(refused)
        assert clean_text(sentence, what="sentence", limit=100) == sentence
        return
    assert parse(name.display, LIMIT) == name
    assert parse_room(name.casefolded, 9 * LIMIT).casefolded == name.casefolded
    assert 1 <= len(name.display) <= LIMIT
    assert not set(name.display) & set(INVISIBLE + BIDI + CONTROLS + SPACES + ",")
    kinds = [unicodedata.category(char) for char in name.display]
    assert not {"Cc", "Cf", "Cs", "Co", "Cn", "Zs", "Zl", "Zp"} & set(kinds)
    assert kinds[0][0] != "M"
    assert "M" * (MAX_MARKS + 1) not in "".join(kind[0] for kind in kinds)


@given(ANY_TEXT)
def test_nicks_leave_out_what_the_server_writes_around_them(text: str) -> None:
    try:
        shown = parse_nick(text, LIMIT).display
    except Refused:
        return
    assert not set(shown) & set("#/@:,*!?")
    assert not shown.startswith((">", "$", "&", "+", "%", "~"))


@given(st.text(string.ascii_letters + string.digits + string.punctuation, min_size=1))
def test_the_short_way_for_ascii_ends_where_precis_does(text: str) -> None:
    name = parse_room(text.replace(",", ""), len(text)) if text.strip(",") else None
    if name:
        expected = names._apply_precis(name.display, names._ROOM)
        assert (name.display, name.casefolded) == expected


def test_the_ascii_prototypes_are_those_of_the_whole_table() -> None:
    ascii_rows = {code: look for code, look in names._prototypes().items() if code < 0x80}
    assert ascii_rows == names._ASCII_PROTOTYPES


def test_ascii_nicks_do_not_load_the_whole_table() -> None:
    names._prototypes.cache_clear()
    parse_nick("m1x", LIMIT)
    assert names._prototypes.cache_info().currsize == 0


def test_every_prototype_is_its_own() -> None:
    """So that looking alike is an equivalence: the reading of the data file rests on its order."""
    prototypes = names._prototypes()
    assert len(prototypes) > 6000
    assert not [look for look in prototypes.values() if set(map(ord, look)) & prototypes.keys()]
    assert all("\u200e" not in look for look in prototypes.values())


def test_letters_that_look_alike_share_a_prototype() -> None:
    for alike in ("o\u043e\u03bf\u0585", "l1I|\u0406\u04c0", "a\u0430", "O0\u041e\u039f"):
        for one, other in combinations(alike, 2):
            assert names._skeleton(one) == names._skeleton(other)


def test_skeletons_are_decomposed_before_and_after() -> None:
    assert names._skeleton("\u0451") == "e\u0308"
    # Two marks that look like an ogonek, and sort differently among others.
    assert names._skeleton("x\u0316\u1ab7") == names._skeleton("x\u0328\u0316")


@pytest.mark.parametrize("parse", [parse_nick, parse_room])
@pytest.mark.parametrize("count", [2, 128, 9999])
def test_a_name_that_becomes_too_long_is_refused_before_that_takes_time(
    parse, count: int, monkeypatch
) -> None:
    monkeypatch.setattr("trio_chat.protocol.names._apply_precis", None)
    with pytest.raises(Refused, match="may have at most 32 characters"):
        parse("\ufdfa" * count, 32)  # each becomes 18 characters


@given(st.text(min_size=1, max_size=8))
def test_the_short_way_to_fold_a_room_is_the_long_one(text: str) -> None:
    try:
        folded = parse_room(text, 999).casefolded
    except Refused:
        return
    assert casefold_room(text) == folded
    assert casefold_room(parse_room(text, 999).display) == folded


def test_each_character_is_folded_the_same_in_both_ways() -> None:
    for char in map(chr, range(0x30000)):
        if unicodedata.normalize("NFKC", char).casefold() == char:
            continue
        text = f"#a{char}b"
        try:
            folded = parse_room(text, 999).casefolded
        except Refused:
            continue
        assert casefold_room(text) == folded, hex(ord(char))
