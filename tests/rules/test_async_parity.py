"""AsyncQueue has the methods of Queue, awaited: nothing is forgotten, nothing is called differently (DESIGN 2, 3)."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any

import pytest

import seatline.producer

PAIRS = {
    "Queue": "AsyncQueue",
    "JobHandle": "AsyncJobHandle",
    "OrderHandle": "AsyncOrderHandle",
    "Pools": "AsyncPools",
    "ProgramSession": "AsyncProgramSession",
    "Schedules": "AsyncSchedules",
    "Chains": "AsyncChains",
    "Triggers": "AsyncTriggers",
    "Selection": "AsyncSelection",
    "Retention": "AsyncRetention",
}
#: Asked of nobody, so there is nothing to await.
AT_ONCE = {
    "Queue": {"chains", "handle", "order", "pools", "retention", "schedules", "triggers"},
    "Pools": {"session"},
    "ProgramSession": {"check"},
    "Selection": {"ids"},
}
#: Walks: ``async for`` takes the place of ``for``.
WALKS = {
    "Queue": {"acts", "jobs", "orders"},
    "Schedules": {"next"},
    "Pools": {"__iter__"},
    "Retention": {"__iter__"},
}
#: What awaits is called differently by the language.
DUNDERS = {"__enter__": "__aenter__", "__exit__": "__aexit__", "__iter__": "__aiter__"}
#: A listener belongs to a thread; an event loop has one bell for all.
OF_THREADS = {"Queue": {"listener"}}
#: An event loop may be given what it must itself wait for.
WIDER = {("enqueue_many", "jobs"): "Iterable[Job] | AsyncIterable[Job]"}


def members(cls: type) -> dict[str, Any]:
    own = {**DUNDERS, "__getitem__": "__getitem__", "__init__": "__init__"}
    both = {*own, *own.values()}
    routines = {name: value for name, value in vars(cls).items() if inspect.isroutine(value) or type(value) is property}
    slots: set[str] = set(getattr(cls, "__slots__", ()))
    return {name: value for name, value in routines.items() if (name[0] != "_" or name in both) and name not in slots}


def code(member: Any) -> Callable[..., Any]:
    function: Any = member.fget if isinstance(member, property) else member
    called: Callable[..., Any] = function
    return called


def plain(annotation: object) -> str:
    """Return an annotation without what makes it asynchronous."""
    return re.sub(r"\bAsync(?=[A-Z])", "", str(annotation))


@pytest.mark.parametrize("name", [name for name in PAIRS if hasattr(seatline.producer, name)])
class TestParity:
    def test_the_names_are_the_same(self, name: str) -> None:
        own = {DUNDERS.get(each, each) for each in members(getattr(seatline.producer, name))}
        other = set(members(getattr(seatline.producer, PAIRS[name])))
        assert other == own - OF_THREADS.get(name, set())

    def test_so_are_the_arguments_and_what_comes_of_them(self, name: str) -> None:
        sync, other = getattr(seatline.producer, name), members(getattr(seatline.producer, PAIRS[name]))
        for method, member in members(sync).items():
            if method in OF_THREADS.get(name, set()) or (method == "__init__" and name != "Queue"):
                continue
            twin = other[DUNDERS.get(method, method)]
            assert isinstance(member, property) == isinstance(twin, property), method
            mine, its = inspect.signature(code(member)), inspect.signature(code(twin))
            assert list(mine.parameters) == list(its.parameters), method
            for parameter, said in mine.parameters.items():
                also = its.parameters[parameter]
                assert (said.kind, said.default) == (also.kind, also.default), (method, parameter)
                wanted = WIDER.get((method, parameter), str(said.annotation))
                assert plain(also.annotation) == plain(wanted), (method, parameter)
            assert plain(its.return_annotation) == plain(mine.return_annotation), method

    def test_whatever_asks_the_server_is_awaited(self, name: str) -> None:
        sync, other = getattr(seatline.producer, name), members(getattr(seatline.producer, PAIRS[name]))
        for method in members(sync):
            if method == "__init__" or method in OF_THREADS.get(name, set()):
                continue
            function = code(other[DUNDERS.get(method, method)])
            if method in WALKS.get(name, set()):
                assert str(inspect.signature(function).return_annotation).startswith("AsyncIterator["), method
            elif method in AT_ONCE.get(name, set()):
                assert not inspect.iscoroutinefunction(function), method
            else:
                assert inspect.iscoroutinefunction(function), method

    def test_what_is_documented_there_is_documented_here(self, name: str) -> None:
        """A reader of one needs not open the other: the first sentence says what it does, and errors are named."""
        for method, member in members(getattr(seatline.producer, PAIRS[name])).items():
            if not method.startswith("__"):
                assert inspect.getdoc(member), method


def test_no_pair_is_left_out() -> None:
    """Whatever a queue hands out has its twin."""
    handed = {
        word
        for name in PAIRS
        if hasattr(seatline.producer, name)
        for member in members(getattr(seatline.producer, name)).values()
        for word in re.findall(r"\w+", str(inspect.signature(code(member)).return_annotation))
    }
    assert {word for word in handed if f"Async{word}" in seatline.producer.__all__} <= set(PAIRS)
    assert {name for name in seatline.producer.__all__ if name.startswith("Async")} <= set(PAIRS.values())
