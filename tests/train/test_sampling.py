"""The order of samples is a function of seed and place: fair, without repeats, the same however it is split."""

from itertools import islice

import numpy as np

from dexvla.train.sampling import MicroBatches, SampleOrder


def take(order: SampleOrder, count: int) -> list[int]:
    return [order[place] for place in range(count)]


def test_every_sample_comes_once_an_epoch() -> None:
    order = SampleOrder(sizes=[37], weights=[1.0], seed=3)
    first, second = take(order, 74)[:37], take(order, 74)[37:]
    assert sorted(first) == sorted(second) == list(range(37))
    assert first != second
    assert first == take(SampleOrder(sizes=[37], weights=[1.0], seed=3), 37)
    assert first != take(SampleOrder(sizes=[37], weights=[1.0], seed=4), 37)


def test_weights_decide_how_often_a_source_is_seen() -> None:
    order = SampleOrder(sizes=[100, 100], weights=[3.0, 1.0], seed=0)
    drawn = np.asarray(take(order, 12_000))
    assert 0.73 < (drawn < 100).mean() < 0.77
    counts = np.bincount(drawn, minlength=200)
    assert counts[:100].max() - counts[:100].min() <= 1, "a source is walked without repetition"
    assert counts[100:].max() - counts[100:].min() <= 1


def test_a_late_place_needs_no_walk_through_the_earlier_ones() -> None:
    whole = SampleOrder(sizes=[50, 70], weights=[1.0, 2.0], seed=1)
    walked = take(whole, 10_000)
    fresh = SampleOrder(sizes=[50, 70], weights=[1.0, 2.0], seed=1)
    assert fresh[9_999] == walked[9_999]


def test_two_processes_and_accumulation_see_what_one_sees() -> None:
    def batches(process: int, processes: int, size: int, accumulation: int, first: int = 0) -> list[list[int]]:
        order = SampleOrder(sizes=[41], weights=[1.0], seed=5)
        loader = MicroBatches(
            order,
            batch_size=size,
            accumulation=accumulation,
            process=process,
            processes=processes,
            first_step=first,
        )
        return [[place for place, _ in batch] for batch in islice(iter(loader), 6)]

    whole = batches(0, 1, 8, 1)
    split = [left + right for left, right in zip(batches(0, 2, 4, 1), batches(1, 2, 4, 1), strict=True)]
    assert split == whole
    accumulated = batches(0, 1, 4, 2)
    assert [accumulated[0] + accumulated[1], accumulated[2] + accumulated[3]] == whole[:2]
    assert batches(0, 1, 8, 1, first=2)[0] == whole[2]
