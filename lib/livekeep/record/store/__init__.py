"""The record's database: tables, writing, summaries, queries. Used by all programs of the record part."""
