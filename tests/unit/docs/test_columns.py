"""The page of columns lists what SQL sees, all of it, with its types and fields."""

from indelible.query.columns import EVENT_COLUMNS, LOGS, ORIGIN
from indelible.query.exports.audit_log import FIELDS
from tests.unit.docs.pages import DOCS, codes, rows, section

PAGE = DOCS / "reference" / "columns.md"


def test_events_are_those_of_the_view() -> None:
    listed = [(codes(name)[0], type_, codes(field)) for name, type_, field in rows(section(PAGE, "`events`"))]
    assert listed[0][:2] == (ORIGIN.name, ORIGIN.sql_type)
    assert listed[1:] == [(one.name, one.sql_type, [".".join(one.path)]) for one in EVENT_COLUMNS]


def test_logs_begin_with_mxcps() -> None:
    listed = [(codes(name)[0], type_) for name, type_, _ in rows(section(PAGE, "`logs`"))]
    assert listed == [(name, type_) for name, type_, _ in LOGS]


def test_audit_log_begins_with_what_small_servers_log() -> None:
    listed = [(codes(name)[0], type_, codes(of)[0]) for name, type_, of in rows(section(PAGE, "`audit_log`"))]
    assert listed == [(field.name, field.type, field.source) for field in FIELDS[: len(listed)]]
    assert [field.name for field in FIELDS[len(listed) :]] == [
        one.name for one in (ORIGIN, *EVENT_COLUMNS) if one.name not in {name for name, _, _ in listed}
    ]
