"""What a wrong field is answered with."""

import re

import pytest
from pydantic import ValidationError

from dexvla.spec import PolicySpec, TrainSpec, first_error

RUN = {"stage": 2, "data": [{"path": "data"}], "output_dir": "out", "init_from": "base"}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"chunk": 20}, "chunk: there is no such field; found '20'; did you mean chunk_size?"),
        ({"image": 1}, "image: there is no such field; found '1'; did you mean image_encoder or image_height or"),
        ({"optim": {"lerning_rate": 1}}, "optim.lerning_rate: .* did you mean optim.learning_rate or "),
        ({"warmup_ratio": 0.1}, "warmup_ratio: .* did you mean optim.warmup_ratio?"),
        ({"zzz": 1}, "zzz: there is no such field; found '1'$"),
    ],
)
def test_an_unknown_field_is_answered_with_the_nearest(given: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError) as caught:
        TrainSpec.model_validate(RUN | given)
    assert re.match(said, first_error(caught.value)), first_error(caught.value)


def test_what_is_missing_is_counted() -> None:
    with pytest.raises(ValidationError) as caught:
        PolicySpec.model_validate({})
    assert first_error(caught.value) == "expert: Field required (and 2 more)"
