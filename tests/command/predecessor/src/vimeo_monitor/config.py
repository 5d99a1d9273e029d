"""Stands for the predecessor's module: only the part that import-env reads, and a line that must not be run."""

import os
from pathlib import Path


class Config:
    def __init__(self):
        self.streams = {
            1: "1000001",
            2: "1000002",
            3: "1000003",
            4: "1000004",
            5: "1000005",
            6: "1000006",
        }


Path(os.environ["LIVEKEEP_TEST_WAS_RUN"]).touch()
