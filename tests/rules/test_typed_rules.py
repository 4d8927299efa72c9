"""Typed jobs: a JobType is checked where it is declared, where a job is enqueued, and where it runs (R4, C14, O5).

What is stored are plain params, so either side may be typed without the other.
"""

from __future__ import annotations

import datetime as dt
import enum
import inspect
import json
import math
import re
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import InitVar, dataclass, field
from decimal import Decimal
from pathlib import Path, PurePath
from typing import Annotated, Any, Literal, NewType, NotRequired, Required, TypedDict
from uuid import UUID

import pytest
from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_serializer

from seatline.producer import Chain, Job, JobType, Queue, Step
from seatline.shared.codec import pack_params, unpack_value
from seatline.shared.errors import InvalidInput, JobFailed, UnknownHandlers
from seatline.worker import Context, Handlers, Retry, Worker

ROOT = Path(__file__).parents[2]
UTC_NOON = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)

Burst = Callable[..., Worker]
kinds = pytest.mark.parametrize("kind", ["thread", "async", "process"])


class Paper(enum.Enum):
    SMALL = "A4"
    LARGE = "A0"


@dataclass
class Site:
    name: str
    parent: Site | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Publish:
    """A dataclass with a field of every kind."""

    file: str
    sheets: int = 1
    scale: float = 1
    draft: bool = False
    stamp: bytes = b""
    paper: Paper = Paper.SMALL
    mode: Literal["fast", "good", 3] = "fast"
    due: dt.datetime | None = None
    day: dt.date = dt.date(2026, 1, 2)
    hour: dt.time = dt.time(5, 30)
    limit: dt.timedelta = dt.timedelta(seconds=90)
    price: Decimal = Decimal("1.50")
    key: UUID = field(default_factory=lambda: UUID(int=7))
    folder: Path = Path("out")
    layers: list[str] = field(default_factory=list)
    colours: set[int] = field(default_factory=set)
    size: tuple[int, float] = (1, 2.5)
    points: tuple[int, ...] = ()
    names: Sequence[str] = ()
    marks: frozenset[str] = frozenset()
    texts: dict[str, int] = field(default_factory=dict)
    more: Mapping[str, Any] = field(default_factory=dict)
    site: Site | None = None
    sites: list[Site] = field(default_factory=list)
    either: int | str | dt.date = 0
    anything: Any = None
    number: int = field(init=False, default=9)


FULL = Publish(
    file="a.dwg", sheets=3, scale=0.5, draft=True, stamp=b"\0\xff", paper=Paper.LARGE, mode=3, due=UTC_NOON,
    folder=Path("/var/out"), layers=["0", "walls"], colours={1, 2}, size=(4, 1), points=(1, 2, 3), names=("a", "b"),
    marks=frozenset({"x"}), texts={"n": 1}, more={"deep": [1, {"a": None}]}, site=Site("Oslo", Site("Norway")),
    sites=[Site("a"), Site("b", Site("c"))], either="2026-03-01", anything={"k": [UTC_NOON]},
)  # fmt: skip


class Mail(TypedDict):
    text: str
    to: NotRequired[list[str]]


class Render(BaseModel):
    scene: str
    frames: int = Field(default=1, ge=1)
    paper: Paper = Paper.SMALL
    due: dt.datetime | None = None
    price: Decimal = Decimal("1.50")
    tags: set[str] = set()


publish = JobType("drawing.publish", Publish)
mail = JobType("mail.send", Mail)
render = JobType("scene.render", Render)
GIVEN: list[tuple[JobType[Any], Any]] = [
    (publish, FULL),
    (publish, Publish(file="b.dwg")),
    (mail, Mail(text="hello")),
    (mail, Mail(text="hello", to=["a", "b"])),
    (render, Render(scene="s", frames=3, paper=Paper.LARGE, due=UTC_NOON, tags={"x"})),
]
given = pytest.mark.parametrize(("job_type", "params"), GIVEN, ids=["full", "small", "mail", "mails", "model"])


