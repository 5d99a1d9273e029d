#!/usr/bin/env bash
# Installs livekeep on Raspberry Pi OS or Debian (bookworm, trixie) from this folder. See --help. Running it again changes only
# what differs; the configuration, the token and the history are kept.
set -euo pipefail

# What is installed depends on nothing that the caller's shell happens to have: `su` leaves out /usr/sbin, a hardened system has
# another umask, CDPATH sends a relative cd elsewhere, and comm refuses what was sorted in another locale.
umask 022
unset CDPATH TMPDIR POSIXLY_CORRECT GREP_OPTIONS GIT_DIR GIT_WORK_TREE
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8

source_folder=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
readonly source_folder
destdir=${DESTDIR:-}
[[ -z $destdir || $destdir = /* ]] || destdir=$PWD/$destdir
readonly destdir
# shellcheck source=install.d/packages.sh
source "$source_folder/install.d/packages.sh"
readonly lib=$destdir/usr/local/lib/livekeep share=$destdir/usr/local/share/livekeep
readonly units=$destdir/usr/local/lib/systemd/system doc=$destdir/usr/local/share/doc/livekeep
readonly etc=$destdir/etc/livekeep memory=$destdir/var/lib/livekeep/install
# The parts, which of them come unasked, and which files belong to each: one that belongs to a part which is left out is not
# installed. What they need is in install.d/packages.sh.
readonly parts=(screen health air record)
readonly -A is_default=([screen]=yes [health]=yes [air]=no [record]=no)
readonly -A part_files=(
    [screen]='/livekeep(\.target|\.rules|-(display|player|poller|error-screen|screen-picture|retry@|stable@))|/lib/livekeep/screen/|/livekeep/(mpv|systemd)/|/pictures/(holding|error)\.png'
    [health]='/livekeep-(exporter|probe)|/lib/livekeep/(exporter|probes)/|/share/livekeep/(prometheus|grafana)/'
    [record]='/livekeep-(recorder|alerter|web|report@|tidy|clips)|/bin/livekeep-(record|report|alert)$|/lib/livekeep/record/|/dist-packages/livekeep\.pth'
    [air]='/livekeep-(air|controller|storage|worker|probe-youtube)|/lib/livekeep/air/|/pictures/slate\.png'
)

token_file='' event='' output='' start=yes assume_yes=no keep_logs=no rollback=no
declare -A wants=() had=() # by part, yes or no: what this run is to install, and what was installed before
declare -A chosen=()       # the parts that the caller named
changed=()                 # installed files that this run changed

usage() {
    cat <<'EOF'
sudo ./install.sh [options]
  --token-file FILE   take Vimeo's token from FILE (it is asked for otherwise; never give it on the command line)
  --event NUMBER      the Vimeo event to show, as in vimeo.com/event/NUMBER
  --output OUTPUT     drm, x11 or wayland; found by itself otherwise
  --keep-logs         keep the journal over a reboot: 7 days, 64 MB
  --with PART         install this part too; later runs do so as well, until --without PART. The parts are:
                        screen   the live stream on a TV (comes unasked)
                        health   the probes and the exporter (comes unasked)
                        air      a channel that never stops
                        record   what ran and how well, a web page, a mail when it matters
  --without PART      leave this part out, or remove it
  --with-health, --without-health   the same as --with health, --without health
  --rollback          back to what was installed before the last run that changed something; once more: forth again
  --no-start          install and enable, but start nothing now
  --yes               answer every question with yes, ask for nothing
DESTDIR=/folder ./install.sh stages the files there and touches nothing else.
EOF
}

say() { printf '%s\n' "$*"; }
die() {
    printf 'install.sh: %s\n' "$*" >&2
    exit 1
}
is_staging() { [[ -n $destdir ]]; }
has_systemd() { ! is_staging && [[ -d /run/systemd/system ]]; }

ask() { # QUESTION: true when answered with yes
    [[ $assume_yes = yes ]] && return 0
    [[ -t 0 ]] || return 1
    local answer
    read -rp "$1 [y/N] " answer
    [[ $answer = [yY]* ]]
}

parse() {
    while (($#)); do
        case $1 in
            --token-file) token_file=${2:-} && shift ;;
            --event) event=${2:-} && shift ;;
            --output) output=${2:-} && shift ;;
            --keep-logs) keep_logs=yes ;;
            --with | --without) choose "$1" "${2:-}" && shift ;;
            --with-health | --without-health) choose "${1%-health}" health ;;
            --rollback) rollback=yes ;;
            --no-start) start=no ;;
            --yes | -y) assume_yes=yes ;;
            --help | -h) usage && exit 0 ;;
            *) usage >&2 && die "$1: no such option" ;;
        esac
        shift
    done
    [[ $output = @(|auto|drm|x11|wayland) ]] || die "--output $output: must be drm, x11 or wayland"
    [[ $event = *([0-9]) ]] || die "--event $event: must be a number, as in vimeo.com/event/NUMBER"
    [[ -z $token_file || -r $token_file ]] || die "--token-file $token_file: cannot be read"
    [[ -z $token_file || $token_file = /* ]] || token_file=$PWD/$token_file
    [[ $rollback = no || -z $destdir ]] || die "--rollback: not with DESTDIR"
    recall_parts
}

choose() { # --with|--without PART
    [[ -n $2 && -v part_files[$2] ]] || die "$1 $2: must be one of ${parts[*]}"
    if [[ $1 = --with ]]; then wants[$2]=yes; else wants[$2]=no; fi
    # shellcheck disable=SC2034 # read in install.d/record.sh
    chosen[$2]=yes
}

has() { [[ ${wants[$1]} = yes ]]; } # PART

marker() { # PART: the file that is there when the part differs from what comes unasked
    if [[ ${is_default[$1]} = yes ]]; then printf '%s/without-%s\n' "$memory" "$1"; else printf '%s/with-%s\n' "$memory" "$1"; fi
}

recall_parts() { # what was chosen before, where nothing is chosen now
    local part
    for part in "${parts[@]}"; do
        had[$part]=${is_default[$part]}
        if [[ -e $(marker "$part") ]]; then
            if [[ ${had[$part]} = yes ]]; then had[$part]=no; else had[$part]=yes; fi
        fi
        [[ -v wants[$part] ]] || wants[$part]=${had[$part]}
    done
}

make_memory() { # what root's next run takes at its word
    local is_open=no
    if [[ -n $(find "$memory" -maxdepth 0 -perm -o+w 2>/dev/null) ]]; then is_open=yes; fi
    install -d -m 755 "${memory%/*}" "$memory"
    chmod -R go-w "$memory"
    if [[ $is_open = no || ! -e $memory/previous ]]; then return; fi
    rm -rf "$memory"/previous{,.new}
    say "Removed what --rollback would have brought back: any user could write in $memory"
}

remember_parts() {
    make_memory
    local part file
    for part in "${parts[@]}"; do
        file=$(marker "$part")
        if [[ ${wants[$part]} = "${is_default[$part]}" ]]; then
            rm -f "$file"
        elif [[ ! -e $file ]]; then
            touch "$file"
        fi
    done
}

is_left_out() { # FILE: whether it belongs to a part that is not wanted
    local part
    for part in "${parts[@]}"; do
        if ! has "$part" && [[ $1 =~ ${part_files[$part]} ]]; then return 0; fi
    done
    return 1
}

check_system() {
    is_staging && return
    ((EUID == 0)) || die "must run as root: sudo ./install.sh"
    local VERSION_CODENAME='' PRETTY_NAME=''
    # shellcheck source=/dev/null
    source /etc/os-release
    [[ $VERSION_CODENAME = @(bookworm|trixie) ]] ||
        say "Note: made for Debian bookworm and trixie; this is ${PRETTY_NAME:-unknown}. Going on."
}

install_packages() {
    is_staging && return
    local missing=() package part wanted=("${packages[@]}")
    for part in "${parts[@]}"; do
        # shellcheck disable=SC2206 # names without blanks
        if has "$part"; then wanted+=(${part_packages[$part]}); fi
    done
    if has screen && grep -qs '^ *player *= *"vlc"' "$etc/livekeep.toml" "$etc"/livekeep.d/*.toml; then
        wanted+=("${vlc_packages[@]}")
    fi
    for package in "${wanted[@]}"; do
        [[ $(dpkg-query -Wf '${db:Status-Status}' "$package" 2>/dev/null) = installed || " ${missing[*]} " = *" $package "* ]] ||
            missing+=("$package")
    done
    ((${#missing[@]})) || lacks_speed_test || return 0
    local before after
    before=$(installed_packages)
    DEBIAN_FRONTEND=noninteractive apt-get -qq update || true
    if lacks_speed_test; then mapfile -t -O "${#missing[@]}" missing < <(speed_test_package); fi
    ((${#missing[@]})) || return 0
    say "Installing packages: ${missing[*]}"
    DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "${missing[@]}" >/dev/null ||
        die "the packages cannot be installed: is the network up? Try: apt-get update; apt-get install ${missing[*]}"
    after=$(installed_packages)
    make_memory
    comm -13 <(printf '%s\n' "$before") <(printf '%s\n' "$after") >>"$memory/packages"
}

lacks_speed_test() {
    has health || return 1
    local program
    for program in "${speed_test_packages[@]}"; do
        if command -v "$program" >/dev/null; then return 1; fi
    done
}

speed_test_package() { # prints the first that the release has
    local package
    for package in "${speed_test_packages[@]}"; do
        if apt-cache show "$package" >/dev/null 2>&1; then printf '%s\n' "$package" && return; fi
    done
}

installed_packages() { dpkg-query -Wf '${db:Status-Status} ${Package}\n' | sed -n 's/^installed //p' | sort -u; }

put() { # MODE SOURCE TARGET: copies a file when it differs
    local mode=$1 from=$2 to=$3
    if is_left_out "$to"; then return; fi
    printf '%s\n' "${to#"$destdir"}" >>"$manifest"
    if cmp -s "$from" "$to" && [[ $(stat -c %a "$to") = "$mode" ]]; then return; fi
    keep_previous
    install -D -m "$mode" "$from" "$to"
    changed+=("${to#"$destdir"}")
}

systemd_version() { systemctl --version | sed -n '1s/^systemd \([0-9]*\).*/\1/p'; }

put_revision() { # of the source, where it is a clone
    local revision note
    revision=$(git -c safe.directory="$source_folder" -C "$source_folder" rev-parse --short HEAD 2>/dev/null) || return 0
    note=$(mktemp)
    printf '%s\n' "$revision" >"$note"
    put 644 "$note" "$lib/revision"
    rm -f "$note"
}

put_tree() { # MODE FOLDER TARGET [NAME-PATTERN]
    local file
    while IFS= read -r -d '' file; do
        put "$1" "$2/$file" "$3/$file"
    done < <(cd "$2" && find . -type f -name "${4:-*}" ! -path '*/__pycache__/*' -printf '%P\0' | sort -z)
}

install_files() {
    manifest=$(mktemp)
    # The demo needs the tests' machine and stays with the source.
    local program
    for program in "$source_folder"/bin/*; do
        [[ $program = */livekeep-demo ]] || put 755 "$program" "$lib/bin/${program##*/}"
    done
    put_tree 644 "$source_folder/lib/livekeep" "$lib/lib/livekeep" '*.py'
    # The pages' templates and styles lie beside their code.
    if [[ -d $source_folder/lib/livekeep/record/web ]]; then put_tree 644 "$source_folder/lib/livekeep/record/web" "$lib/lib/livekeep/record/web"; fi
    put_tree 644 "$source_folder/units" "$units" 'livekeep*.*'
    local drop_ins unit
    for drop_ins in "$source_folder"/units/livekeep-*.d; do put_tree 644 "$drop_ins" "$units/${drop_ins##*/}"; done
    for unit in display player poller; do
        put 644 "$source_folder/units/restart-policy.conf" "$units/livekeep-$unit.service.d/40-restart-policy.conf"
    done
    for unit in display player poller worker@; do
        if is_staging || (($(systemd_version) >= 254)); then
            put 644 "$source_folder/units/restart-steps.conf" "$units/livekeep-$unit.service.d/41-restart-steps.conf"
        fi
    done
    put_tree 644 "$source_folder/etc/pictures" "$share/pictures" '*.png'
    put 644 "$source_folder/etc/mpv/mpv.conf" "$share/mpv/mpv.conf"
    put 644 "$source_folder/etc/mpv/livekeep.lua" "$share/mpv/livekeep.lua"
    put_tree 644 "$source_folder/etc/systemd" "$share/systemd"
    put 644 "$source_folder/etc/livekeep.toml" "$share/livekeep.toml"
    put_tree 644 "$source_folder/etc/prometheus" "$share/prometheus"
    put_tree 644 "$source_folder/etc/grafana" "$share/grafana"
    put 755 "$source_folder/uninstall.sh" "$share/uninstall.sh"
    put 644 "$source_folder/etc/sysusers.conf" "$destdir/usr/local/lib/sysusers.d/livekeep.conf"
    put 644 "$source_folder/etc/tmpfiles.conf" "$destdir/usr/local/lib/tmpfiles.d/livekeep.conf"
    put 644 "$source_folder/etc/livekeep.catalog" "$destdir/usr/local/lib/systemd/catalog/livekeep.catalog"
    put_path_files
    put_tree 644 "$source_folder/etc/polkit" "$destdir/etc/polkit-1/rules.d" '*.rules'
    put 644 "$source_folder/etc/bash-completion/livekeep" "$destdir/usr/local/share/bash-completion/completions/livekeep"
    local text
    put_tree 644 "$source_folder/docs" "$doc/docs"
    for text in README.md CHANGELOG.md LICENSE; do put 644 "$source_folder/$text" "$doc/$text"; done
    put_revision
    [[ $keep_logs = yes ]] && put 644 "$source_folder/etc/journald.conf" "$destdir/etc/systemd/journald.conf.d/livekeep.conf"
    finish_files
}

