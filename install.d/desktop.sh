# shellcheck shell=bash
# Part of install.sh: finds what owns the screen now (a desktop, a login, an older player), asks, and notes what it changed in
# /var/lib/livekeep/install/disabled, so that uninstall.sh can put it back. Uses ask, say, make_memory, output, etc, memory of install.sh.
# shellcheck disable=SC2154 # those are install.sh's

readonly rival_autostarts=(streamreturn.desktop xrandr.desktop)

settle_the_screen() {
    disable_rival_autostarts
    local found=$output
    [[ -n $found || -e $etc/livekeep.d/10-desktop.toml ]] || found=$(find_output)
    case $found in
        x11 | wayland) write_desktop_keys "$found" ;;
        drm) rm -f "$etc/livekeep.d/10-desktop.toml" && offer_to_disable_display_manager ;;
        *) ;;
    esac
}

disable_rival_autostarts() { # the predecessor's, in any home
    local home name file
    while IFS=: read -r _ _ _ _ _ home _; do
        for name in "${rival_autostarts[@]}"; do
            file=$home/.config/autostart/$name
            [[ -f $file ]] || continue
            if ask "$file starts another player on this screen. Disable it?"; then
                # The folder is the user's: without -T a folder, or a link to one, of the new name would take the file in.
                mv -T "$file" "$file.disabled-by-livekeep"
                note_disabled "autostart $file"
            else
                say "Kept: $file will fight for the screen."
            fi
        done
    done < <(getent passwd | sort -t: -u -k6,6)
}

note_disabled() {
    make_memory
    printf '%s\n' "$1" >>"$memory/disabled"
}

find_output() { # prints x11 or wayland when somebody is logged in on a desktop, drm when there is none
    local session kind
    if has_systemd && command -v loginctl >/dev/null; then
        while read -r session _; do
            [[ $(loginctl show-session "$session" -p Class --value 2>/dev/null) = user ]] || continue
            kind=$(loginctl show-session "$session" -p Type --value 2>/dev/null || true)
            [[ $kind = @(x11|wayland) ]] && printf '%s\n' "$kind" && return
        done < <(loginctl --no-legend list-sessions 2>/dev/null)
    fi
    printf 'drm\n'
}

write_desktop_keys() { # OUTPUT: whose desktop, its display and authority go into a drop-in of the configuration
    local kind=$1 session user='' display='' socket='' authority='' runtime file=$etc/livekeep.d/10-desktop.toml
    while read -r session _; do
        [[ $(loginctl show-session "$session" -p Type --value) = "$kind" ]] || continue
        user=$(loginctl show-session "$session" -p Name --value)
        display=$(loginctl show-session "$session" -p Display --value)
    done < <(loginctl --no-legend list-sessions 2>/dev/null)
    if [[ -n $user ]]; then
        runtime=/run/user/$(id -u "$user")
        socket=$(find "$runtime" -maxdepth 1 -type s -name 'wayland-*' -printf '%f\n' 2>/dev/null | sort | head -n 1)
        authority=$(getent passwd "$user" | cut -d: -f6)/.Xauthority
    fi
    {
        printf '# The desktop that install.sh found. Its keys are explained in livekeep.toml.\n[screen]\noutput = "%s"\n' "$kind"
        if [[ $kind = x11 ]]; then
            printf 'x11_display = "%s"\n' "${display:-:0}"
            [[ -r $authority ]] && printf 'x11_authority = "%s"\n' "$authority"
        else
            printf 'wayland_display = "%s"\ndesktop_user = "%s"\n' "${socket:-wayland-0}" "$user"
        fi
        true
    } >"$file.new"
    chgrp livekeep "$file.new" && chmod 640 "$file.new"
    if cmp -s "$file.new" "$file"; then rm -f "$file.new"; else mv "$file.new" "$file"; fi
}

offer_to_disable_display_manager() {
    has_systemd || return 0
    local unit
    unit=$(systemctl show -p Id --value display-manager.service)
    systemctl is-enabled -q "$unit" 2>/dev/null || systemctl is-active -q "$unit" || return 0
    if ask "$unit owns the screen, and livekeep is to own it instead (output drm). Disable it?"; then
        systemctl disable --now "$unit" || true
        note_disabled "unit $unit"
    else
        say "Kept: $unit. Log in on the desktop and run install.sh there, or livekeep will have no screen."
    fi
}
