# Source this file, in bash or zsh and from any folder: the tools come on PATH, with tab completion.
#
#   source envsetup.sh
#
# Sets STEPDOWN_ROOT (this checkout) and REGRESSION_PATH (its regression folder).

_stepdown_setup() {
    local root
    root=$(dirname "$(readlink -f "$1")")
    if [ ! -e "$root/.venv/stamp-core" ]; then
        echo "envsetup.sh: error: $root/.venv is missing or half-made; run: bash $root/build.sh" >&2
        return 2
    fi
    export STEPDOWN_ROOT="$root" REGRESSION_PATH="$root/regression"
    _stepdown_path_first "$root/.venv/bin"
    _stepdown_path_first "$root/tools"
    _stepdown_complete
}

# Puts a folder in front of PATH, once however often this file is sourced.
_stepdown_path_first() {
    local rest=":$PATH:"
    rest=${rest//":$1:"/:}
    rest=${rest#:}
    export PATH="$1:${rest%:}"
}

# Completion costs nothing until the tab key is pressed: then the tool itself answers.
_stepdown_complete() {
    set -- $(command ls "$STEPDOWN_ROOT/tools")
    [ $# -gt 0 ] || return 0
    if [ -z "${ZSH_VERSION:-}" ]; then
        . "$STEPDOWN_ROOT/.venv/completion.sh"
        complete -o nospace -o default -o bashdefault -F _python_argcomplete "$@"
    elif typeset -f compdef >/dev/null; then # zsh whose completion is switched on
        . "$STEPDOWN_ROOT/.venv/completion.sh"
        compdef _python_argcomplete "$@"
    fi
}

if [ -n "${ZSH_VERSION:-}" ]; then
    eval '_stepdown_setup "${(%):-%x}"' # the name of this file, spelled so that bash can skip it
elif [ "${BASH_SOURCE[0]}" = "$0" ]; then
    echo "envsetup.sh: error: has no effect when executed; use: source $0" >&2
    exit 2
else
    _stepdown_setup "${BASH_SOURCE[0]}"
fi
