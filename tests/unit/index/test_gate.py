"""What a query may be, and what is refused."""

import pytest

from radio_io.errors import QueryError
from radio_io.index.catalog import open_index
from radio_io.index.gate import checked_predicate, checked_select

HONEST = """
region='Knee'
region ilike 'kn%' and rows > 100
region in ('Knee', 'Hand') or laterality is null
rows between 100 and 2000
kvp between 40 and 120 and patient_sex = 'M'
regexp_matches(model, '^Digital')
year(study_date_shifted) >= 2000
study_date_shifted > date '2005-01-01' - interval 3 month
not lossy
true
lower(region) = 'knee'
case when rows > 1000 then true else false end
coalesce(laterality, 'U') <> 'L'
rows * columns < 4000000
length(key) = 32
region='Knee' --
bits_stored = 12
abs(rows - columns) < 100
split <> 'test'
region = 'Knee' and view_position = 'AP' and laterality = 'R'
polarity_suspect > 0.8 or polarity_conflict
content_fraction < 0.1
round(pixel_spacing_row_mm, 2) = 0.15
manufacturer is not null and manufacturer <> 'OTHER'
exposure_mas > 10 and not is_synthetic
patient_age_years >= 65
substring(key, 1, 1) in ('0', '1', '2')
greatest(rows, columns) / least(rows, columns) > 2
uid_conflict or pixel_duplicate
starts_with(region, 'C')
""".strip().splitlines()
ATTACKS = """
regoin='Knee'
region=Knee
1=1; drop table images
1=1) union all (select 1
1=1) or (1=1
exists(from read_text('/etc/passwd'))
region in (select name from duckdb_settings())
repeat(region, 100000000) = 'x'
current_setting('threads') > 1
region='Knee' limit 5
count(*) > 1
rowid < 10
case when rows>1 then true else error('x') end
region like repeat('%a', 10)
getenv('HOME') is null
key in (select path from shards)
images.region = 'Knee'
list_transform([1], x -> x) is null
region = (select 1)
rows in (from range(10))
read_text('/etc/passwd') is null
nextval('s') > 0
""".strip().splitlines()
HONEST_SELECTS = """
select region, count(*) from images group by all order by 2 desc
select i.key, s.path from images i join shards s using (shard_id) limit 3
select reason, sum(num_files) from rejects group by reason
select * from (select region, avg(rows) r from images group by region) where r > 10
select region from images union select region from images
select distinct split from images
select count(distinct patient_key) from images where split = 'train'
with a as (select * from images) select * from a
with a as (select rows from images where region = 'Knee'), b as (select * from a where rows > 10) select count(*) from b
with a as materialized (select region, count(*) from images group by 1) select * from a join images using (region)
with a(r, n) as (select region, count(*) from images group by 1) select r from a union select region from images
with A as (select split from images) select count(*) from a x, a y where x.split = y.split
select * from (with q as (select region from images) select distinct region from q)
with a as (select max(rows) m from images) select key from images where rows = (select m from a)
with a as (select 1 x) select key from images where 1 in (with b as (select x from a) select x from b)
with a as (with b as (select rows from images) select max(rows) m from b) select m from a
with recursive a as (select region from images) select * from a limit 1
""".strip().splitlines()
SELECT_ATTACKS = """
select * from read_text('/etc/passwd')
select * from '/etc/passwd'
select * from read_csv('/etc/passwd')
select * from duckdb_settings()
select * from duckdb_settings
select * from sqlite_master
select * from information_schema.tables
select * from pg_catalog.pg_tables
select * from query('select 1')
select * from query_table('images')
select * from range(1000000000)
select * from generate_series(1, 1000000000)
select repeat('a', 1000000000)
select getenv('HOME')
select current_setting('temp_directory')
with recursive a as (select 1 union all select 1 from a) select * from a
attach '/tmp/x.duckdb'
copy images to '/tmp/x.csv'
install httpfs
load httpfs
pragma database_list
set threads = 9
create table t as select 1
insert into images select * from images
drop table images
delete from images
export database '/tmp/x'
select 1; select 2
call pragma_version()
explain select 1
select * from images where key in (select key from duckdb_tables)
select (select content from read_text('/etc/passwd'))
with a as (select * from read_text('/etc/passwd')) select * from a
with a as (select * from '/etc/passwd') select * from a
with a as (from range(1000000000)) select * from a
with a as (select getenv('HOME')) select * from a
with a as (select * from duckdb_settings) select * from a
with a as (with b as (select * from glob('*')) select * from b) select * from a
with images as (select 1) select * from images
with IMAGES as (select 1) select * from images
with a as (select 1), b as (select * from c), c as (select 1) select * from b
with a as (select * from a) select * from a
with recursive a as (select * from a) select * from a
with recursive a(x) using key (x) as (select 1 union select x from a) select * from a
with b as (with recursive a as (select 1 union all select 1 from a) select * from a) select * from b
(with sqlite_master as (select 1) select * from sqlite_master) union all select * from sqlite_master
(with a as (select 1) select * from a) union all (select * from a)
select * from (with a as (select 1) select * from a), a
with duckdb_settings as (select 1) select * from duckdb_settings
with pg_tables as (select 1) select * from pg_tables
with "a.csv" as (select 1) select * from "a.csv"
with "/etc/passwd" as (select 1) select * from "/etc/passwd"
with a as (select 1 x) select * from (with a as (select 2 y) select * from a)
with a as (delete from images returning *) select * from a
with a as (insert into images select * from images returning *) select * from a
with a as (update images set rows = 1 returning *) select * from a
with a as (values (1)) select * from a
with a as (select 1) insert into images select * from a
with a as (select 1) select * from main.a
with a as (select 1) select * from memory.main.a
with a as (pivot images on region using count(*)) select * from a
with a as (describe images) select * from a
select * from images, lateral (select * from glob('*'))
values (1)
select unnest(range(1000000000))
select * from memory.images
select * from glob('/**')
select hash(key) from images
pivot images on region using count(*)
describe images
show tables
vacuum
checkpoint
""".strip().splitlines()


@pytest.fixture(scope="module")
def connection(built):
    with open_index(built.root) as opened:
        yield opened


@pytest.mark.parametrize("predicate", HONEST)
def test_accepts(connection, predicate):
    condition = checked_predicate(connection, predicate)
    assert connection.execute(f"SELECT count(*) FROM images WHERE ({condition})").fetchone() is not None


@pytest.mark.parametrize("predicate", [*ATTACKS, "region='x' or " * 20_000 + "true", "region = 'a\0b'"])
def test_refuses(connection, predicate):
    with pytest.raises(QueryError):
        checked_predicate(connection, predicate)


@pytest.mark.parametrize("sql", HONEST_SELECTS)
def test_accepts_a_select(connection, sql):
    assert connection.execute(checked_select(connection, sql)).fetchall() is not None


@pytest.mark.parametrize("sql", SELECT_ATTACKS)
def test_refuses_a_select(connection, sql):
    with pytest.raises(QueryError):
        checked_select(connection, sql)


def test_suggests_what_was_meant(connection):
    with pytest.raises(QueryError, match="did you mean region"):
        checked_predicate(connection, "regoin='Knee'")
    with pytest.raises(QueryError, match="text needs quotes: 'Knee'"):
        checked_predicate(connection, "region=Knee")
