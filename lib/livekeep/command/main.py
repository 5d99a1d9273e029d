"""livekeep: the operator's command. Reads states, the configuration and systemd's units; never decides what is shown.

A subcommand's module is imported only when it is called, so that `livekeep health` is fast.
"""

import argparse
import importlib
import sys
from collections.abc import Callable, Sequence

import livekeep
from livekeep.command import record
from livekeep.core.errors import LivekeepError
from livekeep.system import terminal

MOST_SECONDS = 86400.0

Parser = argparse.ArgumentParser


def nothing(_parser: Parser) -> None:
    """A subcommand without arguments."""


def json_argument(parser: Parser) -> None:
    parser.add_argument("--json", action="store_true", help="print it for programs")


def probe_arguments(parser: Parser) -> None:
    parser.add_argument("name", nargs="?", metavar="NAME", help="the probe to run; without it the last results of all")
    json_argument(parser)


def select_arguments(parser: Parser) -> None:
    parser.add_argument("name", nargs="?", metavar="NAME", help="the stream to show; without it the streams are listed")
    parser.add_argument("--names", action="store_true", help=argparse.SUPPRESS)


def screenshot_arguments(parser: Parser) -> None:
    parser.add_argument("file", metavar="FILE", help='where the PNG goes; "-" is standard output')


def set_token_arguments(parser: Parser) -> None:
    parser.add_argument(
        "file", nargs="?", metavar="FILE", help="the file that holds the token; else it is asked for, or read from a pipe"
    )


def set_web_password_arguments(parser: Parser) -> None:
    parser.add_argument(
        "file", nargs="?", metavar="FILE", help="the file that holds the password; else it is asked for, or read from a pipe"
    )


def doctor_arguments(parser: Parser) -> None:
    json_argument(parser)
    parser.add_argument("--fix", action="store_true", help="offer each change to the boot files, with a backup")
    parser.add_argument("--yes", action="store_true", help="with --fix: answer yes to all of them")


def import_env_arguments(parser: Parser) -> None:
    parser.add_argument("file", metavar="FILE", help="the .env file of vimeo-monitor")
    streams = parser.add_mutually_exclusive_group()
    streams.add_argument("--source-tree", metavar="DIR", help="where vimeo-monitor's source lies (default: the folder of FILE)")
    streams.add_argument("--streams", metavar="FILE", help="vimeo-monitor's config.py itself, which holds the event numbers")
    parser.add_argument("--dry-run", action="store_true", help="show what would be taken over; write nothing")


def apply_arguments(parser: Parser) -> None:
    parser.add_argument("--no-restart", action="store_true", help="write only; the display takes it at its next start")


def seconds(text: str) -> float:
    found = float(text)
    if not 0 < found <= MOST_SECONDS:
        raise argparse.ArgumentTypeError(f"must be more than 0 and at most {MOST_SECONDS:g}, is {text}")
    return found


