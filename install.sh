#!/usr/bin/env bash
# Installs livekeep on Raspberry Pi OS or Debian (bookworm, trixie): builds its packages from this folder, installs them with apt,
# and runs `livekeep setup`. See --help. Running it again changes only what differs; configuration, tokens and history are kept.
set -euo pipefail

# The result must not depend on the caller's shell: `su` leaves out /usr/sbin, CDPATH redirects a relative cd.
umask 022
unset CDPATH TMPDIR POSIXLY_CORRECT GREP_OPTIONS GIT_DIR GIT_WORK_TREE
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive

source_folder=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
readonly source_folder
destdir=${DESTDIR:-}
[[ -z $destdir || $destdir = /* ]] || destdir=$PWD/$destdir
readonly destdir
# current/ has the installed packages, previous/ the ones before; the two lists are from an install that predates the packages.
readonly kept=$destdir/var/lib/livekeep/packages memory=$destdir/var/lib/livekeep/install
readonly old_files=$memory/files old_packages=$memory/packages
readonly parts=(screen health air record)
readonly -A is_default=([screen]=yes [health]=yes [air]=no [record]=no)

token_file='' assume_yes=no start=yes rollback=no
declare -A wants=() had=() # by part, yes or no: what this run is to install, and what was installed before
declare -A chosen=()       # the parts that the caller named
setup_options=()           # those of `livekeep setup`

usage() {
    cat <<'USAGE'
sudo ./install.sh [options]
  --token-file FILE   read Vimeo's token from FILE (without it, the token is asked for; never give it on the command line)
  --event NUMBER      the Vimeo event to show, as in vimeo.com/event/NUMBER
  --output OUTPUT     drm, x11 or wayland; detected without it
  --keep-logs         keep the journal over a reboot: 7 days, 64 MB
  --with PART         install this part too; later runs do so as well, until --without PART. The parts are:
                        screen   the live stream on a TV (installed by default)
                        health   the probes and the exporter (installed by default)
                        air      a channel that never stops
                        record   what ran and how well, a web page, a mail when it matters
  --without PART      leave this part out, or remove it
  --with-health, --without-health   the same as --with health, --without health
  --rollback          go back to the packages that were installed before the last change; once more: forward again
  --no-start          install and enable, but start nothing now
  --yes               answer every question with yes, ask for nothing
DESTDIR=/folder ./install.sh installs into the Debian below that folder, such as an image, and starts nothing.
USAGE
}

say() { printf '%s\n' "$*"; }
die() {
    printf 'install.sh: %s\n' "$*" >&2
    exit 1
}

inside() { # COMMAND...: runs where livekeep is installed; an image that lies there has no /proc
    if [[ -z $destdir ]]; then
        "$@"
    else
        # shellcheck disable=SC2016 # for the inner shell
        unshare --mount sh -euc '[ -e "$1/proc/self" ] || mount -t proc proc "$1/proc"; exec chroot "$@"' sh "$destdir" "$@"
    fi
}

parse() {
    ((EUID == 0)) || [[ " $* " = *" --help "* ]] || die "must run as root: sudo ./install.sh"
    while (($#)); do
        case $1 in
            --token-file) token_file=${2:-} && shift ;;
            --event | --output) setup_options+=("$1" "${2:-}") && shift ;;
            --keep-logs) setup_options+=("$1") ;;
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
    [[ -z $token_file || $token_file = /* ]] || token_file=$PWD/$token_file
    if [[ $assume_yes = yes ]]; then setup_options+=(--yes); fi
    if [[ $start = no ]]; then setup_options+=(--no-start); fi
    "$source_folder/bin/livekeep-setup" --check --token-file "$token_file" "${setup_options[@]}" || die "nothing was changed"
    recall_parts
}

choose() { # --with|--without PART
    [[ -n $2 && -v is_default[$2] ]] || die "$1 $2: must be one of ${parts[*]}"
    if [[ $1 = --with ]]; then wants[$2]=yes; else wants[$2]=no; fi
    chosen[$2]=yes
}

has() { [[ ${wants[$1]} = yes ]]; } # PART

# shellcheck disable=SC2016 # dpkg's names
status_of() { # PACKAGE: prints installed, config-files (removed, not purged), absent, or half-installed for all in between
    local status
    status=$(inside dpkg-query -Wf '${db:Status-Status}' "$1" 2>/dev/null) || true
    case $status in
        installed | config-files) printf '%s\n' "$status" ;;
        '' | not-installed) printf 'absent\n' ;;
        *) printf 'half-installed\n' ;;
    esac
}

recall_parts() { # what was chosen before, where nothing is chosen now: dpkg knows, or the memory of an install from before the packages
    local part core status
    core=$(status_of livekeep)
    for part in "${parts[@]}"; do
        had[$part]=${is_default[$part]}
        if [[ -e $memory/with-$part ]]; then had[$part]=yes; fi
        if [[ -e $memory/without-$part ]]; then had[$part]=no; fi
        status=$(status_of "livekeep-$part")
        case $core/$status in
            absent/*) ;;
            config-files/config-files | *installed/*installed) had[$part]=yes ;;
            *) had[$part]=no ;;
        esac
        [[ -v wants[$part] ]] || wants[$part]=${had[$part]}
    done
}

check_system() {
    local VERSION_CODENAME='' PRETTY_NAME=''
    # shellcheck source=/dev/null
    source "$destdir/etc/os-release"
    [[ $VERSION_CODENAME = @(bookworm|trixie) ]] ||
        say "Note: made for Debian bookworm and trixie; this is ${PRETTY_NAME:-unknown}. Continuing."
}

offer_record() { # once, where a person sits before it
    if [[ ${had[record]} = yes || -v chosen[record] || $assume_yes = yes || ! -t 0 || -e $memory/record-offered ]]; then return; fi
    read -rp "A web page and mails about this box (the record part)? [y/N] "
    if [[ $REPLY = [yY]* ]]; then wants[record]=yes; fi
    install -d -m 755 "$memory"
    touch "$memory/record-offered"
}

# The packages

build() { # to $built
    local part packages=(livekeep)
    for part in "${parts[@]}"; do
        if has "$part"; then packages+=("livekeep-$part"); fi
    done
    built=$(mktemp -d)
    trap 'rm -rf "$built"' EXIT
    "$source_folder/packaging/build" "$built" "${packages[@]}"
}

is_in_place() { # FILE: whether this package is installed, with its files unchanged
    local name=${1##*/}
    cmp -s "$1" "$kept/current/$name" || return 1
    name=${name%%_*}
    # shellcheck disable=SC2016
    [[ $(inside dpkg-query -Wf '${db:Status-Status} ${Version}' "$name" 2>/dev/null) = "installed $(dpkg-deb -f "$1" Version)" ]] || return 1
    [[ -z $(inside dpkg --verify "$name") ]]
}

