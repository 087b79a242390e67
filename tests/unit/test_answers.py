"""What the console shows: short, in words first, and never cut without saying so."""

from typing import Any

from lambdas.core.answers import for_console, in_short


def test_long_lists_and_mappings_are_cut_and_say_by_how_much_and_where_the_rest_is():
    answer: dict[str, Any] = {
        "summary": "s",
        "armed": [f"role/{n}" for n in range(60)],
        "failed": {f"s{n}": "why" for n in range(21)},
    }
    shown = for_console(answer, "ask for all")
    assert list(shown) == ["summary", "armed", "failed"]
    assert shown["armed"][:20] == answer["armed"][:20]
    assert shown["armed"][20:] == ["... and 40 more: ask for all"]
    assert len(shown["failed"]) == 21
    assert shown["failed"]["..."] == "and 1 more: ask for all"


def test_what_is_short_is_left_as_it_is():
    answer = {"summary": "s", "list": list(range(20)), "map": {"a": [1], "b": {"c": None}}, "number": 3, "no": None}
    assert for_console(answer, "") == answer


def test_lists_within_lists_are_cut_too_and_the_answers_own_keys_never():
    answer = {"last_stop": {"done": ["x"] * 30}, **{f"key{n}": n for n in range(40)}}
    shown = for_console(answer, "rest")
    assert len(shown) == 41
    assert len(shown["last_stop"]["done"]) == 21


def test_an_error_tells_the_first_few_reasons_in_a_line():
    assert in_short({}) == ""
    assert in_short({"attach": "no"}) == "attach: no"
    long = in_short({f"step {n}": "x" * 1000 for n in range(9)})
    assert long.endswith("; and 6 more, which the log has")
    assert len(long) < 1000
