"""How many requests are under way: the number finds its level, and connections are used again."""

import asyncio
import contextlib

import pytest

from hf_rare.generation.endpoints.faults import Fault, Kind
from hf_rare.generation.endpoints.level import Level
from tests.support.asking import TEXT, distiller, impatient_fixture, make_rows  # noqa: F401
from tests.support.chat_server import Answer, complete, serving, stream


def test_the_number_of_requests_finds_its_level():
    most = 8
    seen = []

    def script(request):
        seen.append(server.under_way)
        if server.under_way > most:
            return Answer("", status=429, headers={"retry-after": "0.02"})
        return Answer(complete(TEXT), delay=0.02)

    with serving(script) as server:
        distilled = distiller(server, max_concurrency=40).apply(make_rows(400))
    assert set(distilled["reasoning_status"]) == {"ok"}
    later = seen[len(seen) // 2 :]
    assert sum(later) / len(later) > most / 3
    assert max(later) <= most + 12


async def fail(places: Level, fault: Fault, together: int = 1) -> None:
    """Let some requests fail that were under way together."""
    async with contextlib.AsyncExitStack() as stack:
        began = [await stack.enter_async_context(places.place()) for _ in range(min(together, places.places))]
        for at in began:
            places.fail(fault, at, object())


def test_a_level_falls_once_for_a_burst_and_rises_one_by_one():
    overload = Fault(Kind.OVERLOAD, "HTTP 429", wait=0.0)

    async def check():
        places = Level(20)
        await fail(places, overload, together=9)
        assert places.places == 15
        await fail(places, overload)
        assert places.places == 11
        for _ in range(25):
            places.succeed()
        assert places.places == 12
        for _ in range(25 * 40):
            places.succeed()
        assert places.places == 22  # a tenth above where it began
        for _ in range(50):
            await fail(places, overload)
            places.succeed()
        assert (places.places, places.is_down) == (1, False)
        for _ in range(6):
            assert not places.is_down
            await fail(places, Fault(Kind.BROKEN, "HTTP 500"))
        assert places.is_down

    asyncio.run(check())


def test_no_more_requests_are_under_way_than_there_are_places():
    places_taken = []

    async def hold(places):
        async with places.place():
            places_taken.append(1)
            await asyncio.sleep(0)
            under_way = len(places_taken)
            places_taken.pop()
            return under_way

    async def check():
        places = Level(3)
        return await asyncio.gather(*(hold(places) for _ in range(20)))

    assert max(asyncio.run(check())) == 3


@pytest.mark.parametrize(
    "answer", [complete(TEXT), stream({"reasoning": "Because."}, "It is so.")], ids=["whole", "streamed"]
)
def test_connections_are_used_again(answer):
    with serving(answer) as server:
        assert set(distiller(server, max_concurrency=3).apply(make_rows(60))["reasoning_status"]) == {"ok"}
    assert server.connections <= 4


def test_a_stream_that_does_not_end_behind_its_end_is_read():
    def script(request):
        whole = stream("It is so.")
        head = {**whole.headers, "content-length": str(len(whole.body) + 1)}
        return Answer(whole.body, headers=head)

    with serving(script) as server:
        assert set(distiller(server, max_concurrency=3).apply(make_rows(3))["reasoning_status"]) == {"ok"}
    assert len(server.requests) == 3


def test_who_gives_up_waiting_for_a_place_takes_none():
    async def check():
        places = Level(1)

        async def hold():
            async with places.place():
                await asyncio.sleep(0)

        async with places.place():
            waiting = [asyncio.create_task(hold()) for _ in range(4)]
            await asyncio.sleep(0)
            waiting[0].cancel()
            await asyncio.sleep(0)
        waiting[1].cancel()  # whose turn it is already
        await asyncio.gather(*waiting, return_exceptions=True)
        assert [task.cancelled() for task in waiting] == [True, True, False, False]
        async with places.place():
            pass

    asyncio.run(check())
