"""What forms and command lines are told of the fields of a spec."""

from typing import Literal

from pydantic import Field

from dexvla.spec import Group, TrainSpec
from dexvla.spec.base import Spec
from dexvla.spec.fields import FormField, extra_of, form_fields, plain_type


class Bounds(Spec):
    part: float = Field(0.5, gt=0, lt=1)
    closed: float = Field(0.5, ge=0, le=1)
    whole: int = Field(3, gt=0, lt=10)
    word: Literal["auto", "cpu"] = "auto"


def field(name: str) -> FormField:
    return next(each for each in form_fields(Bounds) if each.name == name)


def test_a_bound_that_the_value_may_not_have_is_told_apart() -> None:
    part, closed, whole = field("part"), field("closed"), field("whole")
    assert (part.low, part.high, part.above, part.below) == (None, None, 0, 1)
    assert (closed.low, closed.high, closed.above, closed.below) == (0, 1, None, None)
    assert (whole.low, whole.high, whole.above, whole.below) == (1, 9, None, None), "whole numbers have a first one"


def test_words_to_choose_from_are_choices() -> None:
    assert [choice.value for choice in field("word").choices] == ["auto", "cpu"]
    assert (field("word").kind, field("word").default) == ("choice", "auto")


def test_the_places_of_what_a_run_s_form_shows_first_are_all_different() -> None:
    places = []
    for info in TrainSpec.model_fields.values():
        inside = plain_type(info)[0]
        inner = inside.model_fields.values() if isinstance(inside, type) and issubclass(inside, Spec) else ()
        for each in (info, *inner):
            extra = extra_of(each)
            assert ("place" in extra) == (extra.get("group") == Group.BASICS)
            places += [extra["place"]] if "place" in extra else []
    assert sorted(places) == list(range(1, len(places) + 1))
