#!/usr/bin/env bash
# Makes .venv in this checkout: the pinned requirements and the package, with which every tool runs.
# Does nothing when it is up to date, so other scripts call it at their start.
#
#   bash build.sh             what the tools need (requirements/core.txt)
#   bash build.sh --test      and what the checks need; so for every requirements/NAME.txt with --NAME
#   PYTHON=/path/to/python3.11 bash build.sh
#
# Exit codes: 2 no usable Python or a wrong option, 4 no network or no disk.

build() (
    root=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
    venv=$root/.venv
    groups=(core)
    unset PYTHONHOME PYTHONPATH VIRTUAL_ENV
    export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_USER=0 PIP_NO_INPUT=1

    for option in "$@"; do
        case $option in
        -h | --help) sed -n '2,/^$/s/^# \{0,1\}//p' "$root/build.sh" && exit 0 ;;
        esac
        [[ $option == --* && -f $root/requirements/${option#--}.txt ]] || fail 2 "unknown option $option; see build.sh --help"
        groups+=("${option#--}")
    done

    if up_to_date; then
        say ".venv is up to date"
        exit 0
    fi
    lock
    up_to_date && exit 0 # another run has just finished it
    if ! healthy; then
        find_python
        [[ ! -L $venv ]] || fail 2 ".venv is a link to $(readlink "$venv"), perhaps another checkout's; remove the link"
        make_environment
    fi
    for group in "${groups[@]}"; do
        current "$group" || install "$group"
    done
    say ".venv is ready; next: source envsetup.sh"
)

say() { echo "build.sh: $*" >&2; }

fail() {
    say "error: $2"
    exit "$1"
}

# Two runs at once: the second waits for the first.
lock() {
    command -v flock >/dev/null || return 0
    exec 9<"$root/build.sh"
    flock -n 9 && return
    say "waiting for another build.sh to finish"
    flock 9
}

up_to_date() {
    local group
    healthy || return 1
    for group in "${groups[@]}"; do current "$group" || return 1; done
}

# Was .venv made here, by the Python that is asked for, and never left half-made?
healthy() {
    [[ -e $venv/made-by && ! -e $venv/unfinished ]] && [[ $(<"$venv/made-by") == "$(identity "${PYTHON:-$venv/bin/python}")" ]]
}

identity() { echo "$root $("$1" -ISc 'import sys; print(sys.version)' 2>/dev/null)"; }

# Does .venv hold what requirements/GROUP.txt asks for?
current() { [[ -e $venv/stamp-$1 && $(<"$venv/stamp-$1") == "$(stamp "$1")" ]]; }

stamp() { (cd "$root" && sha256sum build.sh requirements/core.txt "requirements/$1.txt"); }

# Sets `python` to the first Python that is new enough and can make environments.
find_python() {
    local candidates=(python3.11 python3.12 python3.13 python3.14 python3) candidate reason reasons=""
    [[ -z ${PYTHON:-} ]] || candidates=("$PYTHON")
    for candidate in "${candidates[@]}"; do
        reason=$(unfit "$candidate")
        if [[ $reason == *-venv* && -z $(install_venv_module "$reason") ]]; then reason=$(unfit "$candidate"); fi
        if [[ -z $reason ]]; then
            python=$candidate
            return
        fi
        [[ $reason == "is not found" && -z ${PYTHON:-} ]] || reasons+="$candidate $reason; "
    done
    fail 2 "${reasons:-found no Python; }install Python 3.11 with its venv module, or give one: PYTHON=/path/to/python3.11 bash build.sh"
}

# Prints why a Python cannot be used, nothing when it can.
unfit() {
    command -v "$1" >/dev/null || { echo "is not found" && return; }
    "$1" -c '
import sys
version = "%d.%d" % sys.version_info[:2]
try:
    import venv, ensurepip
except ImportError:
    print("has no venv module (Debian: apt-get install python%s-venv)" % version)
if sys.version_info < (3, 11):
    print("is Python %s, older than 3.11" % version)
' 2>/dev/null | tail -n 1
    [[ ${PIPESTATUS[0]} == 0 ]] || echo "does not run"
}

# Debian splits venv from Python; root can have it. Prints something when it cannot be had.
install_venv_module() {
    local package=${1##* }
    [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null || { echo no && return; }
    say "installing the Debian package ${package%)}"
    DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "${package%)}" >/dev/null 2>&1 || echo no
}

make_environment() {
    say "making .venv with $("$python" -V 2>&1)"
    attempt "making .venv" "$python" -m venv --clear "$venv"
    local site_packages=("$venv"/lib/python3.*/site-packages)
    # A plain path, not an editable install: no import hook at every start, and nothing to repeat when a tool is added.
    echo "$root/lib" >"${site_packages[0]}/stepdown.pth"
    identity "$venv/bin/python" >"$venv/made-by"
}

install() {
    say "installing requirements/$1.txt (the first time takes a minute or two)"
    touch "$venv/unfinished" # stays when we are interrupted: the next run starts afresh
    rm -f "$venv/stamp-$1"
    attempt "installing requirements/$1.txt" "$venv/bin/python" -m pip install -r "$root/requirements/$1.txt"
    "$venv/bin/register-python-argcomplete" tpuc-opt >"$venv/completion.sh"
    stamp "$1" >"$venv/stamp-$1" && rm "$venv/unfinished"
}

# Runs a command quietly; when it fails, says in one line why and stops.
attempt() {
    local what=$1 output
    shift
    output=$("$@" 2>&1 </dev/null) && return
    case $output in
    *"No space left on device"* | *"Disk quota exceeded"*)
        fail 4 "no space left on the disk of $venv or ${TMPDIR:-/tmp}; about 1 GB is needed"
        ;;
    *"NewConnectionError"* | *"new connection"* | *"name resolution"* | *"timed out"* | *"ProxyError"* | *"SSLError"*)
        rm -f "$venv/unfinished" # pip had not begun to change anything
        fail 4 "pip cannot reach the package index; check the network, or set PIP_INDEX_URL or PIP_FIND_LINKS"
        ;;
    *)
        fail 4 "$what failed: $(grep -E 'ERROR|[Ee]rror' <<<"$output" | tail -n 1 || tail -n 1 <<<"$output")"
        ;;
    esac
}

build "$@"
