"""The Wi-Fi of a box that `livekeep card` prepares: a NetworkManager connection, and the script that puts it in force. Pure."""

import shlex

from livekeep.core.errors import LivekeepError

NAME = "livekeep-wifi"
FILE = f"/etc/NetworkManager/system-connections/{NAME}.nmconnection"
LONGEST_SSID_BYTES = 32
HEX_KEY_LENGTH = 64
SCRIPT = """\
set -u
wanted={connection}
file={file}
if [ "$(cat "$file" 2>/dev/null)" != "$wanted" ]; then
    umask 077
    mkdir -p "${{file%/*}}"
    printf '%s\\n' "$wanted" >"$file.new" && mv "$file.new" "$file"
    if systemctl -q is-active NetworkManager.service; then nmcli connection reload; fi
fi
# Without a country Raspberry Pi OS keeps the radio off.
if command -v raspi-config >/dev/null; then
    grep -qs 'ieee80211_regdom={country}' /boot/firmware/cmdline.txt || raspi-config nonint do_wifi_country {country}
elif command -v iw >/dev/null; then
    iw reg set {country}
fi
if command -v rfkill >/dev/null; then rfkill unblock wifi; fi
sed -i 's/^WirelessEnabled=false/WirelessEnabled=true/' /var/lib/NetworkManager/NetworkManager.state 2>/dev/null
exit 0
"""


def script(ssid: str, password: str, country: str) -> str:
    """The shell script, for each boot: it writes the connection if that has changed. Raises `LivekeepError`."""
    return SCRIPT.format(connection=shlex.quote(connection(ssid, password).rstrip("\n")), file=FILE, country=country)


def connection(ssid: str, password: str) -> str:
    """The keyfile; without a password, for an open network. Raises `LivekeepError` for what no Wi-Fi has."""
    raw = ssid.encode()
    if not 1 <= len(raw) <= LONGEST_SSID_BYTES:
        raise LivekeepError(f"--wifi {ssid}: must have 1 to {LONGEST_SSID_BYTES} bytes, has {len(raw)}")
    lines = ["[connection]", f"id={NAME}", "type=wifi", "autoconnect-retries=0", "", "[wifi]", "mode=infrastructure"]
    # As a list of bytes: no sign needs an escape.
    lines += [f"ssid={''.join(f'{byte};' for byte in raw)}"]
    if password:
        lines += ["", "[wifi-security]", "key-mgmt=wpa-psk", f"psk={escaped(checked(password))}"]
    lines += ["", "[ipv4]", "method=auto", "", "[ipv6]", "method=auto"]
    return "\n".join(lines) + "\n"


def checked(password: str) -> str:
    size = len(password.encode())
    is_hex = size == HEX_KEY_LENGTH and all(sign in "0123456789abcdefABCDEF" for sign in password)
    if not (8 <= size < HEX_KEY_LENGTH or is_hex):
        raise LivekeepError(f"--wifi-password-file: the password must have 8 to 63 characters, has {len(password)}")
    if not password.isprintable():
        raise LivekeepError("--wifi-password-file: the password has a character that cannot be typed; write it again")
    return password


def escaped(value: str) -> str:
    r"""For a keyfile (GLib's GKeyFile): a backslash is \\, and blanks at the beginning would be dropped."""
    value = value.replace("\\", "\\\\")
    blanks = len(value) - len(value.lstrip(" "))
    return "\\s" * blanks + value[blanks:]