repair() { # FOLDER: what an interrupted run left half installed, which apt alone does not get out of
    local file name
    for file in "$1"/*.deb; do
        name=${file##*/}
        if [[ $(status_of "${name%%_*}") != half-installed ]]; then continue; fi
        say "An earlier run was interrupted: completing it."
        provide "$1"
        inside dpkg --unpack "${kept#"$destdir"}"/next/*.deb >/dev/null || true
        inside apt-get -qq -y -f install >/dev/null || true
        return
    done
}

provide() { # FOLDER: its packages where apt's own user can read them
    install -d -m 755 "${kept%/*}" "$kept"
    rm -rf "$kept/next"
    cp -r "$1" "$kept/next"
    chmod 755 "$kept/next"
}

wanted_packages() { # FOLDER: prints apt's words: those of its packages that are not in place, and with a "-" the parts to remove
    local file part
    for file in "$1"/*.deb; do
        if ! is_in_place "$file"; then printf '%s\n' "${kept#"$destdir"}/next/${file##*/}"; fi
    done
    for part in "${parts[@]}"; do
        if ! has "$part" && [[ $(status_of "livekeep-$part") = installed ]]; then printf 'livekeep-%s-\n' "$part"; fi
    done
    if has screen && grep -qs '^ *player *= *"vlc"' "$destdir/etc/livekeep/livekeep.toml" "$destdir"/etc/livekeep/livekeep.d/*.toml; then
        # livekeep-screen suggests VLC.
        for part in $(dpkg-deb -f "$1"/livekeep-screen_*.deb Suggests | tr -d ','); do
            if [[ $(status_of "$part") != installed ]]; then printf '%s\n' "$part"; fi
        done
    fi
}

apt() { # WORD...
    inside apt-get -qq -y -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=false install --no-install-recommends \
        --reinstall --allow-downgrades --purge "$@"
}

missing() { # WORD...: prints the packages of others that apt would install
    apt --simulate "$@" | sed -n 's/^Inst \([^ ]*\).*/\1/p' | grep -v '^livekeep' || ((PIPESTATUS[0] == 0))
}

