#!/usr/bin/env bash
# Removes livekeep's packages; the inverse of install.sh. Keeps configuration, keys and history unless --purge is given.
set -euo pipefail

umask 022
unset CDPATH TMPDIR POSIXLY_CORRECT GREP_OPTIONS
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive

readonly packages=(livekeep-{screen,health,air,record} livekeep)
readonly from_before=/usr/local/share/livekeep/uninstall.sh
verb=remove autoremove=no

usage() {
    cat <<'USAGE'
sudo ./uninstall.sh [--purge] [--packages]
  --purge      remove the configuration, the keys and tokens, the history and the users too
  --packages   remove the packages that were installed for livekeep and that nothing else needs
USAGE
}

die() {
    printf 'uninstall.sh: %s\n' "$*" >&2
    exit 1
}

main() {
    local arguments=("$@")
    while (($#)); do
        case $1 in
            --purge) verb=purge ;;
            --packages) autoremove=yes ;;
            --help | -h) usage && exit 0 ;;
            *) usage >&2 && die "$1: no such option" ;;
        esac
        shift
    done
    ((EUID == 0)) || die "must run as root: sudo ./uninstall.sh"
    cd /
    # An install that predates the packages.
    if [[ -e $from_before ]]; then exec bash "$from_before" "${arguments[@]}"; fi
    local known
    mapfile -t known < <(dpkg-query -Wf '${Package}\n' "${packages[@]}" 2>/dev/null)
    ((${#known[@]})) || die "livekeep is not installed"
    apt-get -qq -y -o DPkg::Lock::Timeout=300 "$verb" "${known[@]}" >/dev/null
    if [[ $autoremove = yes ]]; then apt-get -qq -y autoremove --purge >/dev/null; fi
    if [[ $verb = purge ]]; then
        printf 'livekeep is removed, with its configuration and history.\n'
    else
        printf 'livekeep is removed. Kept: /etc/livekeep, the keys and tokens, /var/lib/livekeep. Remove those too: --purge\n'
    fi
}

main "$@"
