# shellcheck shell=sh
# Shared by the packages' maintainer scripts; packaging/build inserts it at the beginning of each.

systemd_runs() { [ -d /run/systemd/system ]; }

# install.sh sets LIVEKEEP_NO_START: its questions come before the first start.
may_start() { systemd_runs && [ -z "${LIVEKEEP_NO_START:-}" ]; }

is_active() { systemd_runs && systemctl -q is-active "$1"; }

# UNIT...: adds the keys of restart-steps.conf, supported since systemd 254; older versions would report each at every reload.
link_restart_steps() {
    version=$(systemctl --version | sed -n '1s/^systemd \([0-9]*\).*/\1/p')
    for unit; do
        folder=/usr/lib/systemd/system/livekeep-$unit.service.d
        if [ "$version" -ge 254 ]; then
            mkdir -p "$folder"
            ln -sf /usr/share/livekeep/systemd/restart-steps.conf "$folder/41-restart-steps.conf"
        fi
    done
}

unlink_restart_steps() { # UNIT...
    for unit; do
        rm -f "/usr/lib/systemd/system/livekeep-$unit.service.d/41-restart-steps.conf"
        rmdir "/usr/lib/systemd/system/livekeep-$unit.service.d" 2>/dev/null || true
    done
}

# Before an upgrade: saves the package's file list for is_changed() after it.
note_files() {
    mkdir -p /run/livekeep
    dpkg-query --control-show "$DPKG_MAINTSCRIPT_PACKAGE" md5sums >"/run/livekeep/.$DPKG_MAINTSCRIPT_PACKAGE" 2>/dev/null || true
}

is_changed() { # REGEX: whether the upgrade changed a file with a matching name
    old=/run/livekeep/.$DPKG_MAINTSCRIPT_PACKAGE
    [ -s "$old" ] || return 1
    dpkg-query --control-show "$DPKG_MAINTSCRIPT_PACKAGE" md5sums | sort - "$old" | uniq -u | grep -Eq "$1"
}

# Stops and disables the previous version's units that this version no longer has.
end_gone_units() {
    sed -n 's,^[0-9a-f]*  \(usr/lib/systemd/system/livekeep[^/]*\)$,\1,p' "/run/livekeep/.$DPKG_MAINTSCRIPT_PACKAGE" 2>/dev/null |
        while read -r file; do
            if [ ! -e "/$file" ]; then
                if systemd_runs; then systemctl stop "${file##*/}" 2>/dev/null || true; fi
                systemctl disable --quiet "${file##*/}" 2>/dev/null || true
            fi
        done
}

compile() { py3compile -p "$DPKG_MAINTSCRIPT_PACKAGE"; }
clean() { py3clean -p "$DPKG_MAINTSCRIPT_PACKAGE"; }

# Stops and disables the package's units while all that they need still exists.
end_units() {
    units=$(dpkg-query -L "$DPKG_MAINTSCRIPT_PACKAGE" |
        sed -n 's,^/usr/lib/systemd/system/\(livekeep[^/]*\.\(service\|timer\|path\|socket\|target\)\)$,\1,p')
    # All at once: a socket would start its service again. For a template, all its instances.
    # shellcheck disable=SC2046,SC2086 # names without blanks
    if systemd_runs; then systemctl stop $(printf '%s\n' $units | sed 's/@\./@*./') 2>/dev/null || true; fi
    # shellcheck disable=SC2086
    systemctl disable --quiet $units 2>/dev/null || true
}

reload_systemd() {
    if systemd_runs; then
        systemctl daemon-reload
        # A unit that was running would stay in the list as failed, without a file.
        systemctl reset-failed 'livekeep*' 2>/dev/null || true
    fi
}
