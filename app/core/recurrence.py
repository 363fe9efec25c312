"""When something recurs: cron expressions in time zones.

No clock and no I/O, but for the time zones that come with the package tzdata. The host's own are not asked, so that all
processes of a release agree.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib.resources import files
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from app.core.errors import InvalidScheduleError

LONGEST_CRON = 255

_MINUTE = timedelta(minutes=1)
_FIELDS = 5
_EVERY_HOUR = set(range(24))
_NEVER = "never comes due"
_SOME_DAY = datetime(2000, 1, 1)  # noqa: DTZ001 - a local time, in no zone
_WRONG_COUNT = "must have five fields: minute, hour, day of month, month, day of week"


class Recurrence:
    """A cron expression in a time zone. All times that go in and come out are aware; out come UTC and whole minutes.

    Where clocks change (docs/schedules.md has the table):
    - With every hour allowed, as in `*/10 * * * *`, ticks are the real moments whose local time matches: a repeated
      hour has its ticks twice, a skipped one has none.
    - Else each local time that matches has one tick: when it is skipped, at the first moment after the gap; when it is
      repeated, the first time. Only with a minute field that begins with `*` are both passes served.

    cronsim reads the expression and lists local times. The step from these to real ones is made here: cronsim's own
    answers with a tick that has passed when it is asked during the second pass of a repeated hour, and leaves out ticks
    where clocks change by half an hour.
    """

    def __init__(self, cron: str, timezone: str) -> None:
        """Raises InvalidScheduleError, which names the fields `cron` and `timezone`, as they are wrong."""
        problems = []
        try:
            self._zone = zone(timezone)
        except KeyError:
            problems.append(("timezone", "is no IANA time zone, such as Europe/Berlin or UTC"))
        try:
            pattern = _pattern(cron)
        except ValueError as error:
            problems.insert(0, ("cron", str(error)))
        if problems:
            raise InvalidScheduleError(problems)
        self.cron = " ".join(cron.split())
        self.timezone = timezone
        self._is_every_hour = pattern.hours == _EVERY_HOUR
        self._is_repeated = self._is_every_hour or pattern.parts[1].startswith("*")
        self.in_english: str = pattern.explain()

    def next(self, after: datetime) -> datetime:
        """The first tick after this time."""
        local = after.astimezone(self._zone)
        wall = local.replace(tzinfo=None, fold=0)
        tick = self._first_after(after, wall)
        # In the first pass of a repeated stretch: the next tick may lie in the second, under an earlier local time.
        repeated = _offset(local) - _offset(local.replace(fold=1))
        if repeated and self._is_repeated:
            tick = min(tick, self._first_after(after, wall - repeated))
        return tick

    def upcoming(self, after: datetime, count: int) -> list[datetime]:
        """The next ticks after this time."""
        ticks = [self.next(after)]
        while len(ticks) < count:
            ticks.append(self.next(ticks[-1]))
        return ticks

    def last(self, after: datetime, until: datetime) -> datetime | None:
        """The last tick after the one time and up to the other. By bisection, since years may lie between."""
        last = None
        while (tick := self.next(after)) <= until:
            last = tick
            middle = tick + (until - tick) / 2
            if self.next(middle) <= until:
                after = middle
            else:
                after, until = tick, middle
        return last

    def _first_after(self, after: datetime, wall: datetime) -> datetime:
        """The first real time after `after` of the local times that match and lie after `wall`, taken in order."""
        for match in CronSim(self.cron, wall):
            for moment in self._moments(match):
                if moment > after:
                    return moment
        raise InvalidScheduleError([("cron", _NEVER)])

    def _moments(self, wall: datetime) -> Iterator[datetime]:
        """When a local time that matches has its ticks; fold is as in PEP 495."""
        first, second = self._real(wall, fold=0), self._real(wall, fold=1)
        if first is not None and second is not None:
            yield first
            if self._is_repeated:
                yield second  # the same again, but in a repeated stretch
        elif not self._is_every_hour:
            while first is None:
                wall += _MINUTE
                first = self._real(wall, fold=0)
            yield first

    def _real(self, wall: datetime, fold: int) -> datetime | None:
        """This local time in UTC; None where clocks skip it."""
        moment = wall.replace(tzinfo=self._zone, fold=fold).astimezone(UTC)
        is_real = moment.astimezone(self._zone).replace(tzinfo=None, fold=0) == wall
        return moment if is_real else None


@cache
def zones() -> frozenset[str]:
    """The names of all time zones."""
    return frozenset(files("tzdata").joinpath("zones").read_text().split())


@cache
def zone(name: str) -> ZoneInfo:
    """A time zone. Raises KeyError where there is none of this name."""
    if name not in zones():
        raise KeyError(name)
    with files("tzdata").joinpath("zoneinfo", *name.split("/")).open("rb") as file:
        return ZoneInfo.from_file(file, key=name)


def _pattern(cron: str) -> CronSim:
    """The expression, read. Raises ValueError, which says what is wrong with it but not what it is."""
    if len(cron) > LONGEST_CRON:
        raise ValueError(f"is longer than {LONGEST_CRON} characters")
    if len(cron.split()) != _FIELDS:
        raise ValueError(_WRONG_COUNT)
    try:
        pattern = CronSim(cron, _SOME_DAY)
        is_ever = next(CronSim(cron, _SOME_DAY), None) is not None
    except CronSimError as error:
        raise ValueError(_NEVER if _has_such_days(cron) else _wrong_field(error)) from None
    if not is_ever:
        raise ValueError(_NEVER)
    return pattern


def _has_such_days(cron: str) -> bool:
    """Whether the expression is only wrong in that its months are too short, as in 30 February."""
    minute, hour, day, _, weekday = cron.split()
    try:
        CronSim(f"{minute} {hour} {day} * {weekday}", _SOME_DAY)
        CronSim(f"* * * {cron.split()[3]} *", _SOME_DAY)
    except CronSimError:
        return False
    return True


def _wrong_field(error: CronSimError) -> str:
    return f"its field for the {str(error).removeprefix('Bad ').replace('-', ' ')} is wrong"


def _offset(time: datetime) -> timedelta:
    offset = time.utcoffset()
    assert offset is not None
    return offset
