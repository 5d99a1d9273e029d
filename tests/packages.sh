# shellcheck shell=bash
# What the tests and the demo need on a Debian, and how it comes there. Sourced by tests/run and bin/livekeep-demo.

# A machine with a TV: see tests/machine.
# shellcheck disable=SC2034 # used by those that source this
readonly machine_packages=(python3 python3-yaml openssl mmdebstrap systemd-container xvfb ffmpeg iproute2 debian-archive-keyring python3-pil util-linux
    poppler-utils apt-utils gpg gpgv)

install_packages() { # NAME...: those that are missing
    local missing=() name
    for name; do
        [[ $(dpkg-query -Wf '${db:Status-Status}' "$name" 2>/dev/null) = installed ]] || missing+=("$name")
    done
    ((${#missing[@]})) || return 0
    printf 'Installing: %s\n' "${missing[*]}"
    if ! { apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "${missing[@]}"; } >/dev/null; then
        printf 'The packages cannot be installed; is the network up? Try: apt-get install %s\n' "${missing[*]}" >&2
        return 1
    fi
}

# Programs of Debian packages that must not be installed, since their services would start. They are unpacked into the cache.
readonly unpacked_packages=(prometheus prometheus-alertmanager prometheus-node-exporter nginx libnginx-mod-rtmp)

unpack_tools() { # FOLDER: their programs are in FOLDER/usr/bin and FOLDER/usr/sbin then
    local folder=$1
    local marker=$folder/complete-${unpacked_packages[*]}
    marker=${marker// /_}
    [[ -e $marker ]] && return
    printf 'Unpacking: %s\n' "${unpacked_packages[*]}"
    mkdir -p "$folder/packages"
    if ! (apt-get -qq update && cd "$folder/packages" && apt-get -qq -o APT::Sandbox::User=root download "${unpacked_packages[@]}"); then
        printf 'The packages cannot be fetched; is the network up? Try: apt-get download %s\n' "${unpacked_packages[*]}" >&2
        return 1
    fi
    local package
    for package in "$folder"/packages/*.deb; do dpkg-deb -x "$package" "$folder"; done
    touch "$marker"
}