def refusal(act: Callable[[], object]) -> str:
    with pytest.raises(InvalidInput) as error:
        act()
    return str(error.value)


class TestThereAndBack:
    @given
    def test_r4_what_comes_back_is_what_was_given(self, job_type: JobType[Any], params: Any) -> None:
        """R4: over the wire, for every kind of field."""
        stored = job_type.plain(params)
        assert type(stored) is dict
        back = job_type.read(unpack_value(pack_params(stored)))
        assert type(back) is type(params)
        assert back == params

    def test_stored_are_plain_params(self) -> None:
        """R6: names and values, no class and no name of one."""
        assert JobType("a", Site).plain(Site("Oslo", Site("Norway"))) == {
            "name": "Oslo",
            "parent": {"name": "Norway", "parent": None},
        }
        stored = publish.plain(FULL)
        assert (stored["paper"], stored["mode"], stored["due"], stored["size"]) == ("A0", 3, UTC_NOON, (4, 1))
        assert "number" not in stored
        told = render.plain(Render(scene="s", due=UTC_NOON))
        assert (told["paper"], told["due"], told["price"]) == ("A4", "2026-03-01T12:00:00Z", "1.50")

    def test_other_languages_have_fewer_kinds(self) -> None:
        """R4: text stands for moments, Decimal, UUID and paths, a list for sets and tuples."""
        wrote = {
            "file": "a.dwg", "due": "2026-03-01T12:00:00Z", "day": "2026-03-01", "hour": "12:00", "price": "2.5",
            "key": str(UUID(int=9)), "folder": "/tmp", "colours": [1, 2], "size": [1, 2], "points": [1], "marks": ["x"],
            "paper": "A0", "scale": 2, "names": ["a"],
        }  # fmt: skip
        read = publish.read(wrote)
        assert (read.due, read.day, read.hour) == (UTC_NOON, dt.date(2026, 3, 1), dt.time(12))
        assert (read.price, read.key, read.folder) == (Decimal("2.5"), UUID(int=9), Path("/tmp"))
        assert (read.colours, read.size, read.points, read.marks) == ({1, 2}, (1, 2), (1,), frozenset({"x"}))
        assert (read.paper, read.scale, read.names) == (Paper.LARGE, 2, ["a"])

    def test_a_text_of_a_union_stays_text(self) -> None:
        """R4: what is one of its members as it stands is that one, though it could be read as another."""
        assert publish.read({"file": "a", "either": "2026-03-01"}).either == "2026-03-01"
        assert publish.read({"file": "a", "either": dt.date(2026, 3, 1)}).either == dt.date(2026, 3, 1)

    def test_what_is_left_out_has_its_default(self) -> None:
        assert publish.read({"file": "b.dwg"}) == Publish(file="b.dwg")
        assert render.read({"scene": "s"}) == Render(scene="s")

    def test_marks_written_as_text_or_not(self) -> None:
        """Required and NotRequired, which a class hides from those who ask it when annotations are text."""

        class Loose(TypedDict, total=False):
            must: Required[int]
            may: int

        assert (set(mail.accepts), set(mail.requires)) == ({"text", "to"}, {"text"})
        loose = JobType("a", Loose)
        assert (set(loose.accepts), set(loose.requires)) == ({"must", "may"}, {"must"})


