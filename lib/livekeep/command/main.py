"""livekeep: the operator's command. Reads states, the configuration and systemd's units; never decides what is shown.

A subcommand's module is imported only when it is called, so that `livekeep health` is fast. The subcommands of the other parts
are their launchers: this command imports no part.
"""

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

import livekeep
from livekeep.core import paths
from livekeep.core.errors import LivekeepError
from livekeep.system import terminal

MOST_SECONDS = 86400.0
LAUNCHERS = {"tv": "screen", "record": "record", "alert": "record", "report": "record", "clips": "record"}
"""The launchers of other parts, which parse their own arguments. So does `livekeep setup`, whose launcher belongs to the core."""

SUBCOMMANDS: dict[str, tuple[str, str]] = {
    "status": ("status.overview.run", "show what is on the screen, since when, why, and what each unit does"),
    "health": ("status.health.run", "print one line; exit code 0 ok, 1 degraded, 2 down, 3 unknown"),
    "probe": ("status.probe.run", "run a probe now and show its result, or show the last result of each"),
    "check-config": ("config.check_config.run", "check the configuration; print every problem"),
    "select": ("config.select.run", "select the stream to show, or list the streams"),
    "screenshot": ("screenshot.screenshot.run", "save what the TV shows now as a PNG"),
    "tv": ("", "switch the TV on or off until the next change of the plan, or show the plan"),
    "set-token": ("secrets.credential.set_token", "store the Vimeo token for the poller alone"),
    "set-web-password": ("secrets.set_web_password.run", "store the password of the web pages"),
    "doctor": ("doctor.doctor.run", "check everything that the screen and the channels depend on"),
    "air": ("channel.actions.run", "keep a channel on air: start, stop, show and check it"),
    "record": ("", "show jobs, their duration and their progress"),
    "alert": ("", "show open alerts, and the rules and channels of the messages"),
    "report": ("", "make a report on a period, as PDF, HTML or CSV"),
    "clips": ("", "show the clips that take off"),
    "import-env": ("config.import_env.run", "import the .env of vimeo-monitor"),
    "setup": ("", "ask what a new box needs, start what is installed, and report the result"),
    "card": ("card.user_data.run", "print cloud-init's user-data for a box that needs no keyboard"),
    "apply": ("config.apply.run", "apply the settings that systemd needs; restart the units whose settings changed"),
    "version": ("main.version", "print the version"),
}
"""Name: function and help; without a function, a launcher."""

Parser = argparse.ArgumentParser


def build_parser() -> Parser:
    purpose = "Keeps a live stream on the screen, and channels on air."
    parser = argparse.ArgumentParser(prog="livekeep", description=purpose, allow_abbrev=False)
    subparsers = parser.add_subparsers(dest="subcommand", metavar="SUBCOMMAND", required=True)
    subcommands = {
        name: subparsers.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".", allow_abbrev=False)
        for name, (_function, text) in SUBCOMMANDS.items()
    }
    for name in ("status", "probe", "doctor"):
        json_argument(subcommands[name])
    probe, select, apply = subcommands["probe"], subcommands["select"], subcommands["apply"]
    probe.add_argument("name", nargs="?", metavar="NAME", help="the probe to run; without it, the last results of all")
    select.add_argument("name", nargs="?", metavar="NAME", help="the stream to show; without it, the streams are listed")
    select.add_argument("--names", action="store_true", help=argparse.SUPPRESS)
    subcommands["screenshot"].add_argument("file", metavar="FILE", help='the PNG to write; "-" is standard output')
    for name, secret in (("set-token", "the token"), ("set-web-password", "the password")):
        file_argument(subcommands[name], secret)
    doctor = subcommands["doctor"]
    doctor.add_argument("--fix", action="store_true", help="offer each change to the boot files, with a backup")
    doctor.add_argument("--yes", action="store_true", help="with --fix: accept all of them")
    import_env = subcommands["import-env"]
    import_env.add_argument("file", metavar="FILE", help="the .env file of vimeo-monitor")
    streams = import_env.add_mutually_exclusive_group()
    streams.add_argument("--source-tree", metavar="DIR", help="vimeo-monitor's source tree (default: the folder of FILE)")
    streams.add_argument("--streams", metavar="FILE", help="vimeo-monitor's config.py, which contains the event numbers")
    import_env.add_argument("--dry-run", action="store_true", help="show what would be imported; write nothing")
    apply.add_argument("--no-restart", action="store_true", help="write only; the display uses it at its next start")
    add_air_actions(subcommands["air"])
    add_card_options(subcommands["card"])
    return parser


def json_argument(parser: Parser) -> None:
    parser.add_argument("--json", action="store_true", help="print it for programs")


def file_argument(parser: Parser, content: str) -> None:
    help_text = f"the file with {content}; without it, the command asks, or reads a pipe"
    parser.add_argument("file", nargs="?", metavar="FILE", help=help_text)


