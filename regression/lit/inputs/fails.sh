#!/usr/bin/env bash
# fails.sh CODE COMMAND …: prints the command's one line of error; succeeds where it ends with CODE.
wanted=$1
shift
error=$("$@" 2>&1 >/dev/null)
code=$?
printf '%s\n' "$error"
[[ $code == "$wanted" && $(wc -l <<<"$error") == 1 ]] || { echo "exit code $code, want $wanted and one line"; exit 1; }
