"""What a user's SQL may be: one predicate over images, or one SELECT over the tables of the index.

Comes in: text. Goes out: the same text, checked. Refuses everything that is not on the lists below: other tables, table
functions, settings, files, several statements, functions that can eat memory. The parsed tree is walked, not the text.

WITH is accepted where its names are new: a name counts as a table only where SQL would find the inner SELECT under it,
that is in later ones and in the SELECT that follows. Anywhere else DuckDB would look it up among its own views.
"""

import difflib
import json
import re
from typing import Any, Final, cast

import duckdb

from radio_io.errors import QueryError
from radio_io.index.schema import TABLES

MAX_LENGTH: Final = 10_000
PREDICATE_CLASSES: Final = frozenset(
    "COMPARISON CONJUNCTION CONSTANT COLUMN_REF FUNCTION CAST BETWEEN OPERATOR CASE COLLATE TYPE".split()
)
SELECT_CLASSES: Final = PREDICATE_CLASSES | {"STAR", "WINDOW", "SUBQUERY", "POSITIONAL_REFERENCE"}
FUNCTIONS: Final = frozenset(
    "~~ ~~* !~~ !~~* ~~~ like_escape ilike_escape not_like_escape not_ilike_escape regexp_matches regexp_full_match "
    "lower upper trim length contains starts_with ends_with prefix suffix substring year month date_part date_trunc "
    "coalesce abs round floor ceil sqrt ln log10 greatest least + - * / // % to_days to_months to_years trunc "
    "list_value list_contains isnan array_extract struct_extract nullif ifnull".split()
)
AGGREGATES: Final = frozenset(
    "count count_star sum avg min max median quantile quantile_cont quantile_disc stddev stddev_samp variance mode "
    "any_value arg_min arg_max first last bool_and bool_or approx_count_distinct row_number rank dense_rank lag lead "
    "histogram".split()
)
QUERY_NODES: Final = frozenset({"SELECT_NODE", "SET_OPERATION_NODE"})
CTE_NAME: Final = re.compile(r"(?!(?:duckdb|pragma|sqlite|pg|information_schema)_)[a-z_][a-z0-9_]{0,62}", re.IGNORECASE)
TABLE_TYPES: Final = frozenset({"BASE_TABLE", "JOIN", "SUBQUERY", "EMPTY"})


def checked_predicate(connection: duckdb.DuckDBPyConnection, predicate: str) -> str:
    """A predicate over the table images that is safe to put between brackets.

    Raises:
        QueryError: It is no single predicate, names an unknown column, or uses what is not allowed.
    """
    _check_text(predicate)
    try:
        duckdb.SQLExpression(predicate)
    except duckdb.Error as error:
        raise _refused(error) from None
    node = _select_node(connection, f"SELECT * FROM images WHERE (\n{predicate}\n)")  # noqa: S608
    plain = not (node["modifiers"] or node["cte_map"]["map"] or node["group_expressions"] or node["having"])
    if not plain or node["from_table"]["type"] != "BASE_TABLE":
        raise QueryError("not a plain predicate; give a condition such as region='Knee' and rows > 2000")
    _walk(node["where_clause"], PREDICATE_CLASSES, FUNCTIONS, _columns("images"))
    _prepare(connection, f"SELECT 1 FROM images WHERE (\n{predicate}\n)")  # noqa: S608
    return f"\n{predicate}\n"


def checked_select(connection: duckdb.DuckDBPyConnection, sql: str) -> str:
    """One SELECT over images, shards, rejects and labels.

    Raises:
        QueryError: It is another statement, or uses what is not allowed.
    """
    _check_text(sql)
    node = _select_node(connection, sql)
    _walk(node, SELECT_CLASSES, FUNCTIONS | AGGREGATES, None)
    _prepare(connection, sql)
    return sql


def _check_text(text: str) -> None:
    if len(text) > MAX_LENGTH or "\0" in text:
        raise QueryError(f"the query has {len(text)} characters; at most {MAX_LENGTH} are accepted, without NUL")


def _select_node(connection: duckdb.DuckDBPyConnection, sql: str) -> dict[str, Any]:
    try:
        row = connection.execute("SELECT json_serialize_sql(?)", [sql]).fetchone()
    except duckdb.Error as error:
        raise _refused(error) from None
    tree = cast("dict[str, Any]", json.loads(row[0] if row else "{}"))
    if tree.get("error"):
        raise QueryError(f"not valid SQL for a query: {tree.get('error_message', 'only SELECT is accepted')}")
    if len(tree["statements"]) != 1 or tree["statements"][0]["node"]["type"] not in QUERY_NODES:
        raise QueryError("give exactly one SELECT, without recursion")
    return cast("dict[str, Any]", tree["statements"][0]["node"])


