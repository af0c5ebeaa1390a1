"""Pseudonyms and their key."""

import hashlib
import hmac
import os
import pickle
import stat
import subprocess
import sys
import threading
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from radio_io.errors import KeyFileError
from radio_io.privacy.pseudonyms import Pseudonymizer, person_of

KEY = bytes(range(32))
PSEUDONYMS = Pseudonymizer(KEY)
OTHERS = Pseudonymizer(bytes(32))
# Headers hold any code point, lone surrogates included.
ANY_TEXT = st.text(st.characters(exclude_categories=[]), max_size=400)
IDENTIFIERS = ANY_TEXT.filter(lambda text: text.strip(" \t\r\n\0") == text and text != "")


def test_is_the_documented_hmac():
    """Fixed by the format: another value would lose the link to datasets that exist already."""
    message = b"radio-pseudonym-v1" + b"5:study" + b"1:0" + b"7:1.2.3.4"
    assert PSEUDONYMS.study("1.2.3.4") == hmac.new(KEY, message, hashlib.sha256).hexdigest()[:32]


@given(uid=IDENTIFIERS)
def test_agrees_for_one_key_and_not_for_another(uid):
    again = Pseudonymizer(KEY)
    for name in ("study", "series", "instance", "device"):
        pseudonym = getattr(PSEUDONYMS, name)(uid)
        assert pseudonym == getattr(again, name)(uid)
        assert pseudonym != getattr(OTHERS, name)(uid)
        assert len(pseudonym) == 32
        assert set(pseudonym) <= set("0123456789abcdef")


@given(one=IDENTIFIERS, other=IDENTIFIERS)
def test_differs_for_different_identifiers(one, other):
    assert (PSEUDONYMS.study(one) == PSEUDONYMS.study(other)) == (one == other)


@given(parts=st.lists(ANY_TEXT, min_size=2, max_size=4), cut=st.integers(0, 800))
def test_depends_on_where_the_parts_are_cut(parts, cut):
    joined = "".join(parts)
    moved = (joined[: cut % (len(joined) + 1)], joined[cut % (len(joined) + 1) :])
    same = tuple(parts) == moved
    assert (PSEUDONYMS.keyed_hash("d", *parts) == PSEUDONYMS.keyed_hash("d", *moved)) == same


@given(uid=IDENTIFIERS)
def test_separates_the_domains(uid):
    pseudonyms = {
        PSEUDONYMS.patient(f"P{uid}"),
        PSEUDONYMS.study(f"P{uid}"),
        PSEUDONYMS.series(f"P{uid}"),
        PSEUDONYMS.instance(f"P{uid}"),
        PSEUDONYMS.device(f"P{uid}"),
    }
    assert len(pseudonyms) == 5


def test_ignores_padding_and_nothing_else():
    assert PSEUDONYMS.patient(" 4711\0") == PSEUDONYMS.patient("4711")
    assert PSEUDONYMS.patient("04711") != PSEUDONYMS.patient("4711")
    assert PSEUDONYMS.patient("ab") != PSEUDONYMS.patient("AB")


def test_tells_equal_ids_of_two_issuers_apart():
    assert PSEUDONYMS.patient("4711", "A") != PSEUDONYMS.patient("4711", "B")
    assert PSEUDONYMS.patient("47", "11") != PSEUDONYMS.patient("4711", "")
    assert person_of(PSEUDONYMS.patient("47", "11")) != person_of(PSEUDONYMS.patient("4711", ""))


@given(patient_id=IDENTIFIERS, issuers=st.lists(ANY_TEXT, min_size=2, max_size=3))
def test_keeps_a_patient_in_one_split_whether_the_issuer_is_named_or_not(patient_id, issuers):
    """Without this, a patient whose issuer is named on some files only would be in training and in test."""
    keys = [PSEUDONYMS.patient(patient_id, issuer, "1.2.3") for issuer in ("", *issuers)]
    assert len({person_of(key) for key in keys}) == 1
    assert len({PSEUDONYMS.split_fraction(key) for key in keys}) == 1
    assert len({PSEUDONYMS.date_shift_days(key) for key in keys}) == 1
    assert len(set(keys)) <= len({issuer.strip(" \t\r\n\0") for issuer in ("", *issuers)})