def air_arguments(parser: Parser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)

    def add(name: str, text: str) -> Parser:
        return actions.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".", allow_abbrev=False)

    def add_channel(action: Parser, meaning: str = "the channel's name; not needed when there is only one") -> None:
        action.add_argument("channel", nargs="?", metavar="CHANNEL", help=meaning)

    def add_file(action: Parser, content: str) -> None:
        action.add_argument(
            "file", nargs="?", metavar="FILE", help=f"the file that holds {content}; else asked for, or read from a pipe"
        )

    add_channel(add("start", "bring a channel on air, now and after each start of the machine"))
    add_channel(add("stop", "take a channel off air until it is started again"))
    add_channel(add("restart", "end a channel's connection and begin anew, with its configuration as it is now"))
    add_channel(add("skip", "leave the item that is playing for the next one"))
    status = add("status", "what is on air, since when, what comes next, and what went wrong (--json for programs)")
    add_channel(status, "the channel's name; without it all channels")
    json_argument(status)
    status.add_argument("--names", action="store_true", help=argparse.SUPPRESS)
    check = add("check", "try all that a channel needs but the publishing, and each of its items (--json for programs)")
    add_channel(check)
    json_argument(check)
    measure = add("measure", "play a stream as a viewer does, and say how evenly it comes (--seconds N; --json for programs)")
    measure.add_argument("url", metavar="URL", help="what a player would be given; - reads it from standard input")
    measure.add_argument("--seconds", metavar="N", type=seconds, default=60.0, help="for how long (default: 60)")
    json_argument(measure)
    set_key = add("set-key", "store a channel's stream key where only its worker gets it")
    set_key.add_argument("channel", metavar="CHANNEL", help="the channel's name")
    add_file(set_key, "the stream key")
    bind_key = add("bind-key", "let a stored stream key go to the servers that its channel names now")
    bind_key.add_argument("channel", metavar="CHANNEL", help="the channel's name")
    add_file(add("set-storage-keys", "store the id and the secret of the storage's key"), "both, one a line")
    add_file(add("set-api-token", "store the API's token, or make one and print it once"), "the token")
    add_file(add("set-youtube-key", "store the key by which YouTube is asked whether it shows the channels"), "the API key")


SUBCOMMANDS: dict[str, tuple[str, str, Callable[[Parser], None]]] = {
    "status": ("status.overview.run", "what is on the screen, since when, why, and what each unit does", json_argument),
    "health": ("status.health.run", "one line; exit code 0 ok, 1 degraded, 2 down, 3 cannot tell", nothing),
    "probe": ("status.probe.run", "run a probe now and show what it found, or what each found last", probe_arguments),
    "check-config": ("config.check_config.run", "check the configuration; print every problem", nothing),
    "select": ("config.select.run", "choose the stream to show, or list the streams", select_arguments),
    "screenshot": ("screenshot.screenshot.run", "save what the TV shows now as a PNG", screenshot_arguments),
    "set-token": ("secrets.credential.set_token", "store the Vimeo token where only the poller gets it", set_token_arguments),
    "set-web-password": ("secrets.set_web_password.run", "store the password of the web pages", set_web_password_arguments),
    "doctor": ("doctor.doctor.run", "check everything that the screen and the channels depend on", doctor_arguments),
    "air": ("channel.actions.run", "keep a channel on air: start it, stop it, look at it, check it", air_arguments),
    "record": ("record", "what jobs did, how long it took, how far they are", nothing),
    "alert": ("record", "what is wrong now, and the rules and channels of the messages about it", nothing),
    "report": ("record", "a report of some days, as PDF, HTML or CSV", nothing),
    "clips": ("record", "the clips that take off", nothing),
    "import-env": ("config.import_env.run", "take over the .env of vimeo-monitor", import_env_arguments),
    "setup": ("record", "ask what a new box needs, start what is installed, and report", nothing),
    "apply": (
        "config.apply.run",
        "put the display's settings in force, with a restart of the display when they changed",
        apply_arguments,
    ),
    "version": ("main.version", "print the version", nothing),
}
"""Name: function, help, arguments."""


def build_parser() -> Parser:
    purpose = "Keeps a live stream on the screen, and channels on air."
    parser = argparse.ArgumentParser(prog="livekeep", description=purpose, allow_abbrev=False)
    subparsers = parser.add_subparsers(dest="subcommand", metavar="SUBCOMMAND", required=True)
    for name, (_function, text, add_arguments) in SUBCOMMANDS.items():
        add_arguments(subparsers.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".", allow_abbrev=False))
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run a subcommand; returns its exit code: 0 ok, 1 failure, 2 usage, 78 configuration, or the subcommand's own."""
    words = sys.argv[1:] if argv is None else list(argv)
    # All arguments after these, --help included, belong to the launcher.
    if words and words[0] in (*record.LAUNCHERS, "setup"):
        return terminal.exit_code(lambda: record.hand_over(words[0], words[1:]))
    arguments = build_parser().parse_args(words)
    return terminal.exit_code(lambda: run(arguments))


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
