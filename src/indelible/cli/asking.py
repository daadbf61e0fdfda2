"""The options of `indelible log` that ask with SQL, sort, group, sum and count."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

import click

from indelible.errors import ConfigError
from indelible.query.filters import Filter, did_you_mean

if TYPE_CHECKING:
    from indelible.cli.log_views import View
    from indelible.cli.rendering import Chosen
    from indelible.query.engine.asking import Asked
    from indelible.query.engine.connection import Caps
    from indelible.query.engine.sieve import Sieve
    from indelible.query.search import Corrupt, Hit

F = TypeVar("F", bound=Callable[..., Any])

WHERE: Final = "A condition in SQL on the columns ('indelible sql --columns' lists them), besides the filters."
SORT: Final = "Sort by a column; COL:desc the other way. -n keeps the first N then."
GROUP: Final = "A table of how many there are by one column or more."
SUM: Final = "Add a column of numbers up, of everything or by --group-by."


class Question(NamedTuple):
    """What the options ask beyond a filter."""

    where_sql: str | None = None
    sort: str | None = None
    group_by: str | None = None
    sum_of: str | None = None
    number: bool = False
    """``--count``."""
    timeout: str | None = None
    memory: int | None = None
    no_twins: bool = False
    gathered: bool = False
    """What is asked are lines that were chosen among records held elsewhere (`query.gathered`)."""

    def of_gathered(self) -> Question:
        """Return it for lines that were gathered, which have no twins."""
        return self._replace(no_twins=True, gathered=True)

    @property
    def is_table(self) -> bool:
        """Whether the answer is numbers, and no events."""
        return self.number or self.group_by is not None or self.sum_of is not None

    @property
    def is_asked(self) -> bool:
        """Whether anything is asked at all."""
        return self.is_table or self.where_sql is not None or self.sort is not None

    @property
    def asked_of_lines(self) -> tuple[str, ...]:
        """What only a line of a trail can answer, by the names of its options."""
        given = {"where": self.where_sql, "sort": self.sort, "group_by": self.group_by, "sum": self.sum_of}
        return tuple(name for name, value in given.items() if value is not None)

    @property
    def needs_sql(self) -> bool:
        """Whether DuckDB is needed: counting is done without it."""
        return any(one is not None for one in (self.where_sql, self.sort, self.group_by, self.sum_of))


def question_options(function: F) -> F:
    """Add the options; the command gets a `Question` of them by `make_question`."""
    from indelible.cli.caps import caps_options

    function = caps_options(function)
    function = click.option("--no-twins", is_flag=True, help="Read the lines themselves, and no twins.")(
        function
    )
    for option in (
        click.option("--count", "number", is_flag=True, help="Only how many there are."),
        click.option("--sum", "sum_of", metavar="COL", help=SUM),
        click.option("--group-by", metavar="COL[,COL]", help=GROUP),
        click.option("--sort", metavar="COL[:desc]", help=SORT),
        click.option("--where", "where_sql", metavar="SQL", help=WHERE),
    ):
        function = option(function)
    return function


def refuse_others(
    question: Question, view: View, limit: int | None, *, follow: bool, format_name: str | None
) -> None:
    """Raise UsageError for options that do not go together."""
    if not question.is_asked:
        if question.timeout is not None or question.memory is not None:
            raise click.UsageError("--timeout and --memory are a query's: there is none")
        return
    asked = "--where, --sort, --group-by, --sum and --count"
    if follow and (question.is_table or question.sort is not None):
        raise click.UsageError(
            "--sort, --group-by, --sum and --count ask what is there: not together with --follow"
        )
    if view.around is not None or view.timeline:
        other = "--around" if view.around is not None else "--timeline"
        raise click.UsageError(f"{asked} list or count: not together with {other}")
    if question.is_table and format_name is not None:
        raise click.UsageError("--format is of events: --count, --sum and --group-by give none; try --json")
    if question.number and question.sort is not None and question.group_by is None:
        raise click.UsageError("--count gives one number: there is nothing to --sort")
    if (question.number or question.sum_of is not None) and limit is not None and question.group_by is None:
        one = "--count gives one number" if question.number else "--sum without --group-by gives one row"
        raise click.UsageError(f"{one}, of all that match: not together with -n")
    if question.sum_of is not None and question.sort is not None and question.group_by is None:
        raise click.UsageError("--sum without --group-by gives one row: there is nothing to --sort")


def check(question: Question) -> None:
    """Raise ConfigError for what is wrong with a question before anything is read, TrailError without DuckDB."""
    from indelible.query.engine.asking import Asked

    Columns(question)
    with Asked((), Filter()) as asked, named():
        if question.where_sql is not None:
            asked.check_condition(question.where_sql)


def answer(
    paths: Sequence[Path],
    wanted: Filter,
    limit: int | None,
    chosen: Chosen | None,
    question: Question,
    *,
    as_json: bool,
) -> int:
    """Print the answer; unreadable lines are counted on stderr. Raises ConfigError, TrailError.

    `limit` None is the default, and that a table is cut by it is said.
    """
    if not question.needs_sql:
        return _count(paths, wanted, as_json=as_json, with_twins=not question.no_twins)
    from indelible.cli.caps import bounded, make_caps

    caps = make_caps(question.timeout, question.memory)
    with bounded(caps):
        return _ask(paths, wanted, limit, chosen, question, caps, as_json=as_json)


def _count(paths: Sequence[Path], wanted: Filter, *, as_json: bool, with_twins: bool) -> int:
    """Count: by twins, where there is much to read, else one by one."""
    from indelible.query import quick
    from indelible.query.search import Corrupt, TrailSearch

    corrupt = Corrupt()
    if with_twins:
        count = quick.count(paths, wanted, corrupt)
        if count is None:
            from indelible.query.engine.asking import Asked
            from indelible.query.engine.connection import Caps

            with Asked(paths, wanted, Caps(seconds=quick.SECONDS)) as asked:
                rows = list(asked.summary(None, [], None, None, 0).rows)
                return _print_table(["count"], rows, asked.corrupt, as_json=as_json)
    else:
        count = 0
        for path in paths:
            with TrailSearch(path, wanted, corrupt) as search:
                count += sum(1 for _ in search.all())
    return _print_table(["count"], [(count,)], corrupt, as_json=as_json)


def _ask(
    paths: Sequence[Path], wanted: Filter, given: int | None, chosen: Chosen | None, question: Question,
    caps: Caps, *, as_json: bool,
) -> int:  # fmt: skip
    from indelible.cli.log import DEFAULT_LIMIT
    from indelible.query.engine.asking import Asked

    columns, limit = Columns(question), DEFAULT_LIMIT if given is None else given
    twins, complete = not question.no_twins, not question.gathered
    with Asked(paths, wanted, caps, with_twins=twins, complete=complete) as asked, named():
        if question.where_sql is not None:
            asked.check_condition(question.where_sql)
        if not question.is_table:
            return _print_events(asked, wanted, limit, chosen, question, columns)
        return _print_summary(asked, given, question, columns, as_json=as_json)


@contextlib.contextmanager
def sieved(question: Question) -> Iterator[Sieve | None]:
    """Give what lets new events through, when there is a condition. Raises ConfigError, TrailError."""
    if question.where_sql is None:
        yield None
        return
    from indelible.cli.caps import bounded, make_caps
    from indelible.query.engine.sieve import Sieve

    caps = make_caps(question.timeout, question.memory)
    with bounded(caps), named():
        yield Sieve(question.where_sql, caps, with_twins=not question.no_twins)


@contextlib.contextmanager
def named() -> Iterator[None]:
    """Say of what is wrong with a condition that it is ``--where``'s."""
    from indelible.query.engine.guard import SqlError

    try:
        yield
    except SqlError as exc:
        raise ConfigError(f"--where: {exc}") from exc


