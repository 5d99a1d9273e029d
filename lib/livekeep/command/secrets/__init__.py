"""The subcommands that store secrets."""