install_packages() { # FOLDER WORD...: its packages, and no other part; the words are those of wanted_packages
    local words=("${@:2}") needed part
    release_old_packages
    provide "$1"
    if ! needed=$(missing "${words[@]}" 2>/dev/null) || [[ -n $needed ]]; then
        inside apt-get -qq update || true
        needed=$(missing "${words[@]}" 2>/dev/null) || true
        say "Installing packages: ${needed//$'\n'/ }"
    fi
    # On a new machine, the questions of `livekeep setup` come before the first start.
    if [[ $start = no || ($(status_of livekeep) != installed && ! -e $old_files) ]]; then export LIVEKEEP_NO_START=yes; fi
    apt "${words[@]}" >/dev/null || {
        rm -rf "$kept/next"
        rmdir --ignore-fail-on-non-empty -p "$kept" 2>/dev/null || true
        die "the packages cannot be installed: is the network up? Try: apt-get update; apt-get install ${needed//$'\n'/ }"
    }
    unset LIVEKEEP_NO_START
    for part in "${parts[@]}"; do
        if ! has "$part" && [[ ${had[$part]} = yes ]]; then say "Removed the $part part."; fi
    done
    settle_kept
}

settle_kept() { # what was installed until now is what the next --rollback brings back
    if [[ -d $kept/current ]] && ! diff -rq "$kept/next" "$kept/current" >/dev/null; then
        rm -rf "$kept/previous"
        mv "$kept/current" "$kept/previous"
    fi
    rm -rf "$kept/current"
    mv "$kept/next" "$kept/current"
}

release_old_packages() { # those that an install from before the packages brought belong to livekeep's packages now
    if [[ -e $old_packages ]]; then
        xargs -r apt-mark auto <"$old_packages" >/dev/null 2>&1 || true
        rm -f "$old_packages"
    fi
}

version_in() { # FOLDER: the version of the packages there
    local files=("$1"/livekeep_*.deb)
    if [[ -e ${files[0]} ]]; then dpkg-deb -f "${files[0]}" Version; else printf 'of unknown version\n'; fi
}

roll_back() {
    [[ -d $kept/previous ]] || die "there is nothing to go back to: no run has changed anything since the first"
    local part
    for part in "${parts[@]}"; do
        if compgen -G "$kept/previous/livekeep-${part}_*" >/dev/null; then wants[$part]=yes; else wants[$part]=no; fi
    done
    say "From livekeep $(version_in "$kept/current") back to $(version_in "$kept/previous")"
    local words
    repair "$kept/previous"
    mapfile -t words < <(wanted_packages "$kept/previous")
    install_packages "$kept/previous" "${words[@]}"
}

main() {
    shopt -s extglob
    parse "$@"
    # The caller's folder may no longer exist.
    cd /
    check_system
    if [[ $rollback = yes ]]; then
        roll_back
    else
        offer_record
        build
        local words
        repair "$built"
        mapfile -t words < <(wanted_packages "$built")
        if ((${#words[@]})); then
            install_packages "$built" "${words[@]}"
            say "Installed: livekeep $(version_in "$kept/current")"
        else
            say "Nothing to change: this version is installed."
        fi
    fi
    if [[ -n $token_file && -n $destdir ]]; then
        install -m 600 "$token_file" "$kept/token"
        token_file=${kept#"$destdir"}/token
    fi
    inside livekeep setup --token-file "$token_file" "${setup_options[@]}"
    rm -f "$kept/token"
}

main "$@"