#: What is wrong: how a job of it is made, and what the error says.
WRONG: list[tuple[str, JobType[Any], Any, str]] = [
    ("text", publish, Publish(file=3), "params['file']: 3 is not of type str."),  # type: ignore[arg-type]
    ("bool", publish, Publish(file="a", sheets=True), "params['sheets']: True is not of type int."),
    ("number", publish, Publish(file="a", scale="2"), "params['scale']: '2' is not of type float."),  # type: ignore[arg-type]
    ("literal", publish, Publish(file="a", mode="slow"), "params['mode']: 'slow' is none of 'fast', 'good', 3."),  # type: ignore[arg-type]
    ("enum", publish, Publish(file="a", paper="A4"), "params['paper']: 'A4' is not of type Paper."),  # type: ignore[arg-type]
    ("optional", publish, Publish(file="a", due="now"), "params['due']: 'now' is not of type datetime | None."),  # type: ignore[arg-type]
    ("item", publish, Publish(file="a", layers=["0", 1]), "params['layers'][1]: 1 is not of type str."),  # type: ignore[list-item]
    ("list", publish, Publish(file="a", layers="01"), "params['layers']: '01' is not of type list[str]."),  # type: ignore[arg-type]
    ("sequence", publish, Publish(file="a", names="ab"), "params['names']: 'ab' is not of type Sequence[str]."),
    ("places", publish, Publish(file="a", size=(1,)), "params['size']: 1 items are not the 2 of tuple[int, float]."),  # type: ignore[arg-type]
    ("value", publish, Publish(file="a", texts={"n": "x"}), "params['texts']['n']: 'x' is not of type int."),  # type: ignore[dict-item]
    ("key", publish, Publish(file="a", texts={1: 1}), "the key params['texts'][1]: 1 is not of type str."),  # type: ignore[dict-item]
    ("inside", publish, Publish(file="a", sites=[Site(1)]), "params['sites'][0]['name']: 1 is not of type str."),  # type: ignore[arg-type]
    ("in one", publish, Publish(file="a", site=Site(1)), "params['site']['name']: 1 is not of type str."),  # type: ignore[arg-type]
    ("union", publish, Publish(file="a", either=1.5), "params['either']: 1.5 is not of type int | str | date."),  # type: ignore[arg-type]
    ("path", publish, Publish(file="a", folder="out"), "params['folder']: 'out' is not of type Path."),  # type: ignore[arg-type]
    ("instance", publish, {"file": "a"}, "params: {'file': 'a'} is not of type Publish."),
    ("missing", mail, {}, "params: Mail needs text."),
    ("unknown", mail, {"text": "a", "too": []}, "params: Mail does not have too."),
    ("typed dict", mail, {"text": 1}, "params['text']: 1 is not of type str."),
    ("another", mail, Site("a"), "params: Site(name='a', parent=None) is not of type Mail."),
    ("model", render, Render.model_construct(scene=1, frames=0), (
        "params['scene']: Input should be a valid string; params['frames']: Input should be greater than or equal to 1."
    )),
]  # fmt: skip