@pytest.mark.parametrize(
    "empty", ["", "  ", "\0", "UNKNOWN", "unknown", "Anonymous", "N/A", "0", "000000", "----", "?"]
)
def test_never_makes_one_patient_of_empty_ids(empty):
    first = PSEUDONYMS.patient(empty, "HOSPITAL", "1.2.3", "1.2.3.4", "1.2.3.4.5", "digest")
    second = PSEUDONYMS.patient(empty, "HOSPITAL", "1.2.4", "1.2.3.4", "1.2.3.4.5", "digest")
    assert first != second
    assert first == PSEUDONYMS.patient("", "", "1.2.3", "other", "other", "other")
    assert PSEUDONYMS.patient(empty) not in {first, second}


def test_falls_back_from_study_to_series_to_instance_to_content():
    chain = ["1.2.3", "1.2.4", "1.2.5", "digest"]
    keys = {PSEUDONYMS.patient("", "", *[""] * empty, *chain[empty:]) for empty in range(4)}
    assert len(keys) == 4
    assert PSEUDONYMS.study("", "1.2.3") != PSEUDONYMS.study("1.2.3")


def test_keeps_two_images_of_one_instance_apart():
    instance = PSEUDONYMS.instance("1.2.3")
    assert PSEUDONYMS.image_key(instance, "aa") != PSEUDONYMS.image_key(instance, "bb")
    assert PSEUDONYMS.image_key(instance, "aa") == PSEUDONYMS.image_key(instance, "aa")


def test_shifts_by_whole_weeks_up_to_five_years():
    shifts = Counter(PSEUDONYMS.date_shift_days(f"patient {index}") for index in range(20_000))
    assert all(days % 7 == 0 for days in shifts)
    assert (min(shifts), max(shifts)) == (7, 1820)
    assert len(shifts) == 260
    # 77 expected in each; 40 is 4.2 standard deviations away.
    assert min(shifts.values()) > 40


def test_spreads_patients_evenly_over_the_fraction():
    fractions = [PSEUDONYMS.split_fraction(PSEUDONYMS.patient(f"P{index}")) for index in range(20_000)]
    assert all(0 <= fraction < 1 for fraction in fractions)
    # 3.5 standard deviations of a share of 0.8 among 20,000.
    assert abs(sum(fraction < 0.8 for fraction in fractions) / 20_000 - 0.8) < 0.01


def test_keeps_the_fraction_of_a_patient():
    """Fixed by the format: another value would move patients of datasets that exist already."""
    assert PSEUDONYMS.split_fraction("a" * 32) == 0.38438414568950485
    assert PSEUDONYMS.patient("4711", "HOSPITAL") == "04ef079e954aca3d2ec16f1cbde42143"


def test_agrees_in_another_process_with_another_hash_seed():
    program = (
        "from radio_io.privacy.pseudonyms import Pseudonymizer as P\n"
        "p = P(bytes(range(32))); k = p.patient('Ä\\udc80', 'H')\n"
        "print(k, p.study('1.2'), p.split_fraction(k), p.date_shift_days(k))"
    )
    key = PSEUDONYMS.patient("Ä\udc80", "H")
    expected = (key, PSEUDONYMS.study("1.2"), PSEUDONYMS.split_fraction(key), PSEUDONYMS.date_shift_days(key))
    for seed in ("0", "4711"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "TZ": "Asia/Tokyo", "LC_ALL": "C"}
        done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, check=True)
        assert done.stdout.decode().split() == [str(value) for value in expected]


@pytest.mark.slow
def test_has_no_collision_among_ten_million():
    values = np.empty((10_000_000, 2), "u8")
    for index in range(len(values)):
        values[index] = np.frombuffer(bytes.fromhex(PSEUDONYMS.instance(f"1.2.{index}")), "u8")
    order = np.lexsort((values[:, 1], values[:, 0]))
    ordered = values[order]
    assert not (ordered[1:] == ordered[:-1]).all(axis=1).any()
    # Also in half of the digits, as the pseudonyms of patients have it: 2.7e-6 is how likely one collision is.
    assert (ordered[1:, 0] != ordered[:-1, 0]).all()


def test_pickles_and_hides_its_key():
    copy = pickle.loads(pickle.dumps(PSEUDONYMS))
    assert copy.study("1.2") == PSEUDONYMS.study("1.2")
    assert KEY.hex() not in repr(PSEUDONYMS)
    assert PSEUDONYMS.key_id in repr(PSEUDONYMS)


def test_names_the_key_without_telling_it():
    assert len(PSEUDONYMS.key_id) == 16
    assert PSEUDONYMS.key_id != OTHERS.key_id
    assert PSEUDONYMS.key_id not in KEY.hex()


