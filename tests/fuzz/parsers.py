"""All parsers that are fuzzed."""

from __future__ import annotations

from tests.fuzz.data_parsers import ARCHIVES, FOLDERS, PICTURES
from tests.fuzz.text_parsers import (
    COMMANDS,
    MEASURED,
    NETWORKS,
    OPTIONS,
    OUTPUTS,
    RECORDS,
    STORAGES,
    TEMPLATES,
)

PARSERS = (PICTURES, FOLDERS, ARCHIVES, RECORDS, NETWORKS, MEASURED, STORAGES, COMMANDS, OPTIONS, OUTPUTS, TEMPLATES)
