"""Threads take turns: many together, or one alone."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from hf_rare.writers.ray_deaths import Turns
from tests.support.waiting import wait_until

pytestmark = pytest.mark.timeout(60)


def test_threads_work_together_and_one_alone_waits_for_all_of_them():
    turns, inside, entered = Turns(), threading.Barrier(3), []

    def work_together():
        with turns.together():
            inside.wait()  # all are in it at once
            leave.wait()
            entered.append("together")

    def work_alone():
        with turns.alone():
            entered.append("alone")

    leave = threading.Event()
    with ThreadPoolExecutor() as pool:
        working = [pool.submit(work_together) for _ in range(2)]
        inside.wait()
        working += [pool.submit(work_alone) for _ in range(2)]
        assert entered == []
        leave.set()
    assert [work.result() for work in working] == [None] * 4
    assert entered == ["together"] * 2 + ["alone"] * 2


def test_who_wants_to_be_alone_goes_before_who_comes_later():
    turns, entered = Turns(), []

    def enter(turn, name):
        with turn():
            entered.append(name)

    with ThreadPoolExecutor() as pool, turns.together():
        pool.submit(enter, turns.alone, "alone")
        wait_until(lambda: turns.wanting)
        pool.submit(enter, turns.together, "together")
    assert entered == ["alone", "together"]


def test_an_error_gives_the_turn_to_the_next():
    turns = Turns()
    for turn in (turns.alone, turns.together, turns.alone):
        with pytest.raises(ValueError, match="wrong"), turn():
            raise ValueError("wrong")
