"""livekeep card: prints cloud-init's user-data for a box that needs no keyboard. Standard library only: it runs on any machine.

cloud-init of Raspberry Pi OS (trixie) reads the file `user-data` on the boot partition at the first boot. JSON is YAML, so the
body is JSON, in ASCII: cloud-init would store anything else base64-encoded, where the token could not be overwritten.

- `users`, `hostname`, `timezone`: as given.
- `bootcmd`, at each boot and before the network: the Wi-Fi as a NetworkManager connection. So a corrected password on the card is
  in force at the next boot. (cloud-init's own network-config is a separate file, and is read once.)
- `write_files`, once: settings and token for livekeep-firstboot, which takes them over and wipes them; the package repository; a
  unit that installs the packages.
- `runcmd`, once: starts that unit, which tries again until the network works, and starts after cloud-init's last stage, so that
  cloud-init makes no more copies of the token.

Sources: cloud-init's module reference; nm-settings-keyfile(5); pi-gen's stage2/04-cloud-init.
"""

import argparse
import base64
import json
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from livekeep.command import file
from livekeep.command.card import wifi
from livekeep.command.secrets import credential
from livekeep.core import config, paths
from livekeep.core.errors import ConfigError, LivekeepError
from livekeep.system import terminal

FOLDER = "/var/lib/livekeep/card"
"""boot_partition.HANDED_OVER on the box."""
UNIT = "install-livekeep.service"
"""A name that begins with livekeep- would put it into the sandbox."""
KEYRING = "/etc/apt/keyrings/livekeep"
LARGEST_KEY_BYTES = 256 * 1024
PASSWORD_HASH = re.compile(r"\$(6|y|5|gy|7|2b)\$[^\s:]+")
HOSTNAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
USER = re.compile(r"[a-z_][a-z0-9_-]{0,31}")
TIME_ZONE = re.compile(r"[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*")
PACKAGE = re.compile(r"[a-z0-9][a-z0-9.+-]+")
GROUPS = "adm,dialout,audio,users,sudo,video,plugdev,input,netdev,render"
"""Those of Raspberry Pi OS's first user; cloud-init creates a missing one."""

SCRIPT = """\
#!/bin/sh
# Written by `livekeep card`: installs livekeep, tries again until it works, and removes itself.
set -eu
export DEBIAN_FRONTEND=noninteractive
apt-get -q update
apt-get -q -y -o DPkg::Lock::Timeout=600 --no-install-recommends install {packages}
systemctl disable --no-reload {unit}
rm -f /etc/systemd/system/{unit} {folder}/install
rmdir {folder} 2>/dev/null || true
"""
SERVICE = """\
# Written by `livekeep card`.
[Unit]
Description=livekeep: installs itself, as the card says
# cloud-init still copies the user-data until then.
After=cloud-final.service network-online.target
Wants=network-online.target
StartLimitIntervalSec=0

[Service]
Type=oneshot
ExecStart=/bin/sh {folder}/install
Restart=on-failure
RestartSec=20s

[Install]
WantedBy=multi-user.target
"""


def run(arguments: argparse.Namespace) -> int:
    """Print the user-data."""
    check(arguments)
    body = ascii_json(document(arguments))
    terminal.say("#cloud-config")
    terminal.say("# Written by `livekeep card`. It contains secrets: the first boot removes the token, not the Wi-Fi's password.")
    terminal.say_block(body)
    return 0


def ascii_json(content: Any) -> str:
    """JSON in ASCII that is YAML too: YAML's escape for a character such as an emoji is not JSON's pair of surrogates."""
    text = json.dumps(content, indent=1, ensure_ascii=False)
    return re.sub(r"[^\n -~]", lambda found: f"\\U{ord(found[0]):08x}", text)


def check(arguments: argparse.Namespace) -> None:
    """Raises `LivekeepError` for an argument that the box could not use: there, nobody would see why."""
    for name, pattern, what in (
        ("event", re.compile(r"[0-9]+"), "a number, as in vimeo.com/event/NUMBER"),
        ("country", re.compile(r"[A-Z]{2}"), "two capital letters, such as DE"),
        ("hostname", HOSTNAME, "letters, digits and -"),
        ("user", USER, "small letters, digits, - and _"),
        ("time_zone", TIME_ZONE, "a name such as Europe/Berlin"),
        ("repository", re.compile(r"(https?|file)://?[!-~]+"), "a URL"),
        ("packages", re.compile(rf"{PACKAGE.pattern}( {PACKAGE.pattern})*"), "names with blanks between them"),
    ):
        value = getattr(arguments, name)
        if value is not None and not pattern.fullmatch(value):
            raise LivekeepError(f"--{name.replace('_', '-')} {value}: must be {what}")
    if arguments.repository and not arguments.repository_key:
        raise LivekeepError("--repository: needs --repository-key, or apt would refuse its packages")
    if arguments.wifi and not arguments.country:
        raise LivekeepError("--wifi: needs --country, or the Wi-Fi stays switched off")