class TestAtTheEdge:
    @pytest.mark.parametrize(
        ("job_type", "params", "said"), [each[1:] for each in WRONG], ids=[each[0] for each in WRONG]
    )
    def test_r4_a_wrong_field_is_named(self, queue: Queue, job_type: JobType[Any], params: Any, said: str) -> None:
        """R4: where it is enqueued, before anything is sent."""
        assert refusal(lambda: queue.enqueue(job_type, params)) == said
        assert refusal(lambda: queue.enqueue_many([job_type.job(params)])) == said
        assert not list(queue.jobs())

    def test_r4_the_limits_of_plain_params_hold(self, queue: Queue) -> None:
        """R4: size and depth are the codec's, and so is what Any is."""
        said = refusal(lambda: queue.enqueue(publish, Publish(file="x" * 300_000)))
        assert "more than the limit of 262,144" in said
        said = refusal(lambda: queue.enqueue(publish, Publish(file="x", anything=object())))
        assert said.startswith("params['anything']: a builtins.object cannot be stored.")

    def test_r4_nothing_of_a_model_is_lost_in_silence(self) -> None:
        """R4: a secret that is masked, a field that is left out or changed on its way."""

        class Login(BaseModel):
            user: str
            password: SecretStr = SecretStr("")
            hidden: int = Field(default=0, exclude=True)
            rounded: float = 0.0

            @field_serializer("rounded")
            def _round(self, value: float) -> int:
                return round(value)

        login = JobType("login", Login)
        assert login.read(login.plain(Login(user="a"))) == Login(user="a")
        for params, name in (
            (Login(user="a", password=SecretStr("x")), "password"),
            (Login(user="a", hidden=1), "hidden"),
            (Login(user="a", rounded=1.5), "rounded"),
        ):
            with pytest.raises(InvalidInput, match=rf"^params: Login: {name} would not come back as given: "):
                login.plain(params)

    def test_aliases_of_a_model(self) -> None:
        class Scene(BaseModel):
            model_config = ConfigDict(populate_by_name=True)
            file_name: str = Field(alias="fileName")

        scene = JobType("scene", Scene)
        assert scene.plain(Scene(fileName="a")) == {"fileName": "a"}
        assert scene.read({"fileName": "a"}) == scene.read({"file_name": "a"}) == Scene(fileName="a")
        assert scene.accepts == {"fileName", "file_name"}

    def test_members_that_are_stored_alike(self) -> None:
        """R4: what would come back as something else is refused; with a field that differs it is told apart."""

        @dataclass
        class Metre:
            value: float

        @dataclass
        class Inch:
            value: float

        @dataclass
        class Bolt:
            length: Metre | Inch

        Bolt.__annotations__["length"] = Metre | Inch  # local classes cannot be looked up by name
        bolt = JobType("bolt", Bolt)
        assert bolt.plain(Bolt(Metre(1))) == {"length": {"value": 1}}
        assert refusal(lambda: bolt.plain(Bolt(Inch(1)))) == (
            "params['length']: a Inch would come back as a Metre, for both are stored alike. "
            "Let them differ by a field, such as a Literal that names the kind."
        )

    def test_a_subclass_would_lose_what_it_has_more(self) -> None:
        @dataclass
        class Town(Site):
            people: int = 0

        assert refusal(lambda: JobType("a", Site).plain(Town("Oslo"))).endswith("is not of type Site.")

    def test_a_job_for_wherever_one_is_taken(self, queue: Queue) -> None:
        job = mail.job({"text": "a"}, priority=7, tags=["x"])
        assert job == Job("mail.send", {"text": "a"}, priority=7, tags=["x"])
        (job_id,) = queue.enqueue_many([job])
        assert queue.job(job_id).params == {"text": "a"}


Words = NewType("Words", str)


@dataclass
class Odd:
    names: dict[Words, Annotated[int, "a count"]]
    where: PurePath | None = None


class TestDeclared:
    def test_names_of_kinds_are_looked_through(self) -> None:
        odd = JobType("a", Odd)
        assert odd.read(odd.plain(Odd({Words("a"): 1}))) == Odd({Words("a"): 1})
        assert refusal(lambda: odd.plain(Odd({Words("a"): "b"}))) == "params['names']['a']: 'b' is not of type int."  # type: ignore[dict-item]

    def test_r4_a_class_that_is_none(self) -> None:
        """R4: neither dataclass, TypedDict nor model; a bad name."""
        for kind in (int, dict, str, Paper, list[int], Site("a")):
            said = refusal(lambda: JobType("a", kind))  # type: ignore[arg-type] # noqa: B023
            assert said.endswith("is neither a dataclass, a TypedDict nor a pydantic model (version 2).")
        assert refusal(lambda: JobType("a b", Site)).startswith("type: 'a b' is not a name.")

    def test_r4_a_field_that_could_never_be_stored(self) -> None:
        """R4: refused when the job type is declared, by the field's name."""

        @dataclass
        class Deep:
            calls: list[Callable[[], int] | None]

        @dataclass
        class Keys:
            by_number: dict[int, str]

        @dataclass
        class Once:
            seed: InitVar[int]

        @dataclass
        class Lost:
            site: Nowhere  # type: ignore[name-defined] # noqa: F821

        said = [refusal(lambda: JobType("a", kind)) for kind in (Deep, Keys, Once, Lost)]  # noqa: B023
        assert re.match(r"Deep\.calls: a \S+Callable\[\[\], int\] cannot be stored\. Use str, ", said[0]), said[0]
        assert said[1] == "Keys.by_number: its keys are int; only text (str) can be stored as keys."
        assert said[2] == "Once.seed: an InitVar cannot be read back, so it cannot be stored. Make it a field."
        assert said[3].startswith("Lost: its annotations cannot be read (NameError: name 'Nowhere' is not defined).")

    def test_c14_the_function_takes_the_context_and_one_thing(self) -> None:
        """C14: said when it is declared."""
        handlers = Handlers()

        def alone(ctx: Context) -> None: ...
        def two(ctx: Context, text: str, to: str) -> None: ...
        def any_names(ctx: Context, **rest: str) -> None: ...
        def good(ctx: Context, params: Mail, pace: float = 1) -> None: ...

        for function in (alone, two, any_names):
            with pytest.raises(UnknownHandlers, match=r"must take the context and the params of its job type"):
                handlers.handler(mail)(function)  # type: ignore[arg-type]
        handlers.handler(mail)(good)
        with pytest.raises(UnknownHandlers, match=r"type mail.send: two handlers"):
            handlers.handler("mail.send")(alone)


