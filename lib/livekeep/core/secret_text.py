"""A secret as people hand it over: one cleaning for the command that stores it and for the units that are given it."""

QUOTES = {'"': '"', "'": "'", "“": "”", "„": "“", "”": "”", "‘": "’", "«": "»", "`": "`"}


def bare(text: str) -> str:
    """The secret in `text`, without what editors and copying put around it: space, a byte order mark, one pair of quotes.

    No secret that livekeep takes begins and ends with quotes.
    """
    secret = text.strip().strip("\ufeff\u200b").strip()
    if len(secret) >= 2 and QUOTES.get(secret[0]) == secret[-1]:
        return secret[1:-1].strip()
    return secret
