# shellcheck shell=bash
# Part of install.sh: puts the air part in force. Running channels stay on air as they are. Uses say, start, memory, has_been_changed of install.sh.
# shellcheck disable=SC2154 # those are install.sh's

# The programs start by their sockets, the channels at boot by livekeep-air.
readonly air_units=(livekeep-storage.socket livekeep-controller.socket livekeep-air.service)
readonly air_token=/etc/credstore/livekeep.api-token

settle_air() {
    make_api_token
    bind_old_keys
    local name
    for name in "${air_units[@]}"; do systemctl is-enabled -q "$name" || systemctl enable -q "$name"; done
    if [[ $start = no ]]; then return; fi
    if has_been_changed 'livekeep-(storage|controller)\.socket'; then
        # A socket does not give way while its service runs.
        systemctl stop livekeep-{storage,controller}.{socket,service}
    elif has_been_changed '/lib/livekeep/(core|air)/|livekeep-(storage|controller)\.service|sandbox'; then
        systemctl try-restart livekeep-{storage,controller}.service
    fi
    systemctl start livekeep-{storage,controller}.socket
    # Starts what is meant to be on air and is not.
    systemctl start --no-block livekeep-air.service
    if has_been_changed '/lib/livekeep/(core|air)/|livekeep-worker|sandbox'; then name_running_channels; fi
}

bind_old_keys() { # once: a key that was stored before keys were bound to servers goes where its channel says now
    [[ ! -e $memory/keys-bound ]] || return 0
    local file channel
    for file in /etc/credstore/livekeep.stream-key.*; do
        channel=${file#*.stream-key.}
        if [[ -e $file ]]; then livekeep air bind-key "$channel" >/dev/null 2>&1 || true; fi
    done
    touch "$memory/keys-bound"
}

make_api_token() { # when there is none; it is nowhere shown
    [[ ! -s $air_token ]] || return 0
    [[ -d ${air_token%/*} ]] || mkdir -m 700 "${air_token%/*}"
    (umask 077 && head -c 32 /dev/urandom | base64 >"$air_token.new")
    mv "$air_token.new" "$air_token"
    say "Made a token for the API: $air_token"
}

name_running_channels() {
    local unit channel
    while read -r unit _; do
        channel=${unit#livekeep-worker@}
        say "On air with the version before: ${channel%.service}. The new one comes into force by: sudo livekeep air restart ${channel%.service}"
    done < <(systemctl list-units --plain --no-legend --state=active 'livekeep-worker@*.service')
}
