"""Files as they come: encodings, odd lines, packing, tables, text, buckets, folders of a hub."""

import csv
import gzip
import io
import json
from pathlib import Path
from typing import Any

import datasets
import obstore
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from obstore.store import S3Store

from tests.fakes.s3 import ACCESS, BUCKET, SECRET, S3Server
from tests.workers.data.conftest import Run, chat
from workers.data import lines, parsing
from workers.data.problems import Invalid

ROW = json.dumps(chat("Hi", "Héllo")).encode()
ONE = json.dumps(chat("Hi", "Héllo"), ensure_ascii=False).encode()


def documents(run: Run, data: Any, name: str = "train.jsonl", **plan: Any) -> int:
    found: int = run(data, name, **plan).report["train"]["documents"]
    return found


@pytest.mark.parametrize(
    ("data", "notes"),
    [
        (b"\xef\xbb\xbf" + ONE + b"\n", {"bom": 1}),
        (ONE + b"\r\n" + ONE + b"\r\n", {"crlf": 2}),
        (b"\n\n" + ONE + b"\n  \n" + ONE, {"blank_lines": 3}),
    ],
)
def test_what_is_odd_and_harmless_is_counted(run: Run, data: bytes, notes: dict[str, int]) -> None:
    ran = run(data)
    assert ran.report["rows"]["read"] == data.count(b"messages")
    assert {k: v for k, v in ran.report["notes"].items() if k in notes} == notes


@pytest.mark.parametrize(
    ("data", "line", "says"),
    [
        (ONE + b'\n{"messages": "\xff"}\n', 2, "is not UTF-8 (byte 15 of the line)"),
        (ROW.decode().encode("utf-16"), 0, "is UTF-16"),
        (ONE + b"\n\n" + ONE[:-1] + b"\n", 3, "is not JSON"),
        (ONE + b"\n" + ONE.replace(b"Hi", b"H\0i"), 2, "NUL"),
        (ONE + b"\n" + ONE.replace(b"Hi", b"H\\u0000i"), 2, "NUL"),
        (ONE + b"\n" + ONE.replace(b'{"role"', b'{"role": "user", "role"', 1), 2, "'role' is given twice"),
        (ONE + b"\n\xef\xbb\xbf" + ONE, 2, "is not JSON"),
        (b"", 0, "is empty"),
        (b"\n \n\r\n", 0, "holds no rows"),
        (b"{\n" + b'"messages": []}', 1, "write the object on one line"),
        (b'"Hi"\n', 1, "must be a JSON object"),
        (b"\x1f\x8b\x08broken", 0, "is broken gzip"),
        (gzip.compress(ONE, mtime=0)[:-6], 0, "is broken gzip"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_told_by_line(run: Run, data: bytes, line: int, says: str) -> None:
    ran = run(data)
    assert ran.problems[0][0] == line
    assert says in ran.problems[0][2]


def test_a_giant_line_is_told_and_not_held(run: Run) -> None:
    ran = run(ONE + b"\n" + b"x" * (lines.MAX_LINE + 1) + b"\n{}\n")
    assert [line for line, _, _ in ran.problems] == [2, 3]
    assert "put one row on each line" in ran.problems[0][2]


def test_a_file_that_unpacks_to_more_than_is_taken_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl.gz"
    path.write_bytes(gzip.compress(b"0" * 10_000_000))
    with pytest.raises(Invalid, match="has more than 5000000 bytes unpacked"):
        list(lines.pieces(path, "train.jsonl.gz", 5_000_000))


def test_a_missing_file_is_told(run: Run) -> None:
    ran = run(sources=[{"path": "nowhere.jsonl"}])
    assert ran.problems == [(0, "", "is not there")]


@pytest.mark.parametrize("name", ["rows.jsonl.gz", "rows.gz", "rows.jsonl"])
def test_packed_files_are_unpacked_whatever_their_name(run: Run, name: str) -> None:
    assert documents(run, gzip.compress(ONE + b"\n" + ONE), name) == 2


@pytest.mark.parametrize("indent", [None, 2])
def test_a_json_array_is_rows(run: Run, indent: int | None) -> None:
    rows = [chat(f"Number {n}", "one\ntwo") for n in range(30)]
    assert documents(run, json.dumps(rows, indent=indent).encode(), "rows.json") == 30
    rows[20] = {"messages": []}
    ran = run(json.dumps(rows, indent=2).encode(), "rows.json")
    (line, field, _) = ran.problems[0]
    assert field == "messages"
    assert json.dumps(rows, indent=2).splitlines()[line] == '    "messages": []'


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"[" + ONE, "line 1: the array does not end"),
        (b"[" + ONE + b"\n" + ONE + b"]", "line 2: there must be a comma"),
        (b"[\n" + ONE + b",\n{]", "line 3: the row here"),
        (b'[{"a": 1, "a": 2}]', "line 1: 'a' is given twice"),
    ],
)
def test_a_broken_array_is_told_by_line(run: Run, data: bytes, says: str) -> None:
    assert says in run(data, "rows.json").problems[0][2]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@settings(max_examples=40)
@given(
    st.lists(st.dictionaries(st.text(), JSON), max_size=5),
    st.sampled_from([None, 1, 3]),
    st.booleans(),
)
def test_any_array_is_read_element_by_element(
    rows: list[Any], indent: int | None, ascii_: bool
) -> None:
    text = json.dumps(rows, indent=indent, ensure_ascii=ascii_)
    numbered = list(enumerate(text.split("\n"), 1))
    found = list(parsing.elements(iter(numbered), 10_000))
    assert [value for _, value in found] == rows
    assert all("{" in numbered[line - 1][1] for line, _ in found)


