"""How hard a soak is: all figures in one place, seconds unless they say otherwise."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["CAPACITY", "FULL", "MINI", "Plan"]

#: Seats of the two pools.
CAPACITY = {"a": 8, "b": 8}


@dataclass(frozen=True, slots=True)
class Plan:
    """What happens during one soak; moments count from its beginning."""

    seconds: float
    workers: int
    slots: int
    jobs: int
    work: tuple[float, float]
    kill_gap: tuple[float, float]
    kills_least: int
    drain: float
    lease: float
    renew: float
    restarts: tuple[tuple[float, float], ...] = ()  # when, and how long it stays away
    pauses: tuple[tuple[float, float], ...] = ()  # the same of a server that is stopped and continued
    cuts: tuple[float, ...] = ()
    flushes: tuple[float, ...] = ()
    stops: tuple[float, ...] = ()
    looks: tuple[float, ...] = ()
    longs: int = 0


FULL = Plan(
    seconds=60,
    workers=4,
    slots=8,
    jobs=5_200,
    work=(0.01, 0.12),
    kill_gap=(0.5, 1.0),
    kills_least=60,
    drain=35,
    lease=1.6,
    renew=0.4,
    restarts=((20, 0), (40, 2.4)),
    pauses=((33, 2.5),),
    cuts=(5, 13, 16, 24, 29, 46, 55),
    flushes=(8, 27, 45),
    stops=(11, 48),
    looks=(15, 30, 52),
    longs=24,
)

MINI = Plan(
    seconds=4.8,
    workers=2,
    slots=6,
    jobs=300,
    work=(0.01, 0.1),
    kill_gap=(0.6, 0.8),
    kills_least=6,
    drain=10,
    lease=0.9,
    renew=0.3,
    restarts=((2.6, 0),),
    cuts=(1.0, 3.9),
    flushes=(1.5,),
    stops=(4.0,),
    looks=(3.5,),
    longs=2,
)
