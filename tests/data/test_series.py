"""Series from a table: what is read, and which cells are refused with which words."""

import json

import numpy as np
import pyarrow as pa
import pytest

from hfseq.data.series import SeriesDataSettings, _tell_apart, load_series
from hfseq.data.series_columns import numbers, time_values

HEAD = "time,shop,sales,visitors,holiday\n"
ROWS = [
    "2024-01-01,north,12.5,310,1",
    "2024-01-02,north,17.0,402,0",
    "2024-01-03,north,16.0,390,0",
    "2024-01-02,south,5.0,90,0",
    "2024-01-03,south,6.5,95,0",
]
COLUMNS = {
    "time_column": "time",
    "group_column": "shop",
    "target_columns": ["sales"],
    "known_columns": ["holiday"],
}


def table(tmp_path, rows=ROWS, head=HEAD, **options):
    path = tmp_path / "shops.csv"
    path.write_text(head + "\n".join(rows) + "\n", encoding="utf-8")
    return load_series(SeriesDataSettings(path=str(path), **{**COLUMNS, **options}))


def changed(row, column, value):
    """The rows with another cell."""
    cells = [line.split(",") for line in ROWS]
    cells[row][column] = value
    return [",".join(line) for line in cells]


def test_series_of_any_lengths_share_one_axis_of_time(tmp_path):
    read = table(tmp_path)
    assert [each.name for each in read.series] == ["north", "south"]
    assert [each.steps.tolist() for each in read.series] == [[0, 1, 2], [1, 2]]
    assert read.axis == ["2024-01-01", "2024-01-02", "2024-01-03"]
    assert read.columns == ["sales", "visitors", "holiday"]
    np.testing.assert_array_equal(read.series[0].observed, [[12.5, 310], [17, 402], [16, 390]])
    np.testing.assert_array_equal(read.series[1].known, [[0], [0]])


def test_without_times_every_series_begins_at_step_0(tmp_path):
    read = table(tmp_path, time_column=None, feature_columns=["visitors"])
    assert [each.steps.tolist() for each in read.series] == [[0, 1, 2], [0, 1]]


def test_json_and_parquet_read_as_csv_does(tmp_path):
    import pandas as pd

    expected = table(tmp_path).series
    frame = pd.read_csv(tmp_path / "shops.csv")
    frame.to_parquet(tmp_path / "shops.parquet")
    frame.assign(time=pd.to_datetime(frame["time"])).to_parquet(tmp_path / "dates.parquet")
    (tmp_path / "shops.jsonl").write_text("\n".join(json.dumps(row) for row in frame.to_dict("records")))
    for name in ("shops.parquet", "dates.parquet", "shops.jsonl"):
        read = load_series(SeriesDataSettings(path=str(tmp_path / name), **COLUMNS))
        for one, other in zip(expected, read.series, strict=True):
            np.testing.assert_array_equal(one.observed, other.observed)
            np.testing.assert_array_equal(one.steps, other.steps)


@pytest.mark.parametrize(
    ("row", "column", "value", "message"),
    [
        (1, 2, "", r"shops.csv, row 1: column 'sales' has no value \(1 rows have none\).*missing=mask"),
        (1, 3, "inf", r"row 1: column 'visitors' is inf.*missing=mask"),
        (2, 3, "many", r"row 2: column 'visitors' holds 'many', which is no number.*feature_columns"),
        (0, 4, "", r"row 0: column 'holiday' has no value"),
        (1, 1, "", r"row 1: column 'shop' is empty"),
        (1, 0, "yesterday", r"row 1: column 'time' holds 'yesterday', which is no time.*2024-03-31"),
        (1, 0, "2023-12-31", r"row 1: the time in column 'time' goes back of the series 'north'.*sort=true"),
        (2, 0, "2024-01-02", r"row 2: the time in column 'time' is that of row 1.*group_column"),
        (4, 1, "west", r"row 3: the only row of the series 'south'"),
    ],
)
def test_a_fault_names_data_row_column_value_and_cure(tmp_path, row, column, value, message):
    with pytest.raises(ValueError, match=message):
        table(tmp_path, changed(row, column, value))


def test_a_decimal_comma_is_told(tmp_path):
    rows = [row.replace("12.5", '"12,5"') for row in ROWS]
    with pytest.raises(ValueError, match="holds '12,5'.*point in place of the comma, or nothing where it marks thous"):
        table(tmp_path, rows)


def test_dates_written_as_numbers_are_told():
    days, counts = pa.table({"day": [20240131, 20240201]}), pa.table({"day": [20240131, 20240199]})
    with pytest.raises(ValueError, match="column 'day' holds dates such as 20240131: write them as 2024-01-31"):
        time_values(days, "day", "x.csv")
    assert time_values(counts, "day", "x.csv")[0].tolist() == [20240131, 20240199]