def _walk(
    tree: object,
    classes: frozenset[str],
    functions: frozenset[str],
    columns: frozenset[str] | None,
    tables: frozenset[str] = frozenset(TABLES),
) -> None:
    """Refuse every node that is not on the lists; `tables` are the names that a FROM may use here."""
    if isinstance(tree, list):
        for each in cast("list[object]", tree):
            _walk(each, classes, functions, columns, tables)
        return
    if not isinstance(tree, dict):
        return
    node = cast("dict[str, Any]", tree)
    for part in node.get("cte_map", {}).get("map", []):
        inner = _checked_part(part, tables)
        _walk(inner, classes, functions, columns, tables)  # its own name is not among them: no recursion
        tables |= {part["key"].lower()}
    _check_node(node, classes, functions, columns)
    if "from_table" in node:
        _check_source(node["from_table"], tables)
    for name, value in node.items():
        if name != "cte_map":
            _walk(value, classes, functions, columns, tables)


def _checked_part(part: dict[str, Any], tables: frozenset[str]) -> dict[str, Any]:
    """The SELECT behind a name of WITH."""
    name, value = str(part["key"]), cast("dict[str, Any]", part["value"])
    if CTE_NAME.fullmatch(name) is None:
        raise QueryError(f"WITH {name!r}: use letters, digits and _, and no name of DuckDB's own")
    if name.lower() in tables:
        raise QueryError(f"WITH {name}: there is a table of this name already; choose another")
    if value.get("key_targets") or value.get("payload_aggregates"):
        raise QueryError("recursive queries are not allowed")
    # DuckDB 1 wraps the node in a statement.
    return cast("dict[str, Any]", value["query_node"] if "query_node" in value else value["query"]["node"])


def _check_node(
    node: dict[str, Any], classes: frozenset[str], functions: frozenset[str], columns: frozenset[str] | None
) -> None:
    kind = node.get("class")
    if kind is not None and kind not in classes:
        raise QueryError(f"{str(kind).lower()} is not allowed here")
    if kind == "FUNCTION" and (
        node["function_name"].lower() not in functions or node.get("schema") or node.get("catalog")
    ):
        raise QueryError(f"function {node['function_name']} is not allowed; allowed are comparisons, text and dates")
    if kind == "WINDOW" and node["function_name"].lower() not in functions:
        raise QueryError(f"function {node['function_name']} is not allowed")
    if kind == "COLUMN_REF" and columns is not None:
        _check_column(node["column_names"], columns)
    form = str(node.get("type"))
    if kind is None and form.endswith("_NODE") and form not in QUERY_NODES:
        what = "recursive queries are" if form == "RECURSIVE_CTE_NODE" else f"{form.lower().replace('_', ' ')} is"
        raise QueryError(f"{what} not allowed; give SELECT")


def _check_source(source: dict[str, Any], tables: frozenset[str]) -> None:
    kind = source.get("type")
    if kind not in TABLE_TYPES:
        raise QueryError(f"{str(kind).lower().replace('_', ' ')} is not allowed; tables are {', '.join(TABLES)}")
    if kind == "BASE_TABLE" and (source.get("schema_name") or source.get("catalog_name")):
        raise QueryError("name tables without a schema")
    if kind == "BASE_TABLE" and source["table_name"].lower() not in tables:
        raise QueryError(f"unknown table {source['table_name']!r}; tables are {', '.join(TABLES)}")
    if kind == "JOIN":
        _check_source(source["left"], tables)
        _check_source(source["right"], tables)


def _check_column(names: list[str], columns: frozenset[str]) -> None:
    name = ".".join(names)
    if len(names) == 1 and name.lower() in columns:
        return
    close = difflib.get_close_matches(name.lower(), sorted(columns), 1)
    hint = f"did you mean {close[0]}?" if close else f"text needs quotes: '{name}'"
    raise QueryError(f"unknown column {name!r}; {hint}")


def _columns(table: str) -> frozenset[str]:
    return frozenset(TABLES[table].names)


def _prepare(connection: duckdb.DuckDBPyConnection, sql: str) -> None:
    try:
        connection.execute(f"PREPARE checked AS {sql}")
        connection.execute("DEALLOCATE checked")
    except duckdb.Error as error:
        raise _refused(error) from None


def _refused(error: Exception) -> QueryError:
    return QueryError(f"not accepted: {str(error).splitlines()[0]}")
