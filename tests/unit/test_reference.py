"""The configuration reference is generated, complete and current."""

from pathlib import Path

import pytest

from stacks.configuration import File, Table
from stacks.reference import _rules, _table, markdown

_PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"


def _tables(table: type[Table]) -> list[type[Table]]:
    inner = [found for each in table.model_fields.values() if (found := _table(each.annotation))]
    return [table, *(deeper for each in inner for deeper in _tables(each))]


def test_the_page_is_what_the_types_say():
    assert _PAGE.read_text(encoding="utf-8") == markdown(), "run make docs"


@pytest.mark.parametrize("table", _tables(File), ids=lambda each: each.__name__)
def test_every_key_says_what_it_means_and_what_it_must_be(table):
    for name, field in table.model_fields.items():
        if _table(field.annotation) is None:
            assert field.description, f"{table.__name__}.{name}"
            assert list(_rules(field.annotation, field.metadata))
            assert f"| `{name}` |" in markdown()


def test_a_type_without_words_is_an_error_rather_than_a_hole():
    with pytest.raises(TypeError, match="no words for"):
        list(_rules(bytes))
