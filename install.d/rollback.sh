# shellcheck shell=bash
# Part of install.sh: keeps what was installed before a run that changes something, and brings it back (--rollback). It lies in
# /var/lib/livekeep/install/previous: the files below tree/, their list in files, the parts that they are in parts. Configuration,
# credentials and packages are not among them. Uses say, die, choose, put,
# make_memory, parts, had, memory, manifest of install.sh.
# shellcheck disable=SC2154,SC2034 # those are install.sh's

keep_previous() { # before the first change; what an interrupted run has kept is the older truth
    local kept=$memory/previous.new file part
    if is_staging || [[ ! -e $memory/files || -e $kept/files ]]; then return; fi
    rm -rf "$kept"
    install -d "$kept" "$kept/tree"
    # By tar: cp --parents of bookworm fails on absolute names in any folder but /.
    while IFS= read -r file; do
        if [[ -e $file || -L $file ]]; then printf '%s\0' "${file#/}"; fi
    done <"$memory/files" | tar --create --directory=/ --no-recursion --null --verbatim-files-from --files-from=- |
        tar --extract --same-permissions --directory="$kept/tree"
    for part in "${parts[@]}"; do
        if [[ ${had[$part]} = yes ]]; then printf '%s\n' "$part"; fi
    done >"$kept/parts"
    # The last, for it says that all is there.
    cp "$memory/files" "$kept/files"
}

settle_previous() { # what was kept is what the next --rollback brings back
    [[ -e $memory/previous.new/files ]] || return 0
    rm -rf "$memory/previous"
    mv "$memory/previous.new" "$memory/previous"
}

roll_back() {
    local kept=$memory/previous part file
    if [[ -d $memory ]]; then make_memory; fi
    [[ -e $kept/files ]] || die "there is nothing to go back to: no run has changed anything since the first"
    for part in "${parts[@]}"; do
        if grep -qx "$part" "$kept/parts"; then choose --with "$part"; else choose --without "$part"; fi
    done
    say "From livekeep $(version_in "") back to $(version_in "$kept/tree")"
    remember_parts
    manifest=$(mktemp)
    while IFS= read -r file; do
        # The one link is made anew.
        if [[ -f $kept/tree$file && ! -L $kept/tree$file ]]; then put "$(stat -c %a "$kept/tree$file")" "$kept/tree$file" "$file"; fi
    done <"$kept/files"
    finish_files
}

version_in() { # ROOT: prints the version that is installed there, with its revision when known
    local code=$1/usr/local/lib/livekeep version revision=''
    version=$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' "$code/lib/livekeep/__init__.py" 2>/dev/null) || true
    if [[ -e $code/revision ]]; then revision=" ($(<"$code/revision"))"; fi
    printf '%s%s\n' "${version:-of unknown version}" "$revision"
}
