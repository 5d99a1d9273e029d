"""The subcommands that show the units' status."""