def declare(kind: str, job_type: JobType[Any], work: Callable[[Context, Any], Any], **options: Any) -> Handlers:
    """Declare a type, run in one way or the other."""
    handlers = Handlers()
    if kind == "async":

        async def later(ctx: Context, params: Any) -> Any:
            return work(ctx, params)

        handlers.handler(job_type, **options)(later)
    else:
        options["isolation"] = kind
        handlers.handler(job_type, **options)(work)
    return handlers


def described(_: Context, params: Any) -> str:
    return repr(params)


class TestTheHandler:
    @kinds
    @given
    def test_c14_is_given_an_instance(
        self, queue: Queue, burst: Burst, kind: str, job_type: JobType[Any], params: Any
    ) -> None:
        """C14: whatever it runs in."""
        handle = queue.enqueue(job_type, params)
        burst(declare(kind, job_type, lambda _, got: [type(got) is type(params), got == params]))
        assert handle.result(timeout=5) == [True, True]

    @kinds
    @pytest.mark.parametrize(
        ("params", "said"),
        [
            ({"sheets": 1}, "the handler of drawing.publish needs file, which the params do not have."),
            ({"file": "a", "fil": 1}, "the handler of drawing.publish does not take fil, which the params have."),
            (
                {"file": 3},
                "the handler of drawing.publish does not take these params: params['file']: 3 is not of type str.",
            ),
            (
                {"file": "a", "site": {"nam": "x"}},
                "the handler of drawing.publish does not take these params: params['site']: Site needs name.",
            ),
        ],
        ids=["missing", "unknown", "kind", "inside"],
    )
    def test_c14_what_does_not_fit_fails_once(
        self, queue: Queue, burst: Burst, kind: str, params: dict[str, Any], said: str
    ) -> None:
        """C14: BadParams, whatever the retry rule; the handler is not called."""
        handle = queue.enqueue("drawing.publish", params)
        burst(declare(kind, publish, described, retry=Retry(first=0, attempts=5)))
        record = handle.record()
        assert (record.state, record.attempt, record.error_type, record.error) == ("failed", 1, "BadParams", said)

    def test_c14_a_model_names_what_is_wrong(self, queue: Queue, burst: Burst) -> None:
        """C14: pydantic's own words; a name that it does not have is refused unless its config says otherwise."""

        class Open(BaseModel):
            model_config = ConfigDict(extra="allow")
            scene: str

        wrong, extra = (
            queue.enqueue("scene.render", {"frames": 0}),
            queue.enqueue("scene.render", {"scene": "a", "x": 1}),
        )
        burst(declare("thread", render, described))
        assert wrong.record().error == (
            "the handler of scene.render does not take these params: params['scene']: Field required; "
            "params['frames']: Input should be greater than or equal to 1."
        )
        assert extra.record().error == "the handler of scene.render does not take x, which the params have."
        more = queue.enqueue("open", {"scene": "a", "x": 1})
        burst(declare("thread", JobType("open", Open), described))
        assert more.result(timeout=5) == "Open(scene='a', x=1)"

    def test_c14_what_its_author_refuses(self, queue: Queue, burst: Burst) -> None:
        """C14: an error of __post_init__ is one of the params."""
        handle = queue.enqueue("sheet", {"width": -1})
        burst(declare("thread", JobType("sheet", Sheet), described))
        with pytest.raises(JobFailed, match=r"BadParams: .* params: Sheet: ValueError: no paper is that small"):
            handle.result(timeout=5)

    def test_c17_a_typed_job_from_a_handler(self, queue: Queue, burst: Burst) -> None:
        """C17: checked at once; it comes with the end of its parent."""
        handlers = Handlers()

        @handlers.handler(publish)
        def run(ctx: Context, params: Publish) -> str:
            ctx.enqueue(mail, Mail(text=params.file), title="told")
            return refusal(lambda: ctx.enqueue(mail, {"text": 1}))  # type: ignore[misc]

        @handlers.handler(mail)
        def send(_: Context, params: Mail) -> str:
            return params["text"]

        handle = queue.enqueue(publish, Publish(file="a.dwg"), priority=3)
        burst(handlers)
        assert handle.result(timeout=5) == "params['text']: 1 is not of type str."
        (sent,) = (job for job in queue.jobs(state="succeeded") if job.type == "mail.send")
        assert (sent.params, sent.priority, sent.title) == ({"text": "a.dwg"}, 3, "told")
        assert queue.handle(sent.id).result(timeout=5) == "a.dwg"

    def test_plain_and_typed_meet(self, queue: Queue, burst: Burst) -> None:
        """A plain handler runs typed jobs, and a typed one plain jobs."""
        handlers = Handlers()

        @handlers.handler("mail.send")
        def send(_: Context, text: str) -> str:
            return text

        @handlers.handler(render)
        def run(_: Context, params: Render) -> int:
            return params.frames

        handles = queue.enqueue(mail, Mail(text="a")), queue.enqueue("scene.render", {"scene": "s", "frames": 4})
        burst(handlers)
        assert [handle.result(timeout=5) for handle in handles] == ["a", 4]

    @kinds
    def test_o5_a_step_is_given_what_its_class_has(self, queue: Queue, burst: Burst, kind: str) -> None:
        """O5: of the order's params and the results before it, those that are fields."""
        handlers = declare(kind, mail, lambda _, params: {"text": params["text"] * 2, "sheets": 4, "noise": 1})
        published = declare("thread", publish, lambda _, params: f"{params.file} {params.sheets}")
        handlers._by_type["drawing.publish"] = published["drawing.publish"]
        queue.define(Chain("release", [Step("tell", mail.type), Step("publish", publish.type)]))
        order = queue.start("release", {"text": "a", "file": "f.dwg", "owner": "cad"})
        burst(handlers)
        assert order.result(timeout=5) == {
            "tell": {"text": "aa", "sheets": 4, "noise": 1},
            "publish": "f.dwg 4",
        }

    def test_seats_are_not_taken_for_what_does_not_fit(self, queue: Queue, burst: Burst) -> None:
        """C14: it fails before its login is called."""
        queue.pools.set("vault", 1)
        handlers, opened = declare("thread", mail, described, uses={"vault": 1}), list[int]()

        @handlers.login("vault")
        def log_in(_: object) -> Any:
            opened.append(1)
            raise AssertionError

        handle = queue.enqueue("mail.send", {"text": 1})
        burst(handlers)
        assert (handle.record().error_type, opened) == ("BadParams", [])


