#!/usr/bin/env bash
# Removes livekeep; the inverse of install.sh. Keeps the configuration, the keys and the history unless told otherwise.
set -euo pipefail

# As in install.sh: the caller's shell does not matter.
umask 022
unset CDPATH TMPDIR POSIXLY_CORRECT GREP_OPTIONS
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8

destdir=${DESTDIR:-}
[[ -z $destdir || $destdir = /* ]] || destdir=$PWD/$destdir
readonly destdir
readonly memory=$destdir/var/lib/livekeep/install
purge=no packages=no

usage() {
    cat <<'EOF'
sudo ./uninstall.sh [--purge] [--packages]
  --purge      remove the configuration, the keys and tokens, the history and the users too
  --packages   remove the packages that install.sh had installed
EOF
}

die() {
    printf 'uninstall.sh: %s\n' "$*" >&2
    exit 1
}

parse() {
    while (($#)); do
        case $1 in
            --purge) purge=yes ;;
            --packages) packages=yes ;;
            --help | -h) usage && exit 0 ;;
            *) usage >&2 && die "$1: no such option" ;;
        esac
        shift
    done
    [[ -n $destdir ]] || ((EUID == 0)) || die "must run as root: sudo ./uninstall.sh"
}

has_systemd() { [[ -z $destdir && -d /run/systemd/system ]]; }

stop_units() {
    local name probes=("$destdir"/usr/local/lib/systemd/system/livekeep-probe-*.timer)
    for name in livekeep.target livekeep-exporter.service "${probes[@]##*/}" \
        livekeep-{storage,controller}.socket livekeep-air.service livekeep-{recorder,alerter}.service livekeep-web.socket \
        livekeep-{tidy,report@daily,report@weekly,clips}.timer; do
        # Of a part that is not installed there is none.
        systemctl --root="$destdir/" disable "$name" 2>/dev/null || true
    done
    has_systemd || return 0
    local units
    mapfile -t units < <(systemctl list-units --all --plain --no-legend 'livekeep*' | awk '{print $1}')
    ((${#units[@]} == 0)) || systemctl stop "${units[@]}" 2>/dev/null || true
}

remove_files() {
    local file
    if [[ -e $memory/files ]]; then
        while IFS= read -r file; do rm -f "$destdir$file"; done <"$memory/files"
    fi
    rm -rf "$destdir/usr/local/lib/livekeep" "$destdir/usr/local/share/livekeep" "$destdir/usr/local/share/doc/livekeep"
    rm -rf "$destdir"/usr/local/lib/systemd/system/livekeep-*.d "$destdir/var/cache/livekeep" "$destdir/run/livekeep"
    # When systemd's timers last fired.
    rm -f "$destdir"/var/lib/systemd/timers/stamp-livekeep-*
    # What a later --rollback would need, and what was meant to be on air: installed anew, nothing goes on air unasked.
    rm -rf "$memory"/previous{,.new} "$destdir"/var/lib/livekeep/channels/*.on-air
    local unit
    # What `livekeep apply` wrote.
    rm -f "$destdir"/etc/systemd/system/livekeep-{display,error-screen}.service.d/60-screen.conf \
        "$destdir"/etc/systemd/system/livekeep-exporter.service.d/60-exporter.conf \
        "$destdir"/etc/systemd/system/livekeep-{probe-*,clips}.timer.d/60-interval.conf \
        "$destdir"/etc/systemd/system/livekeep-web.socket.d/60-web.conf
    for unit in "$destdir"/etc/systemd/system/livekeep-*.d; do
        rmdir --ignore-fail-on-non-empty "$unit" 2>/dev/null || true
    done
}

settle_systemd() {
    has_systemd || return 0
    systemctl daemon-reload
    systemctl reset-failed 'livekeep*' 2>/dev/null || true
    journalctl --update-catalog
    if grep -q journald.conf.d "$memory/files" 2>/dev/null; then systemctl restart systemd-journald; fi
}

give_back_the_screen() {
    local kind what
    if [[ -e $memory/disabled ]]; then
        while read -r kind what; do
            case $kind in
                autostart) [[ -e $what.disabled-by-livekeep ]] && mv -T "$what.disabled-by-livekeep" "$what" ;;
                unit) has_systemd && { systemctl enable "$what" && systemctl start --no-block "$what"; } ;;
                *) ;;
            esac || printf 'Could not be put back: %s %s\n' "$kind" "$what" >&2
        done <"$memory/disabled"
        rm -f "$memory/disabled"
    fi
    # The display had taken the console's place.
    if has_systemd && [[ -c /dev/tty1 ]] && systemctl -q is-enabled getty@tty1.service 2>/dev/null; then
        systemctl start --no-block getty@tty1.service
    fi
}

remove_packages() {
    [[ -e $memory/packages ]] || return 0
    local names
    mapfile -t names < <(sort -u "$memory/packages")
    ((${#names[@]})) || return 0
    local needed
    needed=$(apt-get -qq -s purge "${names[@]}" | sed -n 's/^\(Remv\|Purg\) \([^ ]*\).*/\2/p' | sort -u |
        comm -23 - <(printf '%s\n' "${names[@]}" | sort -u) | tr '\n' ' ')
    if [[ -n $needed ]]; then
        printf 'The packages are kept: these came later and need some of them: %s\n' "$needed" >&2
        return 0
    fi
    DEBIAN_FRONTEND=noninteractive apt-get -qq purge -y "${names[@]}" >/dev/null
    rm -f "$memory/packages"
}

purge_all() {
    rm -rf "$destdir/etc/livekeep" "$destdir"/etc/credstore/livekeep.* "$destdir/var/log/livekeep"
    # The list of packages stays while they do.
    find "$destdir/var/lib/livekeep" -mindepth 1 ! -path "$memory" ! -path "$memory/packages" -delete 2>/dev/null || true
    rmdir -p --ignore-fail-on-non-empty "$memory" 2>/dev/null || true
    [[ -z $destdir ]] || return 0
    local user
    for user in $(getent passwd | sed -n 's/^\(livekeep-[a-z-]*\):.*/\1/p'); do
        if getent passwd "$user" >/dev/null; then userdel "$user" 2>/dev/null || true; fi
        if getent group "$user" >/dev/null; then groupdel "$user" 2>/dev/null || true; fi
    done
    if getent group livekeep >/dev/null; then groupdel livekeep 2>/dev/null || true; fi
}

main() {
    parse "$@"
    cd /
    stop_units
    remove_files
    settle_systemd
    give_back_the_screen
    if [[ $packages = yes ]]; then remove_packages; fi
    rm -f "$memory/files"
    if [[ $purge = yes ]]; then
        purge_all
        printf 'livekeep is removed, with its configuration and history.\n'
    else
        rmdir --ignore-fail-on-non-empty "$memory" 2>/dev/null || true
        printf 'livekeep is removed. Kept: /etc/livekeep, the keys and tokens, /var/lib/livekeep. Remove those too: --purge\n'
    fi
}

main "$@"
