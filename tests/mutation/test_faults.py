"""The deliberate faults are changes to the code as it is."""

from collections import Counter
from pathlib import Path

import pytest

import keras_adamx
from tests.mutation.faults import FAULTS

PACKAGE = Path(keras_adamx.__file__).parent


@pytest.mark.backend("torch")
def test_what_a_fault_changes_is_there_once():
    found = {
        fault.name: (PACKAGE / fault.file).read_text("utf-8").count(fault.right)
        for fault in FAULTS
    }
    assert {name: count for name, count in found.items() if count != 1} == {}
    assert [n for n, c in Counter(f.name for f in FAULTS).items() if c > 1] == []