finish_files() { # what the lists of both ways, forth and back, have in common
    install -d "$destdir/usr/local/bin"
    [[ $(readlink "$destdir/usr/local/bin/livekeep") = ../lib/livekeep/bin/livekeep ]] ||
        ln -sfn ../lib/livekeep/bin/livekeep "$destdir/usr/local/bin/livekeep"
    printf '/usr/local/bin/livekeep\n' >>"$manifest"
    local folders
    mapfile -t folders < <(awk -F/ -v root="$destdir" '{ path = ""; for (i = 2; i < NF; i++) print root (path = path "/" $i) }' "$manifest" | sort -u)
    remove_stale_files
    local part
    for part in "${parts[@]}"; do
        if ! has "$part"; then "remove_remains_of_$part"; fi
    done
    # The services may not write there, and start slower without.
    is_staging || python3 -I -m compileall -q "$lib/lib"
    settle_modes "${folders[@]}"
    is_staging || settle_previous
}

settle_modes() { # FOLDER...: heals what a run under another umask left behind
    chmod -R u+rwX,go+rX,go-w "$lib" "$share" "$doc"
    find "$@" -maxdepth 0 -perm -o+w ! -perm -1000 -exec chmod go-w {} +
    # Some below /etc are others', and closed on purpose.
    find "$@" -maxdepth 0 -path '*/usr/local/*' ! -perm -555 -exec chmod a+rx {} +
}

