"""livekeep card: what it prints is what cloud-init and NetworkManager understand, whatever signs the names and passwords have."""

import base64
import configparser
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from livekeep.command.card import boot_partition, user_data, wifi
from livekeep.core.errors import LivekeepError
from tests.command.box import REPOSITORY

TOKEN = "made-up-0123456789abcdef"
ON_CARD = ("--packages-on-card",)


def card(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Run the command without any library but Python's own."""
    command = [sys.executable, "-I", "-S", str(REPOSITORY / "bin/livekeep"), "card", *arguments]
    return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=60, check=False)


def made(*arguments: str, stdin: str = "") -> dict[str, Any]:
    done = card(*arguments, stdin=stdin)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("#cloud-config\n")
    assert done.stdout.isascii()
    document: dict[str, Any] = yaml.safe_load(done.stdout)
    return document


def written(document: dict[str, Any], path: str) -> str:
    (entry,) = [entry for entry in document["write_files"] if entry["path"] == path]
    return str(entry["content"])


def test_a_box_with_a_cable(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    (tmp_path / "key.pub").write_text("ssh-ed25519 AAAA anna@laptop\n")
    document = made(
        "--event", "123", "--token-file", str(tmp_path / "token"), "--hostname", "hall", "--time-zone", "Europe/Berlin",
        "--ssh-key", str(tmp_path / "key.pub"), *ON_CARD,
    )  # fmt: skip
    assert (document["hostname"], document["timezone"], document["ssh_pwauth"]) == ("hall", "Europe/Berlin", False)
    assert document["users"][0]["ssh_authorized_keys"] == ["ssh-ed25519 AAAA anna@laptop"]
    assert document["users"][0]["lock_passwd"] is True
    assert written(document, f"{user_data.FOLDER}/livekeep.toml") == '[streams.main]\nvimeo_event = "123"\n'
    assert written(document, f"{user_data.FOLDER}/livekeep-token.txt") == f"{TOKEN}\n"
    assert "/boot/firmware/livekeep_*.deb " in written(document, f"{user_data.FOLDER}/install")
    assert "bootcmd" not in document
    assert str(boot_partition.HANDED_OVER).endswith(user_data.FOLDER)


def test_the_token_from_standard_input() -> None:
    assert written(made("--token-file", "-", *ON_CARD, stdin=TOKEN), f"{user_data.FOLDER}/livekeep-token.txt") == f"{TOKEN}\n"


@pytest.mark.parametrize("kind", ["gpg", "asc"])
def test_a_repository_and_its_key(tmp_path: Path, kind: str) -> None:
    raw = b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n" if kind == "asc" else b"\x99\x01\xff\x00"
    (tmp_path / "key").write_bytes(raw)
    document = made("--repository", "https://packages.example.org/livekeep", "--repository-key", str(tmp_path / "key"))
    assert base64.b64decode(written(document, f"/etc/apt/keyrings/livekeep.{kind}")) == raw
    source = f"deb [signed-by=/etc/apt/keyrings/livekeep.{kind}] https://packages.example.org/livekeep ./\n"
    assert written(document, "/etc/apt/sources.list.d/livekeep.list") == source
    assert "install livekeep-screen livekeep-health\n" in written(document, f"{user_data.FOLDER}/install")


@pytest.mark.parametrize("text", ["# é “quoted” 😀 \u2028\n", "# plain\n"])
def test_settings_arrive_as_they_are(tmp_path: Path, text: str) -> None:
    (tmp_path / "livekeep.toml").write_text(f"{text}[screen]\nvolume = 50\n")
    document = made("--settings", str(tmp_path / "livekeep.toml"), "--installed")
    assert written(document, f"{user_data.FOLDER}/livekeep.toml") == f"{text}[screen]\nvolume = 50\n"


def test_faulty_settings_are_reported_here(tmp_path: Path) -> None:
    (tmp_path / "my.toml").write_text("[screen]\nvolume = 1000\n")
    done = card("--settings", str(tmp_path / "my.toml"), "--installed")
    assert done.returncode == 78
    assert done.stderr.startswith(f"{tmp_path}/my.toml: screen.volume: must be ")
    assert done.stdout == ""


SSIDS = ["Parish", 'a "quote"', "it's", "back\\slash", "Pfärré", "😀 wifi", " blanks ", "$(reboot)", "`x`;#=[]", "ü" * 16]
PASSWORDS = ["12345678", "  blanks at both ends  ", "quote\"and'quote", "back\\slash\\n", "$(reboot)`x`", "#;=[]!%&", "pässwörd"]


@pytest.mark.parametrize("ssid", SSIDS)
@pytest.mark.parametrize("password", [PASSWORDS[0], PASSWORDS[2]])
def test_the_name_of_a_wifi_has_any_signs(tmp_path: Path, ssid: str, password: str) -> None:
    keyfile = in_force(tmp_path, ssid, password)
    assert bytes(int(byte) for byte in keyfile["wifi"]["ssid"].split(";")[:-1]).decode() == ssid


@pytest.mark.parametrize("password", [*PASSWORDS, "f" * 64])
def test_the_password_of_a_wifi_has_any_signs(tmp_path: Path, password: str) -> None:
    keyfile = in_force(tmp_path, "Parish", password)
    assert unescaped(keyfile["wifi-security"]["psk"]) == password


def in_force(tmp_path: Path, ssid: str, password: str) -> configparser.RawConfigParser:
    """The connection after the box's shell has run the script from the printed user-data."""
    (tmp_path / "password").write_text(f"{password}\n")
    document = made("--wifi", ssid, "--wifi-password-file", str(tmp_path / "password"), "--country", "DE", *ON_CARD)
    (command,) = document["bootcmd"]
    script = command[2].replace(wifi.FILE, str(tmp_path / "etc/wifi")).replace("/var/lib/NetworkManager", str(tmp_path))
    for _boot in range(2):
        subprocess.run([*command[:2], script], env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"}, check=True, capture_output=True)
    assert (tmp_path / "etc/wifi").stat().st_mode & 0o777 == 0o600
    keyfile = configparser.RawConfigParser(delimiters="=", comment_prefixes=("#",), strict=True)
    # configparser strips blanks at the end of a value, GLib does not.
    keyfile.read_string((tmp_path / "etc/wifi").read_text().replace(" \n", "\\s\n"))
    return keyfile


def unescaped(value: str) -> str:
    pairs = {"\\\\": "\\", "\\s": " "}
    result, rest = "", value
    while rest:
        result += pairs.get(rest[:2], rest[0])
        rest = rest[2:] if rest[:2] in pairs else rest[1:]
    return result


def test_an_open_wifi(tmp_path: Path) -> None:
    assert "wifi-security" not in wifi.connection("Guests", "")


def test_a_password_is_hashed_and_a_hash_is_kept(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("correct horse\n")
    account = made("--password-file", str(tmp_path / "password"), *ON_CARD)["users"][0]
    salt = account["passwd"].split("$")[2]
    command = ["openssl", "passwd", "-6", "-salt", salt, "correct horse"]
    assert account["passwd"] == subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    assert user_data.password_hash(account["passwd"]) == account["passwd"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--event", "https://vimeo.com/event/1", *ON_CARD), "--event https://vimeo.com/event/1: must be a number"),
        (("--wifi", "Parish", *ON_CARD), "--wifi: needs --country"),
        (("--wifi", "x" * 33, "--country", "DE", *ON_CARD), "must have 1 to 32 bytes"),
        (("--wifi", "x", "--country", "de", *ON_CARD), "--country de: must be two capital letters"),
        (("--repository", "https://example.org"), "--repository: needs --repository-key"),
        (("--hostname", "my box", *ON_CARD), "--hostname my box: must be"),
        (("--user", "Anna", *ON_CARD), "--user Anna: must be"),
        (("--token-file", "/nonexistent", *ON_CARD), "/nonexistent: cannot be read"),
    ],
)
def test_what_the_box_could_not_use_is_refused_here(arguments: tuple[str, ...], said: str) -> None:
    done = card(*arguments)
    assert done.returncode == 1
    assert said in done.stderr
    assert done.stdout == ""


def test_a_short_password_is_not_shown() -> None:
    with pytest.raises(LivekeepError, match="8 to 63 characters, has 6") as error:
        wifi.connection("Parish", "secret")
    assert "secret" not in str(error.value)


def test_a_private_key_is_refused(tmp_path: Path) -> None:
    (tmp_path / "id").write_text("-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n")
    done = card("--ssh-key", str(tmp_path / "id"), *ON_CARD)
    assert "is not a public key" in done.stderr
    assert "AAAA" not in done.stderr
