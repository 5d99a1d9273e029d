# shellcheck shell=bash disable=SC2034 # used by those that source this
# The Debian packages that livekeep needs. Sourced by install.sh; the tests build their machines from the same lists.

# What every part needs.
readonly packages=(python3 python3-sdnotify python3-systemd python3-requests python3-jeepney python3-dotenv
    python3-tomlkit polkitd dbus ca-certificates)
# What each part needs besides.
readonly -A part_packages=(
    [screen]='mpv python3-pil python3-xlib alsa-utils fonts-dejavu-core'
    # What the probes run; besides, a speed test: see below.
    [health]='ffmpeg fping netbase python3-prometheus-client python3-psutil python3-waitress'
    [record]='apprise fonts-dejavu-core libjs-chart.js python3-jinja2 python3-psutil python3-reportlab python3-rich python3-starlette python3-uvicorn
        python3-websockets'
    [air]='ffmpeg python3-boto3 python3-fastapi python3-uvicorn util-linux'
)
# With player = "vlc".
readonly vlc_packages=(vlc-bin vlc-plugin-base vlc-plugin-video-output)
# Of these the first that the release has.
readonly speed_test_packages=(librespeed-cli speedtest-cli)