@dataclass
class Sheet:
    width: int

    def __post_init__(self) -> None:
        if self.width < 0:
            raise ValueError("no paper is that small")


def test_nan_is_a_float() -> None:
    assert math.isnan(publish.read(publish.plain(Publish(file="a", scale=math.nan))).scale)


def test_pydantic_is_never_imported() -> None:
    """It is optional: a typed job of a dataclass needs nothing of it."""
    script = """\
import sys
from dataclasses import dataclass
from seatline.producer import JobType
from seatline.worker import Handlers
@dataclass
class Site: name: str
JobType("a", Site).plain(Site("a"))
sys.exit("pydantic" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", script], check=False, timeout=60).returncode == 0


SNIPPET = inspect.cleandoc(
    """
    from __future__ import annotations

    from dataclasses import dataclass
    from typing import NotRequired, TypedDict

    from pydantic import BaseModel

    from seatline.producer import JobHandle, JobType, Queue
    from seatline.worker import Context, Handlers


    @dataclass
    class Publish:
        file: str
        sheets: int = 1


    class Mail(TypedDict):
        text: str
        to: NotRequired[list[str]]


    class Render(BaseModel):
        scene: str


    publish = JobType("drawing.publish", Publish)
    mail = JobType("mail.send", Mail)
    render = JobType("scene.render", Render)
    handlers = Handlers()


    @handlers.handler(publish, uses={"vault": 1}, timeout=60)
    def run(ctx: Context, params: Publish) -> str:
        ctx.enqueue(mail, Mail(text=params.file), delay=3)
        ctx.enqueue("plain", {"x": 1})
        ctx.enqueue(mail, Publish("a"))  # wrong
        return params.fil  # wrong


    @handlers.handler(mail)
    async def send(ctx: Context, params: Mail) -> str:
        return params["text"]


    @handlers.handler("plain", timeout=5)
    def plain(ctx: Context, x: int) -> int:
        return x


    @handlers.handler(render)  # wrong
    def other(ctx: Context, params: Publish) -> None: ...


    def enqueue(queue: Queue, ctx: Context) -> list[JobHandle]:
        queue.enqueue_many([publish.job(Publish("a"), priority=100), render.job(Render(scene="a"))])
        queue.enqueue(publish, {"file": "a"})  # wrong
        queue.enqueue(publish, Publish(fil="a"))  # wrong
        queue.enqueue(publish, Publish(3))  # wrong
        queue.enqueue(publish, Render(scene="a"))  # wrong
        queue.enqueue(publish)  # wrong
        queue.enqueue(publish, Publish("a"), priorty=1)  # wrong
        queue.enqueue(publish, Publish("a"), priority="high")  # wrong
        queue.enqueue(mail, Mail(txt="a"))  # wrong
        publish.job(Render(scene="a"))  # wrong
        print(run(ctx, Publish("a")).upper(), plain(ctx, x=1) + 1)
        return [
            queue.enqueue(publish, Publish("a.dwg"), priority=5),
            queue.enqueue(mail, Mail(text="x", to=["a"])),
            queue.enqueue("drawing.publish", {"file": 1}),
            queue.enqueue("plain"),
        ]
    """
)


class TestTypeCheckers:
    """What a type checker says of the snippet: an error in each line that is marked as wrong, and in no other."""

    def test_mypy(self, tmp_path: Path) -> None:
        file = tmp_path / "snippet.py"
        file.write_text(SNIPPET, "utf-8")
        words = [
            "mypy",
            "--config-file",
            str(ROOT / "pyproject.toml"),
            "--cache-dir",
            str(tmp_path / "cache"),
            str(file),
        ]
        done = subprocess.run(
            [sys.executable, "-m", *words], cwd=ROOT, capture_output=True, text=True, check=False, timeout=110
        )
        found = {int(line) for line in re.findall(r"snippet\.py:(\d+): error:", done.stdout)}
        assert found == wrong_lines(), done.stdout + done.stderr

    def test_pyright(self, tmp_path: Path) -> None:
        (tmp_path / "snippet.py").write_text(SNIPPET, "utf-8")
        config = {
            "typeCheckingMode": "strict",
            "include": ["snippet.py"],
            "extraPaths": [str(ROOT / floor) for floor in ("shared", "producer", "worker")],
        }
        (tmp_path / "pyrightconfig.json").write_text(json.dumps(config))
        words = ["pyright", "--project", str(tmp_path), "--pythonpath", sys.executable, "--outputjson"]
        done = subprocess.run(
            [sys.executable, "-m", *words], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=110
        )
        told = json.loads(done.stdout)["generalDiagnostics"]
        assert {one["range"]["start"]["line"] + 1 for one in told} == wrong_lines(), done.stdout


def wrong_lines() -> set[int]:
    return {number for number, line in enumerate(SNIPPET.splitlines(), 1) if line.endswith("# wrong")}