def add_air_actions(parser: Parser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)

    def add(name: str, text: str, channel: str = "", nargs: str | None = "?") -> Parser:
        action = actions.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".", allow_abbrev=False)
        if channel:
            action.add_argument("channel", nargs=nargs, metavar="CHANNEL", help=channel)
        return action

    name, only = "the channel's name", "the channel's name; not needed if there is only one"
    add("start", "put a channel on air, now and after each boot", only)
    add("stop", "take a channel off air until it is started again", only)
    add("restart", "end a channel's connection and start again with the current configuration", only)
    add("skip", "end the current item and start the next one", only)
    text = "show what is on air, since when, what comes next, and errors (--json for programs)"
    status = add("status", text, f"{name}; without it, all channels")
    status.add_argument("--names", action="store_true", help=argparse.SUPPRESS)
    check = add("check", "test everything that a channel needs except publishing, and each item (--json for programs)", only)
    measure = add("measure", "play a stream as a viewer does, and report how evenly it arrives (--seconds N, --json)")
    measure.add_argument("url", metavar="URL", help="the URL that a player opens; - reads it from standard input")
    measure.add_argument("--seconds", metavar="N", type=seconds, default=60.0, help="for how long (default: 60)")
    for action in (status, check, measure):
        json_argument(action)
    file_argument(add("set-key", "store a channel's stream key for its worker alone", name, nargs=None), "the stream key")
    add("bind-key", "let the stored stream key go to the servers that the channel names now", name, nargs=None)
    file_argument(add("set-storage-keys", "store the id and the secret of the storage key"), "both, one on each line")
    file_argument(add("set-api-token", "store the API's token, or create one and print it once"), "the token")
    file_argument(add("set-youtube-key", "store the API key for asking YouTube whether it shows the channels"), "the API key")


def add_card_options(parser: Parser) -> None:
    add = parser.add_argument
    settings = parser.add_mutually_exclusive_group()
    settings.add_argument("--event", metavar="NUMBER", help="the Vimeo event to show, as in vimeo.com/event/NUMBER")
    settings.add_argument("--settings", metavar="FILE", help="a livekeep.toml, instead of --event")
    add("--token-file", metavar="FILE", help="the file with the Vimeo token; - is standard input")
    add("--wifi", metavar="SSID", help="the name of the Wi-Fi; without it, the box uses a cable")
    add("--wifi-password-file", metavar="FILE", help="the file with the password of the Wi-Fi; without it, the Wi-Fi is open")
    add("--country", metavar="XX", help="the country that the Wi-Fi's radio rules are for, such as DE")
    add("--hostname", metavar="NAME", default="livekeep", help="the box's name in the network (default: livekeep)")
    add("--user", metavar="NAME", default="admin", help="the user for ssh (default: admin), who may use sudo")
    add("--ssh-key", metavar="FILE", help="the file with that user's public key")
    add("--password-file", metavar="FILE", help="the file with that user's password, or its hash; without both nobody can log in")
    add("--time-zone", metavar="ZONE", help="such as Europe/Berlin")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--repository", metavar="URL", help="the apt repository with livekeep's packages")
    source.add_argument("--packages-on-card", action="store_true", help="the packages (*.deb) are on the card, beside user-data")
    source.add_argument("--installed", action="store_true", help="livekeep is in the image already")
    add("--repository-key", metavar="FILE", help="the repository's public key, livekeep.gpg")
    add("--packages", metavar="NAMES", default="livekeep-screen livekeep-health", help="default: livekeep-screen livekeep-health")


def seconds(text: str) -> float:
    value = float(text)
    if not 0 < value <= MOST_SECONDS:
        raise argparse.ArgumentTypeError(f"must be more than 0 and at most {MOST_SECONDS:g}, is {text}")
    return value


def main(argv: Sequence[str] | None = None) -> int:
    """Run a subcommand; returns its exit code: 0 ok, 1 failure, 2 usage, 78 configuration, or the subcommand's own."""
    words = sys.argv[1:] if argv is None else list(argv)
    # All arguments after these, --help included, belong to the launcher.
    if words and words[0] in (*LAUNCHERS, "setup"):
        return terminal.exit_code(lambda: launch(words[0], words[1:]))
    arguments = build_parser().parse_args(words)
    return terminal.exit_code(lambda: run(arguments))


def launch(subcommand: str, arguments: Sequence[str]) -> int:
    """Execute the launcher of `subcommand` in this process. Raises `LivekeepError` if it is absent."""
    program = paths.PROGRAM_DIRECTORY / f"livekeep-{subcommand}"
    try:
        os.execv(program, [str(program), *arguments])  # noqa: S606 – no shell is wanted
    except FileNotFoundError:
        part = LAUNCHERS.get(subcommand, "screen")
        raise LivekeepError(f"the {part} part is not installed: run install.sh --with {part}") from None
    except OSError as error:
        raise LivekeepError(f"{program}: cannot be run ({error.strerror})") from error


def run(arguments: argparse.Namespace) -> int:
    name, _, function = SUBCOMMANDS[arguments.subcommand][0].rpartition(".")
    module = importlib.import_module(f"livekeep.command.{name}")
    try:
        return int(getattr(module, function)(arguments))
    except LivekeepError as error:
        if not hasattr(module, "EXIT_ON_ERROR"):
            raise
        terminal.say_block(str(error), sys.stderr)
        return int(module.EXIT_ON_ERROR)


def version(_arguments: argparse.Namespace) -> int:
    terminal.say(f"livekeep {livekeep.__version__}")
    return 0
