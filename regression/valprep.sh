#!/usr/bin/env bash
# Sorts the 50000 photos of ILSVRC2012_img_val.tar into one folder a class (n01440764, …). Run it where they lie:
#
#   mkdir -p imagenet/val && tar -xf ILSVRC2012_img_val.tar -C imagenet/val
#   pushd imagenet/val; bash ../../valprep.sh; popd
#
# In an empty folder it unpacks the tar itself. It needs the devkit, ILSVRC2012_devkit_t12.tar.gz or its unpacked folder,
# and looks for both here and up to two folders above; or name the devkit: valprep.sh DEVKIT.
#
# Integrity: the tar's MD5 is checked where the tar is found (of another tar, give it: VAL_MD5=… bash valprep.sh), and
# each photo that it moves must be there and whole. Nothing is moved before all is well; a second run changes nothing.
set -eu

VAL_MD5=${VAL_MD5:-29b22e2961454d5413ddabcf34fc5622}

fail() {
    echo "valprep.sh: error: $*" >&2
    exit 2
}

# Prints the first of the given names that exists here or up to two folders above.
near() {
    local name place
    for name in "$@"; do
        for place in . .. ../..; do
            if [ -e "$place/$name" ]; then
                echo "$place/$name"
                return
            fi
        done
    done
}

has_loose_photos() {
    compgen -G 'ILSVRC2012_val_*.JPEG' >/dev/null
}

has_photos() {
    has_loose_photos || compgen -G 'n[0-9]*/ILSVRC2012_val_*.JPEG' >/dev/null
}

check_md5() {
    local sum
    echo "checking the MD5 of $1" >&2
    sum=$(md5sum <"$1")
    [ "${sum%% *}" = "$VAL_MD5" ] || fail "$1: its MD5 is ${sum%% *}, not $VAL_MD5; download it again"
}

tar=$(near ILSVRC2012_img_val.tar)
empty=$([ -n "$(ls -A)" ] || echo yes)
if ! has_photos && { [ -z "$empty" ] || [ -z "$tar" ]; }; then
    fail "$PWD: holds no ILSVRC2012_val_*.JPEG; run it in the folder into which ILSVRC2012_img_val.tar was" \
        "unpacked, or in an empty one with the tar up to two folders above"
fi
devkit=${1:-$(near ILSVRC2012_devkit_t12.tar.gz ILSVRC2012_devkit_t12)}
[ -n "$devkit" ] || fail "ILSVRC2012_devkit_t12.tar.gz is neither here nor up to two folders above;" \
    "download it from image-net.org, or name it: valprep.sh DEVKIT"
[ -e "$devkit" ] || fail "$devkit: no such file"
python3 -c 'import stepdown' 2>/dev/null || fail "python3 does not find stepdown; source its envsetup.sh first"
if [ -n "$tar" ] && { [ -n "$empty" ] || has_loose_photos; }; then
    check_md5 "$tar"
fi
if [ -n "$empty" ]; then
    echo "unpacking $tar" >&2
    tar -xf "$tar" || fail "$tar: cannot be unpacked here; see above"
fi

exec python3 - "$devkit" <<'PYTHON'
import sys

from stepdown.data.devkit import read_classes, sort_photos
from stepdown.errors import StepError

try:
    classes = read_classes(sys.argv[1])
    moved = sort_photos(".", classes)
except StepError as error:
    print(f"valprep.sh: error: {error}", file=sys.stderr)
    sys.exit(error.exit_code)
print(f"{len(classes)} photos in {len(set(classes))} folders, {moved} moved now")
print("next: model_eval_imagenet.py --model MODEL --dataset .")
PYTHON
