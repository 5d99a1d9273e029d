"""A box without a keyboard: what a person writes to the card's boot partition in any computer, and how the box takes it over."""
