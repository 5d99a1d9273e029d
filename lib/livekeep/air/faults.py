"""Which faults of the configuration concern a program of the channels. Pure.

A mistake in a table that a program does not read must not keep it from its work: whose table it is tells of it.
"""

IN_FILE = ".toml: "


def concerns(problem: str, *tables: str) -> bool:
    """Whether a line of `config.load_leniently` is about one of `tables`, or about a file that could not be read at all."""
    _file, is_in_file, said = problem.partition(IN_FILE)
    # A key's place is "table.key", and what cannot be read has none: "/etc/livekeep/livekeep.toml: is not valid TOML: …".
    place, _, text = said.partition(": ")
    if not is_in_file or not text or " " in place:
        return True
    return any(place == table or place.startswith(f"{table}.") for table in tables)