def _print_summary(
    asked: Asked, given: int | None, question: Question, columns: Columns, *, as_json: bool
) -> int:
    """Print numbers; where nobody has said how many groups, say that there are more."""
    from indelible.cli.common import note
    from indelible.cli.log import DEFAULT_LIMIT

    limit = DEFAULT_LIMIT if given is None else given
    most = limit + 1 if given is None else limit
    result = asked.summary(question.where_sql, columns.group_by, columns.sum_of, columns.sort, most)
    rows = iter(result.rows)
    code = _print_table(result.names, islice(rows, limit or None), asked.corrupt, as_json=as_json)
    if given is None and next(rows, None) is not None:
        note(f"the first {limit} groups are shown, and there are more: -n 0 shows all")
    return code


def _print_events(
    asked: Asked, wanted: Filter, limit: int, chosen: Chosen | None, question: Question, columns: Columns
) -> int:
    from indelible.cli.log import report_corrupt
    from indelible.cli.rendering import make_printer

    printer = make_printer(chosen, wanted)
    with contextlib.closing(_closing(events(asked, question, columns, limit))) as each:
        count = printer.print(each)
    sys.stdout.flush()
    printer.report()
    report_corrupt(asked.corrupt)
    if not count and sys.stderr.isatty():
        click.secho("no event matches", dim=True, err=True)
    return 0