def document(arguments: argparse.Namespace) -> dict[str, Any]:
    """The cloud-config. Raises `LivekeepError` for a file that cannot be read or used."""
    result: dict[str, Any] = {
        "hostname": arguments.hostname,
        "manage_etc_hosts": True,
        "users": [user(arguments)],
        "ssh_pwauth": bool(arguments.password_file),
    }
    if arguments.time_zone:
        result["timezone"] = arguments.time_zone
    if arguments.wifi:
        result["bootcmd"] = [["sh", "-c", wifi.script(arguments.wifi, wifi_password(arguments), arguments.country)]]
    result["write_files"] = [*handed_over(arguments), *repository(arguments), *installer(arguments)]
    can_log_in = arguments.ssh_key or arguments.password_file
    # The wizard for the first user would wait on the TV. Where there is none, it is no fault.
    commands = ["systemctl disable --now userconfig.service 2>/dev/null || true"]
    commands += ["systemctl enable --now ssh.service || true"] if can_log_in else []
    last = f"systemctl enable {UNIT} && systemctl start --no-block {UNIT}"
    commands.append("systemctl restart --no-block livekeep-firstboot.service" if arguments.installed else last)
    result["runcmd"] = [["sh", "-c", command] for command in commands]
    return result


def user(arguments: argparse.Namespace) -> dict[str, Any]:
    account: dict[str, Any] = {
        "name": arguments.user,
        "groups": GROUPS,
        "shell": "/bin/bash",
        "lock_passwd": not arguments.password_file,
        "sudo": "ALL=(ALL) NOPASSWD:ALL",
    }
    if arguments.ssh_key:
        keys = [line for line in file.read_text(Path(arguments.ssh_key)).splitlines() if line.strip()]
        if not keys or any("PRIVATE KEY" in key or len(key.split()) < 2 for key in keys):
            raise LivekeepError(f"{arguments.ssh_key}: is not a public key; give the file that ends with .pub")
        account["ssh_authorized_keys"] = keys
    if arguments.password_file:
        account["passwd"] = password_hash(line_of(arguments.password_file, "password"))
    return account


def password_hash(password: str) -> str:
    """The password's hash for /etc/shadow; a hash is returned as it is."""
    if PASSWORD_HASH.fullmatch(password):
        return password
    command = ["openssl", "passwd", "-6", "-stdin"]
    try:
        done = subprocess.run(command, input=f"{password}\n", capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        raise LivekeepError("openssl passwd -6 fails here: put the hash into the file instead, as mkpasswd prints it") from error
    return done.stdout.strip()


def wifi_password(arguments: argparse.Namespace) -> str:
    return line_of(arguments.wifi_password_file, "password") if arguments.wifi_password_file else ""


def line_of(name: str, noun: str) -> str:
    """The one line in a file or, for "-", in standard input. Blanks at its ends belong to it. Raises `LivekeepError`."""
    where = "standard input" if name == "-" else name
    text = sys.stdin.read() if name == "-" else file.read_text(Path(name))
    lines = text.splitlines()
    if len(lines) != 1 or not lines[0]:
        raise LivekeepError(f"{where}: must have one line, the {noun}")
    return lines[0]


def handed_over(arguments: argparse.Namespace) -> list[dict[str, str]]:
    """Settings and token for livekeep-firstboot."""
    result = []
    if text := settings(arguments):
        result.append(written(f"{FOLDER}/livekeep.toml", text, "0600"))
    if arguments.token_file:
        token = credential.clean(*credential.read(arguments.token_file, credential.VIMEO_TOKEN))
        result.append(written(f"{FOLDER}/livekeep-token.txt", f"{token}\n", "0600"))
    return result


def settings(arguments: argparse.Namespace) -> str:
    """The text of livekeep.toml; "" for none. Raises `ConfigError`, as the box would."""
    if arguments.event:
        return f'[streams.main]\nvimeo_event = "{arguments.event}"\n'
    if not arguments.settings:
        return ""
    text = file.read_text(Path(arguments.settings))
    with tempfile.TemporaryDirectory() as name:
        copy = Path(name) / paths.CONFIG_FILE.name
        copy.write_text(text, encoding="utf-8")
        _settings, problems = config.load_leniently(copy, Path(name) / "none")
    if problems:
        raise ConfigError([problem.replace(str(copy), arguments.settings) for problem in problems])
    return text


def repository(arguments: argparse.Namespace) -> list[dict[str, str]]:
    if not arguments.repository:
        return []
    try:
        raw = Path(arguments.repository_key).read_bytes()[:LARGEST_KEY_BYTES]
    except OSError as error:
        raise file.cannot("read", Path(arguments.repository_key), error) from error
    if b"PRIVATE KEY" in raw:
        raise LivekeepError(f"{arguments.repository_key}: is a private key; give the public one, livekeep.gpg")
    # apt tells the two forms apart by the ending.
    keyring = f"{KEYRING}.{'asc' if raw.lstrip().startswith(b'-----BEGIN') else 'gpg'}"
    key = {**written(keyring, base64.b64encode(raw).decode(), "0644"), "encoding": "b64"}
    source = f"deb [signed-by={keyring}] {arguments.repository} ./\n"
    return [key, written("/etc/apt/sources.list.d/livekeep.list", source, "0644")]


def installer(arguments: argparse.Namespace) -> list[dict[str, str]]:
    if arguments.installed:
        return []
    names = arguments.packages.split()
    if arguments.packages_on_card:
        names = [f"/boot/firmware/{name}_*.deb" for name in dict.fromkeys(["livekeep", *names])]
    script = SCRIPT.format(packages=" ".join(names), unit=UNIT, folder=shlex.quote(FOLDER))
    service = SERVICE.format(folder=FOLDER)
    return [written(f"{FOLDER}/install", script, "0700"), written(f"/etc/systemd/system/{UNIT}", service, "0644")]


def written(path: str, content: str, permissions: str) -> dict[str, str]:
    return {"path": path, "content": content, "permissions": permissions, "owner": "root:root"}
