"""Objects of a store as sources, from a real S3 server over a connection that fails."""

import pytest

from radio_io import object_store
from radio_io.errors import UsageError
from radio_io.object_store import open_object_store, require_no_secret
from radio_io.progress import NoProgress
from radio_io.sharding.build import build_dataset, scan
from unit.sources.test_archives import CONTENTS, built, config_of, dicom, shards, unpacked, zip_of  # noqa: F401


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch):
    monkeypatch.setattr(object_store, "FIRST_PAUSE_S", 0.01)


def fill(bucket, contents, prefix="export/"):
    client, name = bucket
    for key, content in contents.items():
        client.put_object(Bucket=name, Key=prefix + key, Body=content)
    return f"s3://{name}/{prefix}"


def test_builds_the_shards_of_the_same_files_over_a_failing_connection(tmp_path, s3, bucket, unpacked):  # noqa: F811
    url = fill(bucket, CONTENTS)
    with s3.failing(every=2):
        summary = built(tmp_path, url)
        assert sum(s3.failures.values()) >= 6
        assert set(s3.failures) == {"error", "reset", "cut", "slow"}
    assert (summary.images, summary.rejects) == (6, {})
    assert shards(tmp_path / "d") == unpacked


@pytest.mark.slow
def test_builds_in_worker_processes_from_a_list_with_an_archive(tmp_path, s3, bucket, unpacked):  # noqa: F811
    first, *others = CONTENTS
    url = fill(bucket, {"a.zip": zip_of({name: CONTENTS[name] for name in others}), "1.dcm": CONTENTS[first]})
    summary = built(tmp_path, f"{url}a.zip", f"{url}1.dcm", workers=2)
    assert (summary.images, summary.rejects) == (6, {})
    assert shards(tmp_path / "d") == unpacked


def test_scans_by_ranges_and_only_what_is_new(tmp_path, s3, bucket):
    url = fill(bucket, {"1.dcm": dicom(60), "big.dcm": dicom(48) + bytes(3 << 20), "1.dcm2": b"", "folder/": b""})
    s3.requests.clear()
    assert scan(config_of(tmp_path, url), NoProgress()).found == 3
    ranges = [ranged for method, path, ranged in s3.requests if method == "GET" and path.endswith(".dcm")]
    assert sorted(ranges) == sorted({f"bytes=0-{min(len(dicom(60)), 32768) - 1}", "bytes=0-32767"})
    s3.requests.clear()
    assert scan(config_of(tmp_path, url), NoProgress()).found == 3
    assert [method for method, path, _ in s3.requests if "list-type" not in path] == []


def test_takes_one_object_and_not_its_neighbours(tmp_path, bucket):
    url = fill(bucket, {"1.dcm": dicom(40), "1.dcm2": dicom(48), "1.dcm/2": dicom(52)})
    assert scan(config_of(tmp_path, f"{url}1.dcm"), NoProgress()).images == 2


def test_rejects_what_is_not_there_or_denied(tmp_path, s3, bucket, monkeypatch):
    url = fill(bucket, {"1.dcm": dicom(40)})
    summary = scan(config_of(tmp_path, f"{url}nothing", "s3://no-such-bucket-here/x"), NoProgress())
    assert summary.rejects == {"VANISHED": 2}
    monkeypatch.setattr(s3, "refuse", lambda method, path: "list-type" in path)
    monkeypatch.setattr(object_store, "ATTEMPTS", 2)
    summary = scan(config_of(tmp_path, url, name="other"), NoProgress())
    assert summary.rejects == {"UNREADABLE": 1}


def test_notices_an_object_that_was_replaced(tmp_path, bucket):
    url = fill(bucket, {"1.dcm": dicom(40)})
    config = config_of(tmp_path, url)
    scan(config, NoProgress())
    fill(bucket, {"1.dcm": dicom(64)})
    assert built(tmp_path, url).images == 1


@pytest.mark.parametrize(
    "url", ["s3://user:planted@host/bucket", "https://host/a?X-Amz-Signature=planted", "s3://planted@b/c"]
)
def test_refuses_credentials_in_a_url_without_repeating_them(tmp_path, url):
    with pytest.raises(UsageError, match="environment") as refused:
        config_of(tmp_path, url)
    assert "planted" not in str(refused.value)
    with pytest.raises(UsageError):
        require_no_secret(url)


def test_keeps_credentials_out_of_everything_it_writes(tmp_path, bucket, capfd, monkeypatch):
    url = fill(bucket, {"1.dcm": dicom(40), "2.dcm": b"no image"})
    build_dataset(config_of(tmp_path, url), NoProgress())
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"planted-secret" not in written
    assert "planted-secret" not in "".join(capfd.readouterr())
    assert url.encode() not in b"".join(path.read_bytes() for path in (tmp_path / "d").rglob("*") if path.is_file())


def test_lists_pages_without_keeping_them(bucket, monkeypatch):
    client, name = bucket
    for number in range(30):
        client.put_object(Bucket=name, Key=f"many/{number:04}", Body=b"x")
    monkeypatch.setattr(object_store, "PAGE_OBJECTS", 7)
    found = [facts.url for facts in open_object_store("s3://x").below(f"s3://{name}/many")]
    assert found == [f"s3://{name}/many/{number:04}" for number in range(30)]
