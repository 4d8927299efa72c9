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
    restarts: tuple[float, ...] = ()
    flushes: tuple[float, ...] = ()
    stops: tuple[float, ...] = ()
    looks: tuple[float, ...] = ()
    longs: int = 0


FULL = Plan(
    seconds=60,
    workers=4,
    slots=8,
    jobs=5_200,
    work=(0.01, 0.2),
    kill_gap=(0.5, 1.0),
    kills_least=60,
    drain=30,
    lease=1.6,
    renew=0.4,
    restarts=(20, 40),
    flushes=(8, 27, 45),
    stops=(11, 48),
    looks=(15, 30, 52),
    longs=24,
)

MINI = Plan(
    seconds=5.5,
    workers=2,
    slots=6,
    jobs=300,
    work=(0.01, 0.1),
    kill_gap=(0.7, 0.9),
    kills_least=6,
    drain=10,
    lease=0.9,
    renew=0.3,
    restarts=(2.6,),
    flushes=(1.5,),
    looks=(3.5,),
    longs=2,
)