remove_stale_files() { # what an earlier run installed and this one does not
    [[ $keep_logs = no && -e $destdir/etc/systemd/journald.conf.d/livekeep.conf ]] &&
        printf '/etc/systemd/journald.conf.d/livekeep.conf\n' >>"$manifest"
    sort -u -o "$manifest" "$manifest"
    local file part stale=()
    local -A removed=()
    if [[ -e $memory/files ]]; then mapfile -t stale < <(comm -23 "$memory/files" "$manifest"); fi
    if ((${#stale[@]})); then
        keep_previous
        end_units "${stale[@]}"
    fi
    for file in "${stale[@]}"; do
        rm -f "$destdir$file"
        changed+=("$file")
        if ! is_left_out "$file"; then
            say "Removed, no longer part of livekeep: $file"
            continue
        fi
        for part in "${parts[@]}"; do
            if ! has "$part" && [[ $file =~ ${part_files[$part]} ]]; then removed[$part]=$((${removed[$part]:-0} + 1)) && break; fi
        done
    done
    for part in "${!removed[@]}"; do say "Removed the $part part: ${removed[$part]} files."; done
    cmp -s "$manifest" "$memory/files" || install -m 644 "$manifest" "$memory/files"
    rm -f "$manifest"
}

end_units() { # FILE...: stops and disables the units among these files, as long as all that they need is there
    local file ended=() running=()
    for file; do
        [[ $file = /usr/local/lib/systemd/system/livekeep*.@(service|timer|socket|target) ]] || continue
        file=${file##*/}
        ended+=("$file")
        # Of a template all that was made from it.
        running+=("${file/@./@*.}")
    done
    ((${#ended[@]})) || return 0
    # All at once: a socket would start its service again.
    if has_systemd; then systemctl stop "${running[@]}" 2>/dev/null || true; fi
    for file in "${ended[@]}"; do systemctl --root="$destdir/" disable --quiet "$file" 2>/dev/null || true; done
    # One that was just at work would stand there as failed, without a file.
    if has_systemd; then systemctl reset-failed "${running[@]}" 2>/dev/null || true; fi
}

# What the programs of a part have made; what nobody renews would count as silent.

remove_remains_of_screen() {
    rm -rf "$lib/lib/livekeep/screen" "$share"/{mpv,systemd} "$destdir"/run/livekeep/{poller,player,display,error-screen,stream,screen-picture}
    rm -rf "$units"/livekeep-{poller,player,display,error-screen,screen-picture}.service.d
    local unit
    for unit in display error-screen; do
        rm -f "$destdir/etc/systemd/system/livekeep-$unit.service.d/60-screen.conf"
        rmdir --ignore-fail-on-non-empty "$destdir/etc/systemd/system/livekeep-$unit.service.d" 2>/dev/null || true
    done
    # The display had taken the console's place.
    if [[ ${had[screen]} = yes ]] && has_systemd && [[ -c /dev/tty1 ]] && systemctl -q is-enabled getty@tty1.service 2>/dev/null; then
        systemctl start --no-block getty@tty1.service
    fi
}

remove_remains_of_health() {
    rm -rf "$lib"/lib/livekeep/{exporter,health,probes} "$share"/{prometheus,grafana} "$destdir"/run/livekeep/probe-* "$destdir"/var/lib/livekeep/probe-*
    rm -rf "$units"/livekeep-{exporter,probe-*}.service.d
}

remove_remains_of_record() { # the record itself stays
    rm -rf "$lib/lib/livekeep/record" "$destdir"/run/livekeep/{recorder,alerter,clips,web}
    rm -rf "$units"/livekeep-{recorder,alerter,web,report@,tidy,clips}.service.d
    rm -f "$destdir"/etc/systemd/system/livekeep-{web.socket,clips.timer}.d/60-*.conf
    rmdir --ignore-fail-on-non-empty "$destdir"/etc/systemd/system/livekeep-{web.socket,clips.timer}.d 2>/dev/null || true
}

remove_remains_of_air() { # a channel's configuration and keys stay, but nothing is meant to be on air
    rm -rf "$lib/lib/livekeep/air" "$destdir"/run/livekeep/{worker@*,storage,storage.sock,controller,probe-youtube} "$destdir"/var/cache/livekeep/worker@*
    rm -rf "$units"/livekeep-{air,controller,storage,worker@,worker-retry@,probe-youtube}.service.d
    rm -f "$destdir"/var/lib/livekeep/channels/*.on-air
}

install_config() { # the operator's own: never overwritten
    install -d -m 755 "$etc"
    install -d -m 750 "$etc/livekeep.d"
    [[ -e $etc/livekeep.toml ]] || install -m 640 "$source_folder/etc/livekeep.toml" "$etc/livekeep.toml"
    is_staging && return
    if has_systemd; then systemd-tmpfiles --create /usr/local/lib/tmpfiles.d/livekeep.conf; fi
    [[ -d /var/lib/livekeep/pictures ]] || install -d -m 755 -g livekeep /var/lib/livekeep/pictures
    chgrp livekeep "$etc/livekeep.toml" "$etc/livekeep.d"
    if [[ -z $event && -t 0 && $assume_yes = no ]] && has screen && ! grep -Eqs '^ *(vimeo_event|vimeo_video|url) *= *"[^"]' "$etc/livekeep.toml" "$etc"/livekeep.d/*.toml; then
        read -rp "The number of the Vimeo event, as in vimeo.com/event/NUMBER; empty to set it later in $etc/livekeep.toml: " event
        [[ $event = *([0-9]) ]] || die "$event: must be a number, as in vimeo.com/event/NUMBER"
    fi
    if [[ -n $event ]]; then set_event; fi
}

set_event() {
    sed -i -E '/^\[streams\.main\]/,/^\[/ s/^ *vimeo_event *=.*/vimeo_event = "'"$event"'"/' "$etc/livekeep.toml"
    grep -q "^vimeo_event = \"$event\"" "$etc/livekeep.toml" ||
        die "$etc/livekeep.toml: has no vimeo_event in [streams.main]; write it there: vimeo_event = \"$event\""
    if has_systemd && systemctl -q is-active livekeep-poller; then systemctl reload livekeep-poller; fi
}

take_token() {
    if is_staging || ! has screen; then return; fi
    if [[ -n $token_file ]]; then
        livekeep set-token "$token_file"
    elif [[ ! -s /etc/credstore/livekeep.vimeo-token && -t 0 && $assume_yes = no ]]; then
        say "Vimeo's token (from developer.vimeo.com/apps, scope private); empty to give it later with: sudo livekeep set-token"
        livekeep set-token || say "No token yet: the TV will say so."
    fi
}

has_been_changed() { # REGEX: whether this run changed a file of that name
    ((${#changed[@]})) && printf '%s\n' "${changed[@]}" | grep -Eq "$1"
}

set_in_force() {
    is_staging && {
        enable_all --root="$destdir" 2>/dev/null || true
        return
    }
    if has_been_changed '/systemd/catalog/'; then journalctl --update-catalog; fi
    if ! has_systemd; then
        enable_all 2>/dev/null
        livekeep apply --no-restart >/dev/null 2>&1 || true
        return
    fi
    if has_been_changed 'journald.conf.d'; then systemctl restart systemd-journald; fi
    if has_been_changed '/systemd/system/'; then systemctl daemon-reload; fi
    if has_been_changed 'polkit-1' && systemctl -q is-active polkit; then systemctl restart polkit; fi
    if has screen; then systemctl is-enabled -q livekeep.target || systemctl enable -q livekeep.target; fi
    if has air; then settle_air; fi
    if [[ $start = no ]]; then
        livekeep apply --no-restart
        return
    fi
    if has record; then restart_record; fi
    local exporter_ran=no
    if systemctl -q is-active livekeep-exporter; then exporter_ran=yes; fi
    livekeep apply
    if [[ $exporter_ran = yes ]]; then restart_exporter; fi
    if ! has screen; then return; fi
    if systemctl -q is-active livekeep.target; then
        restart_what_changed
    else
        systemctl start --no-block livekeep.target
    fi
}

enable_all() { # [OPTION]: where systemd does not run; else `livekeep apply` enables what is configured
    local wanted=()
    if has screen; then wanted+=(livekeep.target); fi
    local timer
    if has health; then
        wanted+=(livekeep-exporter.service)
        for timer in "$units"/livekeep-probe-*.timer; do wanted+=("${timer##*/}"); done
    fi
    if has air; then wanted+=("${air_units[@]}"); fi
    if has record; then mapfile -t -O "${#wanted[@]}" wanted < <(record_units); fi
    ((${#wanted[@]} == 0)) || systemctl "$@" enable "${wanted[@]}"
}

restart_exporter() {
    has health && has_been_changed '/lib/livekeep/(core|exporter)/|livekeep-exporter|sandbox' || return 0
    systemctl try-restart --no-block livekeep-exporter
}

restart_what_changed() {
    has_been_changed '/lib/livekeep/(core|screen)/|/bin/livekeep-p(oll|lay)er|systemd/system/livekeep-p(oll|lay)er|sandbox|display|outputs|/mpv/' || return 0
    local services=(livekeep-poller livekeep-player)
    has_been_changed 'display|outputs|/mpv/|sandbox|restart-policy' && services+=(livekeep-display)
    systemctl reset-failed "${services[@]}" 2>/dev/null || true
    systemctl restart --no-block "${services[@]}"
    say "Restarted: ${services[*]}"
}

report() {
    is_staging && {
        say "Staged into $destdir"
        return
    }
    if ((${#changed[@]})); then say "Installed: ${#changed[@]} files are new or changed."; else say "Nothing to change: this version is installed."; fi
    if ! has_systemd || [[ $start = no ]]; then
        local wanted=()
        if has screen; then wanted+=(livekeep.target); fi
        if has air; then wanted+=("${air_units[@]}"); fi
        if has record; then mapfile -t -O "${#wanted[@]}" wanted < <(record_units); fi
        say "Start it with: sudo systemctl start ${wanted[*]:-livekeep-exporter}"
        return
    fi
    if has screen; then wait_for_picture; fi
    livekeep doctor || true
    livekeep status || true
}

wait_for_picture() { # at most 15 s
    local attempt
    for ((attempt = 0; attempt < 75; attempt++)); do
        # The file is the player's, which might put a FIFO in its place.
        timeout 5 grep -Eqs '"picture": "(stream|holding|error)"' /run/livekeep/player/state.json && return
        sleep 0.2
    done
    say "No picture after 15 s; the lines below say why."
}

main() {
    shopt -s extglob
    local piece
    for piece in air record rollback desktop; do
        # shellcheck source=/dev/null
        source "$source_folder/install.d/$piece.sh"
    done
    parse "$@"
    # The caller's folder may be gone by now.
    cd /
    check_system
    if [[ $rollback = yes ]]; then
        roll_back
    else
        offer_record
        install_packages
        remember_parts
        # The configuration's group must exist before the files.
        if ! is_staging; then systemd-sysusers "$source_folder/etc/sysusers.conf"; fi
        install_files
        install_config
        if ! is_staging && has screen; then settle_the_screen; fi
        take_token
    fi
    set_in_force
    if has record && has_systemd; then take_address; fi
    report
}

main "$@"
