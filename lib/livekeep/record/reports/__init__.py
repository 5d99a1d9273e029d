"""Reports: the content of a day, a week or any period, as PDF, HTML, text and CSV."""

from livekeep.record.reports.making import FORMATS, SUFFIXES, TYPES, Format, make

__all__ = ["FORMATS", "SUFFIXES", "TYPES", "Format", "make"]
