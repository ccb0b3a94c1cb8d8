"""The log of a window of the terminal client: its bounds, and a reader who scrolls."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from trio_chat.terminal import log as log_module
from trio_chat.terminal.log import Log, LogLine, visible_rows

NOW = 1_769_860_800.0  # a noon in January
DAY = 86_400.0


def line(text: str, position: int = 0, *, at: float = NOW) -> LogLine:
    return LogLine(at, [("", text)], position)


def filled(count: int) -> Log:
    log = Log()
    for number in range(count):
        log.append(line(str(number), number + 1))
    return log


def shown(log: Log, columns: int = 20, height: int = 5) -> list[str]:
    rows = visible_rows(log.view(), columns, height)
    return ["".join(text for _, text in row) for row in rows]


def test_few_lines_stand_at_the_bottom_below_their_date():
    assert shown(filled(2), 40) == ["", "", "── Saturday 2026-01-31", "0", "1"]


def test_each_day_has_its_date_above_its_first_line():
    log = Log()
    for number, at in enumerate([NOW - DAY, NOW, NOW]):
        log.append(line(str(number), at=at))
    assert shown(log, 40) == ["── Friday 2026-01-30", "0", "── Saturday 2026-01-31", "1", "2"]
    log.prepend([line("before", at=NOW - DAY)])
    assert shown(log, 40, 6)[:3] == ["── Friday 2026-01-30", "before", "0"]


def test_a_reader_scrolls_up_and_down():
    log = filled(20)
    assert log.scroll_up(4, 20, 5) == 0
    assert shown(log) == ["11", "12", "13", "14", "15"]
    assert log.newer == 4
    log.scroll_down(2, 20)
    assert shown(log) == ["13", "14", "15", "16", "17"]
    log.scroll_down(9, 20)
    assert shown(log)[-1] == "19"
    assert log.at_end


def test_the_top_is_no_further_than_the_first_row():
    log = filled(20)
    assert log.scroll_up(30, 40, 5) == 14  # one row is the date
    assert shown(log, 40) == ["── Saturday 2026-01-31", "0", "1", "2", "3"]
    log.prepend([line("older", at=NOW - DAY)])
    assert log.scroll_up(14, 40, 5) == 12
    assert shown(log, 40)[:3] == ["── Friday 2026-01-30", "older", "── Saturday 2026-01-31"]


def test_a_log_that_fits_does_not_scroll():
    log = filled(2)
    assert log.scroll_up(4, 20, 5) == 4
    assert log.at_end


def test_new_lines_do_not_move_the_view_and_are_counted():
    log = filled(20)
    log.scroll_up(4, 20, 5)
    before = shown(log)
    for number in range(log_module.MOST_NEWER + 7):
        log.append(line(f"new {number}"))
        assert shown(log) == before
    assert log.newer == 4 + log_module.MOST_NEWER + 7
    log.scroll_down(4, 20)
    log.scroll_down(3, 60)
    assert [row for row in shown(log, 60) if "not kept" in row] == [
        "12:00 \xb7 7 lines were not kept here"
    ]
    log.scroll_to_end()
    assert shown(log)[-1] == f"new {log_module.MOST_NEWER + 6}"
    assert log.newer == 0


def test_a_line_that_is_taller_than_the_screen_can_be_read():
    log = filled(1)
    log.append(line(" ".join(f"word{number:02}" for number in range(30))))
    seen = [shown(log, 12)]
    while log.scroll_up(4, 12, 5) == 0:
        seen.append(shown(log, 12))
    seen.append(shown(log, 12))
    words = {word for rows in seen for row in rows for word in row.split()}
    assert {f"word{number:02}" for number in range(30)} <= words
    # In a wider window the same line has fewer rows.
    assert shown(log, 200)[-1].startswith("word00")
    log.scroll_down(1, 200)
    assert log.at_end


def test_a_cleared_log_is_empty_and_at_its_end():
    log = filled(20)
    log.scroll_up(4, 20, 5)
    log.append(line("new"))
    log.clear()
    assert shown(log) == [""] * 5
    assert (log.at_end, log.newer, log.oldest) == (True, 0, 0)


def test_older_lines_are_let_go_at_the_end():
    log = filled(20)
    log.scroll_up(4, 20, 5)
    log.prepend([line(str(-number), 1) for number in range(log_module.MOST_BACK)])
    assert log.is_full
    log.scroll_to_end()
    assert not log.is_full
    assert len(log.view().lines) == log_module.MOST_ROWS
    assert shown(log)[-1] == "19"


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(1, 30)),
        st.tuples(st.just("prepend"), st.integers(1, 30)),
        st.tuples(st.just("up"), st.integers(1, 30)),
        st.tuples(st.just("down"), st.integers(1, 30)),
        st.tuples(st.just("resize"), st.integers(25, 60)),
    ),
    max_size=40,
)


@settings(max_examples=150)
@given(STEPS)
def test_any_reader_sees_a_full_view_that_only_they_move(steps: list[tuple[str, int]]):
    log, columns, height = filled(3), 30, 5
    for what, count in steps:
        before = shown(log, columns, height)
        scrolled = not log.at_end
        match what:
            case "append":
                log.append(line("new words " * count))
            case "prepend":
                log.prepend([line("old words " * count, 1)])
            case "up":
                lacking = log.scroll_up(count, columns, height)
                assert 0 <= lacking <= count
            case "down":
                log.scroll_down(count, columns)
                if log.at_end:
                    assert log.newer == 0
            case "resize":
                columns = count
        after = shown(log, columns, height)
        assert len(after) == height
        if what == "append" and scrolled:
            assert after == before
        if what == "prepend" and scrolled:
            # The first line loses its date to older lines of the same day.
            kept = [row for row in before if row and "─" not in row]
            assert after[len(after) - len(kept) :] == kept