def test_csv_has_its_names_in_the_first_line(run: Run) -> None:
    held = io.StringIO()
    writer = csv.writer(held)
    writer.writerows([["prompt", "completion"], ["a, b", 'say "x"\nand y'], ["c", "d"]])
    assert documents(run, held.getvalue().encode(), "rows.csv") == 2
    ran = run(held.getvalue().encode() + b"only one\n", "rows.csv")
    assert ran.problems == [(5, "", "has more or fewer fields than the first line has names")]


def test_parquet_and_arrow_are_rows(run: Run, tmp_path: Path) -> None:
    rows = [chat("Hi", "Hello"), chat("Ho", "Hey", weight=0)]
    rows[1]["messages"] += rows[0]["messages"]
    table = pa.Table.from_pylist(rows)
    pq.write_table(table, tmp_path / "rows.parquet")
    assert documents(run, (tmp_path / "rows.parquet").read_bytes(), "rows.parquet") == 2
    datasets.Dataset.from_list(rows).save_to_disk(str(tmp_path / "saved"))
    arrow = next((tmp_path / "saved").glob("*.arrow")).read_bytes()
    assert documents(run, arrow, "rows.arrow") == 2
    broken = (tmp_path / "rows.parquet").read_bytes()[:-9]
    assert "cannot be read as a table" in run(broken, "rows.parquet").problems[0][2]


def test_what_a_dataset_job_keeps_is_a_source_again(run: Run) -> None:
    rows = [chat("Hi", "Hello"), chat("Ho", "Hey")]
    first = run(rows, tokenise=False)
    kept = first.out / "train.parquet"
    again = run(sources=[{"path": str(kept), "name": "dsv"}])
    assert again.report["train"]["digest"] == first.report["train"]["digest"]
    assert sorted(p.name for p in first.out.iterdir()) == ["report.json", "train.parquet"]
    both = run(rows, rows=True)
    assert (both.out / "train.parquet").read_bytes() == kept.read_bytes()
    assert (both.out / "train").is_dir()


def test_a_text_file_is_documents_between_blank_lines(run: Run, text: Any) -> None:
    ran = run(b"One\ntwo\n\n\nThree\n", "book.txt", packing=False)
    read = [r["input_ids"] for r in datasets.load_from_disk(str(ran.out / "train"))]
    assert [text.decode(ids) for ids in read] == ["One\ntwo", "Three"]
    assert documents(run, b"word word word\n" * 4000, "book.txt", max_length=2000) >= 3


def test_objects_of_a_bucket_are_read_where_the_operator_allows_it(
    run: Run, s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = S3Store(
        BUCKET, endpoint=s3.url, access_key_id=ACCESS, secret_access_key=SECRET, region="us-east-1",
        client_options={"allow_http": True},
    )  # fmt: skip
    obstore.put(store, "open/a.jsonl", ONE + b"\n" + ONE)
    obstore.put(store, "open/more/b.jsonl.gz", gzip.compress(ONE))
    obstore.put(store, "private/c.jsonl", ONE)
    for name, value in s3.env().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PENSTOCK_DATA_BUCKETS", f"s3://{BUCKET}/open")
    uri = f"s3://{BUCKET}/open"
    assert documents(run, sources=[{"uri": f"{uri}/a.jsonl"}], data=None) == 2
    assert documents(run, sources=[{"uri": f"{uri}/"}], data=None) == 3
    for wrong, says in [
        (f"{uri}/none.jsonl", "There is no"),
        (f"{uri}/none/", "nothing under"),
        (f"s3://{BUCKET}/private/c.jsonl", "PENSTOCK_DATA_BUCKETS"),
        (f"s3://{BUCKET}/open/../private/c.jsonl", "PENSTOCK_DATA_BUCKETS"),
        (f"s3://{BUCKET}/opened/c.jsonl", "PENSTOCK_DATA_BUCKETS"),
        ("file:///etc/passwd", "must be s3://"),
    ]:
        assert says in run(sources=[{"uri": wrong}]).last["message"], wrong


def test_a_folder_is_read_as_a_hubs_dataset_would_be(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    (folder / "train.jsonl").write_bytes(ONE + b"\n" + ONE)
    (folder / "test.jsonl").write_bytes(ONE)
    assert documents(run, sources=[{"path": str(folder)}], data=None) == 2
    assert documents(run, sources=[{"path": str(folder), "split": "test"}], data=None) == 1
    ran = run(sources=[{"path": str(folder), "split": "none"}])
    assert "cannot be read" in ran.problems[0][2]


@pytest.mark.parametrize("name", ["tests/fakes", "../secret", "/etc", "no slash", "a/b/c"])
def test_a_name_that_is_none_of_a_hub_reads_nothing_here(run: Run, name: str) -> None:
    ran = run(sources=[{"hub": name}])
    assert "is not the name of a hub's dataset" in ran.problems[0][2]


def test_forms_of_several_files_are_found_one_by_one(run: Run, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(ONE)
    (tmp_path / "b.jsonl").write_bytes(b'{"prompt": "a", "completion": "b"}')
    (tmp_path / "c.jsonl").write_bytes(b'{"prompt": "a", "chosen": "b", "rejected": "c"}')
    given_ = [{"path": str(tmp_path / f"{one}.jsonl")} for one in "abc"]
    assert run(sources=given_[:2]).report["formats"] == {"chat": 1, "completion": 1}
    assert "make a set of each" in run(sources=given_).problems[0][2]
