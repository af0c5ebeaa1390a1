"""The columns of a record are those that the stages give, so that none is lost on the way."""

from dataclasses import fields

from radio_io.dicom.check import ImageStatistics
from radio_io.dicom.header import HeaderRecord
from radio_io.index.row import ImageLocation, ImageRow
from radio_io.index.schema import RECORD_COLUMNS, TABLES


def names(kind):
    return {field.name for field in fields(kind)}


def test_a_record_holds_row_and_location():
    columns = [column.name for column in RECORD_COLUMNS]
    assert len(columns) == len(set(columns))
    assert set(columns) == names(ImageRow) | names(ImageLocation)
    assert not names(ImageRow) & names(ImageLocation)


def test_a_row_keeps_all_of_header_and_statistics():
    assert names(HeaderRecord) | names(ImageStatistics) <= names(ImageRow)


def test_every_table_and_column_has_a_comment(built):
    import duckdb

    with duckdb.connect(str(built.root / "index.duckdb"), read_only=True) as connection:
        missing = connection.execute(
            "SELECT table_name, column_name FROM duckdb_columns() WHERE NOT internal AND comment IS NULL"
        ).fetchall()
        assert missing == []
        assert {row[0] for row in connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()} == set(
            TABLES
        )
