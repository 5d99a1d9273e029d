# shellcheck shell=bash
# Part of install.sh: asks for the record part, puts it in force, asks where the mails go. Which of its units run, and where the
# web pages listen, is the configuration's: `livekeep apply` sees to it. Uses say, ask, make_memory, wants, had, chosen, parts, memory, etc,
# has_been_changed, start, units of install.sh.
# shellcheck disable=SC2154,SC2034 # those are install.sh's

readonly pythons=(python3.11 python3.13) # of bookworm and trixie

offer_record() { # once, where a person sits before it
    if is_staging || [[ ${had[record]} = yes || -v chosen[record] || $assume_yes = yes || ! -t 0 || -e $memory/record-offered ]]; then return; fi
    if ask "A web page and mails about this box (the record part)?"; then wants[record]=yes; fi
    make_memory
    touch "$memory/record-offered"
}

put_path_files() { # Debian's Python finds the library for jobs
    local python
    for python in "${pythons[@]}"; do
        put 644 "$source_folder/etc/livekeep.pth" "$destdir/usr/local/lib/$python/dist-packages/livekeep.pth"
    done
}

record_units() { # prints those that are there and run without being asked for
    local name
    for name in livekeep-recorder.service livekeep-alerter.service livekeep-web.socket livekeep-tidy.timer livekeep-report@{daily,weekly}.timer; do
        if [[ -e $units/$name || -e $units/${name/@*./@.} ]]; then printf '%s\n' "$name"; fi
    done
}

restart_record() { # what runs, with the version of now
    local concerned=() name
    for name in recorder alerter web; do
        if [[ -e $units/livekeep-$name.service ]] && has_been_changed "/lib/livekeep/(core|system|record)/|/livekeep-$name\.service|sandbox"; then
            concerned+=("livekeep-$name.service")
        fi
    done
    if ((${#concerned[@]})); then systemctl try-restart --no-block "${concerned[@]}"; fi
}

take_address() { # once, where a person sits before it and nobody would get a mail
    if [[ ! -t 0 || $assume_yes = yes || -e /etc/credstore/livekeep.notify || -e $memory/address-asked ]]; then return; fi
    if grep -qs '^ *\[notify\.' "$etc/livekeep.toml" "$etc"/livekeep.d/*.toml; then return; fi
    say "Who gets the mails: an address of apprise, such as mailtos://USER:PASSWORD@gmail.com?to=me@example.org (docs/how-to/alerting.md); empty for later."
    livekeep alert set-address me || say "No address yet. Give it later: sudo livekeep alert set-address me"
    make_memory
    touch "$memory/address-asked"
}
