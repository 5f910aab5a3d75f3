"""capture/heavy.py: the busiest of many, in bounded memory."""

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vedette.capture.heavy import Heavy


def key(number: int) -> bytes:
    return number.to_bytes(4, "big")


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 1500)), max_size=300))
def test_a_count_is_never_above_the_truth_nor_far_below(sent: list[tuple[int, int]]) -> None:
    """By at most the total over the number of counters, as the paper promises."""
    heavy, truth = Heavy(8), Counter[bytes]()
    for number, size in sent:
        heavy.add(key(number), size)
        truth[key(number)] += size
    told = dict(heavy.busiest(8))

    assert heavy.total == truth.total()
    assert all(size <= truth[name] for name, size in told.items())
    assert all(truth[name] - told.get(name, 0) <= heavy.total / 9 for name in truth)


@given(st.lists(st.integers(0, 7), max_size=200))
def test_few_keys_are_counted_exactly(sent: list[int]) -> None:
    """Most hosts have fewer peers than there are counters."""
    heavy = Heavy(8)
    for number in sent:
        heavy.add(key(number), 1)

    assert dict(heavy.busiest(8)) == Counter(map(key, sent))


@pytest.mark.parametrize("exponent", [1.0, 1.2])
def test_the_busiest_twenty_of_fifty_thousand_are_found(exponent: float) -> None:
    """Peers of a busy server follow Zipf's distribution."""
    chance = random.Random(1)  # noqa: S311 - a test that is the same each time
    weights = [1 / rank**exponent for rank in range(1, 50_001)]
    heavy, truth = Heavy(), Counter[bytes]()
    for number in chance.choices(range(50_000), weights, k=300_000):
        heavy.add(key(number), 1)
        truth[key(number)] += 1
    found = {name for name, _ in heavy.busiest(20)}

    assert len(found & {name for name, _ in truth.most_common(20)}) >= 19


def test_a_million_keys_take_no_more_room_than_two_thousand() -> None:
    """A flood of forged sources is what this is for."""
    heavy = Heavy()
    for number in range(1_000_000):
        heavy.add(key(number), 60)

    assert len(heavy.busiest(1_000_000)) <= 1024
    assert heavy.total == 60_000_000