def test_series_that_are_read_as_one_are_told_of_the_column_that_names_them(tmp_path):
    days = pa.table({"shop": ["a", "b"]})
    with pytest.raises(ValueError, match="'shop' holds 'a'.*names the series is data.group_column"):
        numbers(days, ["shop"], "x.csv", allow_missing=False)
    assert "data.group_column" in _tell_apart(SeriesDataSettings(target_columns=["y"], path="x.csv"))


def test_missing_values_are_masked_where_that_is_asked_for(tmp_path):
    read = table(tmp_path, changed(1, 2, ""), missing="mask")
    np.testing.assert_array_equal(read.series[0].observed[:, 0], [12.5, np.nan, 16])
    with pytest.raises(ValueError, match="row 1: column 'sales' is -inf"):  # which is never missing
        table(tmp_path, changed(1, 2, "-inf"), missing="mask")


def test_rows_are_sorted_only_where_that_is_asked_for(tmp_path):
    mixed = [ROWS[1], ROWS[0], *ROWS[2:]]
    with pytest.raises(ValueError, match="goes back"):
        table(tmp_path, mixed)
    np.testing.assert_array_equal(table(tmp_path, mixed, sort=True).series[0].observed[:, 0], [12.5, 17, 16])


def test_a_step_of_another_length_is_told(tmp_path, caplog):
    table(tmp_path)
    assert not caplog.records
    table(tmp_path, [*ROWS[:3], "2024-01-09,north,11,300,0", "2024-01-10,north,12,300,0", *ROWS[3:]])
    assert "1 of 4 steps of the series 'north' are longer or shorter than the usual one, the first before row 3" in (
        caplog.text
    )


def test_months_are_even_steps(tmp_path, caplog):
    rows = [f"2024-{month:02d}-01,north,{month},1,0" for month in range(1, 13)]
    table(tmp_path, rows)
    assert not caplog.records


def test_a_constant_target_and_a_single_row_are_refused(tmp_path):
    with pytest.raises(ValueError, match="the target column 'sales' is 3 in every row"):
        table(tmp_path, [",".join([*row.split(",")[:2], "3", *row.split(",")[3:]]) for row in ROWS])
    with pytest.raises(ValueError, match=r"holds 1 row\(s\): a series has two steps or more"):
        table(tmp_path, ROWS[:1])


def test_unknown_columns_and_double_names_are_refused(tmp_path):
    with pytest.raises(ValueError, match="unknown column 'sale'; did you mean 'sales'"):
        table(tmp_path, target_columns=["sale"])
    with pytest.raises(ValueError, match="'sales' is named for two things"):
        table(tmp_path, known_columns=["sales"])
    with pytest.raises(ValueError, match="name one or more columns of numbers to predict, or one column of classes"):
        table(tmp_path, target_columns=[])
    with pytest.raises(ValueError, match="holds the splits train, test: series are cut by time"):
        path = str(tmp_path / "shops.csv")
        load_series(SeriesDataSettings(path={"train": path, "test": path}, **COLUMNS))


LABELS = {"target_columns": [], "label_column": "signal", "known_columns": [], "feature_columns": ["sales"]}


def test_labels_are_classes_by_name(tmp_path):
    head = HEAD.replace("holiday", "signal")
    rows = [row[:-1] + label for row, label in zip(ROWS, ["buy", "sell", "hold", "buy", "buy"], strict=True)]
    read = table(tmp_path, rows, head, **LABELS)
    assert read.classes == ["buy", "hold", "sell"]
    assert [each.labels.tolist() for each in read.series] == [[0, 2, 1], [0, 0]]
    rows[1] = rows[1].removesuffix("sell")
    with pytest.raises(ValueError, match="row 1: column 'signal' has no label"):
        table(tmp_path, rows, head, **LABELS)
    read = table(tmp_path, rows, head, missing="mask", **LABELS)
    assert read.series[0].labels.tolist() == [0, -100, 1]


def test_labels_may_be_whole_numbers_and_no_others(tmp_path):
    head = HEAD.replace("holiday", "signal")
    numbered = [row[:-1] + label for row, label in zip(ROWS, ["10", "2", "", "2", "10"], strict=True)]
    read = table(tmp_path, numbered, head, missing="mask", **LABELS)
    assert read.classes == ["2", "10"]
    assert read.series[0].labels.tolist() == [1, 0, -100]
    with pytest.raises(ValueError, match="holds 0.5, which is no class"):
        table(tmp_path, [row[:-1] + "0.5" for row in ROWS], head, **LABELS)
    with pytest.raises(ValueError, match=r"holds 1 class\(es\)"):
        table(tmp_path, [row[:-1] + "1" for row in ROWS], head, **LABELS)
