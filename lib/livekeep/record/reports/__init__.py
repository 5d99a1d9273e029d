"""Reports: what a day, a week or a time of somebody's choice brought, as PDF, HTML, text and CSV."""

from livekeep.record.reports.making import FORMATS, SUFFIXES, TYPES, Format, make

__all__ = ["FORMATS", "SUFFIXES", "TYPES", "Format", "make"]