def test_makes_a_key_file_for_its_owner_alone(tmp_path):
    path = tmp_path / "pseudonym.key"
    old = os.umask(0)
    try:
        made = Pseudonymizer.create_file(path, tmp_path / "shards")
    finally:
        os.umask(old)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.stat().st_size == 32
    assert [child.name for child in tmp_path.iterdir()] == ["pseudonym.key"]
    assert Pseudonymizer.from_file(path, tmp_path / "shards").key_id == made.key_id


def test_makes_a_different_key_each_time(tmp_path):
    assert Pseudonymizer.create_file(tmp_path / "a").key_id != Pseudonymizer.create_file(tmp_path / "b").key_id


def test_never_overwrites_a_key(tmp_path):
    path = tmp_path / "pseudonym.key"
    key_id = Pseudonymizer.create_file(path).key_id
    with pytest.raises(KeyFileError, match="never overwritten"):
        Pseudonymizer.create_file(path)
    assert Pseudonymizer.from_file(path).key_id == key_id
    assert len(list(tmp_path.iterdir())) == 1


def test_lets_one_of_many_creators_win(tmp_path):
    path, made = tmp_path / "pseudonym.key", []

    def create():
        try:
            made.append(Pseudonymizer.create_file(path).key_id)
        except KeyFileError:
            made.append(None)

    threads = [threading.Thread(target=create) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [key_id for key_id in made if key_id] == [Pseudonymizer.from_file(path).key_id]


def test_works_where_there_are_no_hard_links(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    path = tmp_path / "pseudonym.key"
    key_id = Pseudonymizer.create_file(path).key_id
    assert Pseudonymizer.from_file(path).key_id == key_id
    with pytest.raises(KeyFileError, match="never overwritten"):
        Pseudonymizer.create_file(path)
    assert [child.name for child in tmp_path.iterdir()] == ["pseudonym.key"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o610, 0o777])
def test_refuses_a_key_that_others_may_touch(tmp_path, mode):
    path = tmp_path / "pseudonym.key"
    Pseudonymizer.create_file(path)
    path.chmod(mode)
    with pytest.raises(KeyFileError, match=f"{mode:04o}.*chmod 600"):
        Pseudonymizer.from_file(path)


@pytest.mark.parametrize("place", ["pseudonym.key", "train/pseudonym.key", "../shards/pseudonym.key"])
def test_refuses_a_key_inside_the_dataset(tmp_path, place):
    dataset = tmp_path / "shards"
    (dataset / "train").mkdir(parents=True)
    path = dataset / place
    with pytest.raises(KeyFileError, match="inside the dataset"):
        Pseudonymizer.create_file(path, dataset)
    assert not path.exists()
    Pseudonymizer.create_file(path)
    with pytest.raises(KeyFileError, match="inside the dataset"):
        Pseudonymizer.from_file(path, dataset)


def test_refuses_a_link_into_the_dataset(tmp_path):
    dataset = tmp_path / "shards"
    dataset.mkdir()
    Pseudonymizer.create_file(dataset / "key")
    (tmp_path / "link").symlink_to(dataset / "key")
    with pytest.raises(KeyFileError, match="inside the dataset"):
        Pseudonymizer.from_file(tmp_path / "link", dataset)


def test_takes_a_key_beside_the_dataset(tmp_path):
    (tmp_path / "shards").mkdir()
    (tmp_path / "shards.private").mkdir()
    Pseudonymizer.create_file(tmp_path / "shards.private" / "pseudonym.key", tmp_path / "shards")


@pytest.mark.parametrize("size", [0, 31, 33, 1000])
def test_refuses_a_key_of_another_size(tmp_path, size):
    path = tmp_path / "pseudonym.key"
    path.write_bytes(bytes(size))
    path.chmod(0o600)
    with pytest.raises(KeyFileError, match="expected 32"):
        Pseudonymizer.from_file(path)


def test_says_where_a_missing_key_was_looked_for(tmp_path):
    with pytest.raises(KeyFileError, match=r"no pseudonym key at .*missing"):
        Pseudonymizer.from_file(tmp_path / "missing")
    with pytest.raises(KeyFileError, match="cannot write"):
        Pseudonymizer.create_file(tmp_path / "no folder" / "key")


def test_refuses_a_fifo_and_a_folder_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "fifo", 0o600)
    (tmp_path / "folder").mkdir()
    for name in ("fifo", "folder"):
        with pytest.raises(KeyFileError, match="not a regular file"):
            Pseudonymizer.from_file(tmp_path / name)
