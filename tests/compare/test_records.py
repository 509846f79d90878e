"""What is written down comes back."""

import dataclasses
import math

import pytest

from keras_adamx.compare import files, records
from keras_adamx.compare.records import Entry, Evaluation, Machine, Plan, Run, Task

TASK = Task("points", "Points.", "accuracy", True, 0.7, 10, 4, 4, 16, 83)
ENTRY = Entry("adam", "keras_adamx.Adam", "warmup-cosine", {"beta_1": 0.8}, {})
PLAN = Plan(TASK, (ENTRY,), 0, (), (1000, 1001))
MACHINE = Machine(
    "jax", {"python": "3"}, "one", 2, 8, 1, 1, "2030-01-01T00:00:00+00:00"
)
RUN = Run(
    "adam", "test", {}, 1000, "failed", "the training loss is nan at step 8",
    (Evaluation(4, 0.5, 1.25, math.inf, math.nan),),
    None, 664, None, 0.25, 1.5,
)  # fmt: skip


@pytest.mark.parametrize("record", [PLAN, MACHINE], ids=lambda r: r.record)
def test_a_record_comes_back(record):
    assert records.from_line(records.to_line(record)) == record


def test_numbers_that_are_not_finite_come_back():
    found = records.from_line(records.to_line(RUN))
    [point] = found.curve
    assert math.isnan(point.value)
    assert point.loss == math.inf
    finite = dataclasses.replace(point, value=0.0)
    kept = dataclasses.replace(RUN.curve[0], value=0.0)
    assert dataclasses.replace(found, curve=(finite,)) == dataclasses.replace(
        RUN, curve=(kept,)
    )


@pytest.mark.parametrize("line", ["", "{}", "[]", '{"record": "run"}', "x"])
def test_what_is_no_record_is_refused(line):
    with pytest.raises(ValueError, match="not a record of a comparison"):
        records.from_line(line)


@pytest.mark.parametrize(("field", "value"), [("phase", "both"), ("status", "ok")])
def test_a_run_of_no_kind_is_refused(field, value):
    with pytest.raises(ValueError, match=f"{field}='{value}'"):
        dataclasses.replace(RUN, **{field: value})


def test_a_file_is_read_as_far_as_it_goes(tmp_path):
    file = files.File(tmp_path / "a.jsonl")
    file.add(PLAN, MACHINE, RUN)
    other = dataclasses.replace(RUN, seed=1001)
    whole = records.to_line(other)
    with file.path.open("a") as opened:
        opened.write(whole[:50])
    assert len(files.load(file.path).runs) == 1
    # What was cut off is taken away before the next record comes.
    assert len(file.begun().runs) == 1
    file.add(other)
    assert [run.seed for run in files.load(file.path).runs] == [1000, 1001]


def test_a_plan_that_was_cut_off_is_as_none(tmp_path):
    file = files.File(tmp_path / "a.jsonl")
    file.path.write_text(records.to_line(PLAN)[:40])
    assert file.begun() is None
    assert file.path.read_bytes() == b""


@pytest.mark.parametrize("text", ["some notes", "some notes\nof mine\n", "\n"])
def test_another_file_is_refused_and_stays(tmp_path, text):
    path = tmp_path / "notes.txt"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"not the file of|not a record"):
        files.File(path).begun()
    assert path.read_text() == text


def test_the_last_plan_holds(tmp_path):
    file = files.File(tmp_path / "a.jsonl")
    longer = dataclasses.replace(PLAN, test_seeds=(1000, 1001, 1002))
    file.add(PLAN, RUN, longer)
    assert files.load(file.path).plan == longer


def changed(name, value, of=PLAN):
    return dataclasses.replace(of, **{name: value})


TUNED = changed("searched", {"learning_rate": "0.1, 0.2"}, ENTRY)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            PLAN,
            changed("task", changed("steps", 12, TASK)),
            "steps: 10 in the file, 12",
        ),
        (PLAN, changed("test_seeds", (1000,)), "test_seeds"),
        (PLAN, changed("entries", ()), "optimizer 'adam': 'keras_adamx.Adam'"),
        (
            PLAN,
            changed("entries", (changed("schedule", "constant", ENTRY),)),
            "optimizer 'adam', schedule: 'warmup-cosine' in the file, 'constant' now",
        ),
        (
            changed("entries", (TUNED,), changed("trials", 2)),
            changed("entries", (TUNED,), changed("trials", 3)),
            "trials: 2 in the file, 3 now",
        ),
    ],
)
def test_another_plan_is_refused(old, new, said):
    with pytest.raises(ValueError, match="another plan") as error:
        files.continued(old, new)
    assert said in str(error.value)


def test_what_may_be_added_to_a_plan():
    other = changed("label", "adam2", ENTRY)
    target = changed("target", 0.9, TASK)
    new = Plan(target, (other, ENTRY), 0, (), (1000, 1001, 1002))
    found = files.continued(PLAN, new)
    assert found == changed("entries", (ENTRY, other), new)