def events(asked: Asked, question: Question, columns: Columns, limit: int) -> Iterable[Hit]:
    """Return the events that the question asks for; `limit` 0 is all."""
    if columns.sort:
        return asked.sorted(question.where_sql, columns.sort, limit)
    return asked.matches(question.where_sql, limit)


def _closing(hits: Iterable[Any]) -> Any:
    yield from hits


def print_count(count: int, *, as_json: bool) -> None:
    """Print how many there are, as ``--count`` does."""
    from indelible.query.search import Corrupt

    _print_table(["count"], [(count,)], Corrupt(), as_json=as_json)


def _print_table(
    names: Sequence[str], rows: Iterable[Sequence[Any]], corrupt: Corrupt, *, as_json: bool
) -> int:
    from indelible.cli.log import report_corrupt
    from indelible.cli.rows import print_rows

    print_rows(names, rows, "json" if as_json else "table")
    sys.stdout.flush()
    report_corrupt(corrupt)
    return 0


class Columns:
    """The columns that the options name, checked: names of ours from here on, and no texts of a user's."""

    def __init__(self, question: Question) -> None:
        from indelible.query.columns import view_columns

        self._types = dict(view_columns("logs"))
        self._known = tuple(self._types)
        numbers = tuple(name for name, type_ in self._types.items() if type_ in ("BIGINT", "DOUBLE"))
        self.group_by = self._several(question.group_by)
        self.sum_of = None if question.sum_of is None else self._one("--sum", question.sum_of, self._known)
        if self.sum_of is not None and self.sum_of not in numbers:
            raise ConfigError(f"--sum {self.sum_of}: not a column of numbers; there are {', '.join(numbers)}")
        self.sort = self._sort(question)

    def _several(self, text: str | None) -> list[str]:
        names = [] if text is None else [name.strip() for name in text.split(",")]
        return list(dict.fromkeys(self._one("--group-by", name, self._known) for name in names))

    def _sort(self, question: Question) -> tuple[str, bool] | None:
        """Return the column, and whether the greatest comes first."""
        if question.sort is None:
            return None
        name, _, way = question.sort.partition(":")
        if way not in ("", "asc", "desc"):
            raise ConfigError(f"--sort: expected COL, COL:asc or COL:desc, found {question.sort!r}")
        known = self._known
        if question.group_by is not None:
            known = (*self.group_by, "count", *([f"sum_{self.sum_of}"] if self.sum_of else []))
        return self._one("--sort", name.strip(), known), way == "desc"

    @staticmethod
    def _one(option: str, name: str, known: tuple[str, ...]) -> str:
        if name not in known:
            raise ConfigError(f"{option}: no column {name!r}{did_you_mean(name, known)}")
        return name
