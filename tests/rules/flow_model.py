"""An order on its way through a chain, as the rules say it (O4, O8, O11, O14, O15); knows nothing of scripts or keys.

Where it is: step -> ``waits`` (a job that nobody runs yet), ``runs``, ``held`` (in front of the step) or ``failed``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

__all__ = ["ModelOrder", "ModelStep", "Refused"]


class Refused(Exception):
    """What somebody asks for cannot be done now."""


@dataclass(frozen=True)
class ModelStep:
    """``after``: the steps that it waits for; of a step aside ``then``, where it leads."""

    name: str
    after: tuple[str, ...] = ()
    aside: bool = False
    then: str | None = None
    on_error: str = "fail"


@dataclass
class ModelOrder:
    """``line``: steps whose jobs wait, in the order in which they were made; ``stops``, ``skipped``: the chain's."""

    steps: Mapping[str, ModelStep]
    stops: set[str] = field(default_factory=set[str])
    skipped: set[str] = field(default_factory=set[str])
    state: str = "running"
    at: dict[str, str] = field(default_factory=dict[str, str])
    ended: list[str] = field(default_factory=list[str])
    line: list[str] = field(default_factory=list[str])
    skips: set[str] = field(default_factory=set[str])
    errors: dict[str, str] = field(default_factory=dict[str, str])

    def start(self) -> None:
        self.at = {name: "held" for name, step in self.steps.items() if not step.aside and not step.after}
        self._go()

    # -- workers

    def take(self, most: int) -> list[str]:
        """A worker looks: the steps that it gets. What came of passing others, it sees with its next look."""
        for _ in range(2):
            got: list[str] = []
            for name in list(self.line):
                if len(got) == most:
                    break
                if name not in self.line:
                    continue
                self.line.remove(name)
                if name in self.skipped or name in self.stops:
                    self.at[name] = "held"
                    self._arrive(name)
                else:
                    self.at[name] = "runs"
                    got.append(name)
            if got:
                return got
        return []

    def end(self, name: str, goto: str | None = None) -> None:
        """A step that ran has ended well."""
        self._follow(name, goto)

    def fail(self, name: str) -> None:
        """A step that ran has failed."""
        so = self.steps[name].on_error
        if so == "fail":
            self._fail(name)
        elif so == "suspend":
            self.at[name] = "held"
            self._park()
            if self.state == "running":
                self.state = "suspended"
        else:
            self.errors.pop(name, None)
            del self.at[name]
            if self.steps[so].aside:
                self.errors[so] = name
            if not self._jump(so):
                self.errors.pop(so, None)
                self._fail(name)

    # -- people

    def suspend(self) -> None:
        if self.state != "running":
            raise Refused
        self._park()
        self.state = "suspended"

    def resume(self) -> None:
        if self.state not in {"suspended", "failed"}:
            raise Refused
        self._go_on()

    def skip(self, name: str) -> None:
        word = self.at.get(name)
        if self.state == "succeeded" or word == "runs" or name in self.ended:
            raise Refused
        self.skips.add(name)
        if word == "waits":
            self.line.remove(name)
        if word:
            self._arrive(name)
        if word == "failed" and "failed" not in self.at.values():
            self._go_on()

    def go_to(self, name: str) -> None:
        self._nothing_runs()
        self._park()
        related = {name, *self._closure(name, self._next), *self._closure(name, lambda each: self.steps[each].after)}
        for place in list(self.at):
            if self.steps[name].aside or self.steps[place].aside or place in related:
                del self.at[place]
                self.errors.pop(place, None)
        self.errors.pop(name, None)
        before, self.state = self.state, "halted"
        self._jump(name)
        self.state = before
        if before != "suspended":
            self._go_on()
        else:
            self._over()

    def reset(self) -> None:
        self._nothing_runs()
        self._park()
        self.at = {name: "held" for name, step in self.steps.items() if not step.aside and not step.after}
        self.ended, self.skips, self.errors = [], set(), {}
        if self.state != "suspended":
            self._go_on()

    def stop_step(self, name: str) -> None:
        self.stops.add(name)

    def start_step(self, name: str) -> None:
        self.stops.discard(name)
        if name not in self.skipped:
            self._open(name)

    def skip_step(self, name: str) -> None:
        self.skipped.add(name)
        self._open(name)

    def unskip_step(self, name: str) -> None:
        self.skipped.discard(name)

    # -- the way

    def _open(self, name: str) -> None:
        """A gate was opened, or the step is passed from now on."""
        word = self.at.get(name)
        if self.state == "running" and (word == "held" or (word == "waits" and name in self.skipped)):
            if word == "waits":
                self.line.remove(name)
            self._arrive(name)
            self._over()

    def _go_on(self) -> None:
        self.at = {name: "held" if word == "failed" else word for name, word in self.at.items()}
        self.state = "running"
        self._go()

    def _go(self) -> None:
        for name in list(self.at):
            if self.at.get(name) == "held":
                self._arrive(name)
        self._over()

    def _arrive(self, name: str) -> None:
        self.at[name] = "held"
        if name in self.skips or name in self.skipped:
            self.skips.discard(name)
            self._follow(name)
        elif self.state == "running" and name not in self.stops:
            self.at[name] = "waits"
            self.line.append(name)

    def _follow(self, name: str, goto: str | None = None) -> None:
        step = self.steps[name]
        del self.at[name]
        self._put_ended(name)
        target = goto or (step.then if step.aside else None)
        if target is None and name in self.errors:
            self._fail(self.errors.pop(name))
        elif target is None:
            ready = [
                each
                for each in self._next(name)
                if each not in self.at and each not in self.ended and set(self.steps[each].after) <= set(self.ended)
            ]
            self.at |= dict.fromkeys(ready, "held")
            for each in ready:
                if self.at.get(each) == "held":
                    self._arrive(each)
            self._over()
        elif self._jump(target):
            self.errors.pop(name, None)
            self._over()
        else:
            self.ended.remove(name)
            self._fail(name)

    def _jump(self, target: str) -> bool:
        if target not in self.steps:
            return False
        again = [target, *self._closure(target, self._next)]
        if any(self.at.get(name) == "runs" for name in again):
            return False
        self.line = [name for name in self.line if name not in again]
        had_failed = any(self.at.get(name) == "failed" for name in again)
        for name in again:
            self.at.pop(name, None)
            if name in self.ended:
                self.ended.remove(name)
        if had_failed and self.state == "failed":
            self.at[target] = "failed"  # it is to be resumed, and there now
        else:
            self._arrive(target)
        return True

    def _fail(self, name: str) -> None:
        self.at[name] = "failed"
        self._park()
        if self.state in {"running", "suspended"}:
            self.state = "failed"

    def _park(self) -> None:
        for name in self.line:
            self.at[name] = "held"
        self.line = []

    def _over(self) -> None:
        if not self.at and self.state in {"running", "suspended"}:
            self.state = "succeeded"

    def _put_ended(self, name: str) -> None:
        if name in self.ended:
            self.ended.remove(name)
        self.ended.append(name)

    def _nothing_runs(self) -> None:
        if "runs" in self.at.values():
            raise Refused

    def _next(self, name: str) -> Sequence[str]:
        return [each.name for each in self.steps.values() if name in each.after]

    def _closure(self, name: str, near: Callable[[str], Iterable[str]]) -> list[str]:
        found: list[str] = []
        todo = [name]
        while todo:
            for each in near(todo.pop(0)):
                if each not in found:
                    found.append(each)
                    todo.append(each)
        return found
