#!/usr/bin/env bash
# The images of Containerfile, built where no registry answers: with buildah (no daemon, no virtual machine) over a base that
# debootstrap makes from Debian's archive. Needs root, a Debian, `apt-get install buildah debootstrap python3-pip`.
#
#   e2e/image.sh --output DIR [--targets "operator enforcer probe"] [--tag TAG] [--base FILE] [--mirror URL]
#
#   --output DIR    gets an archive for each target, DIR/operator.tar and so on: `kind load image-archive`, `docker load`,
#                   `ctr --namespace k8s.io images import` and `podman load` read it
#   --targets LIST  what to build; all three by default
#   --tag TAG       of policy-controller/operator:TAG and so on; the version of pyproject.toml by default
#   --base FILE     a tar of the base: used if it is there, else made and left there for the next time
#   --mirror URL    of Debian
#
# What lets this machine into the network is asked of its own pip and apt, and never gets into an image: pip fetches before the
# build begins, into a folder that only the build sees, and a proxy of apt is mounted for its length.
set -euo pipefail

SUITE=bookworm
PYTHON=3.11
declare -A PROGRAMS=(
  [operator]="policy-controller"
  [enforcer]="policy-enforcer"
  [probe]="python3 -m policy_controller.testing.probe.agent"
)
repository=$(cd "$(dirname "$0")/.." && pwd)
output="" targets="operator enforcer probe" tag="" base="" mirror=http://deb.debian.org/debian

fail() { echo "e2e/image.sh: $*" >&2; exit 1; }

while [ $# -gt 0 ]; do
  case $1 in
    -h | --help) sed -n '2,/^set /{s/^# \{0,1\}//;/^set /d;p}' "$0"; exit 0 ;;
    --output | --targets | --tag | --base | --mirror) [ $# -gt 1 ] || fail "$1 needs a value"; declare "${1#--}=$2"; shift 2 ;;
    *) fail "$1 is not known; see --help" ;;
  esac
done
[ -n "$output" ] || fail "--output DIR is needed"
[ "$(id -u)" = 0 ] || fail "needs root: it makes file systems with other owners than yours"
for tool in buildah debootstrap python3 unshare; do
  command -v "$tool" >/dev/null || fail "$tool is missing: apt-get install buildah debootstrap python3-pip"
done
tag=${tag:-$(sed -n 's/^version = "\(.*\)"$/\1/p' "$repository/pyproject.toml")}
for target in $targets; do
  [ -n "${PROGRAMS[$target]:-}" ] || fail "$target is no target; there are ${!PROGRAMS[*]}"
done
mkdir -p "$output"
output=$(cd "$output" && pwd)

# What is mounted below belongs to this name space alone: however this ends, nothing stays mounted, and nothing that is removed
# at the end leads elsewhere.
if [ -z "${IMAGE_WORK:-}" ]; then
  IMAGE_WORK=$(mktemp -d "${TMPDIR:-/tmp}/policy-controller-image.XXXXXX")
  trap 'rm -rf --one-file-system "$IMAGE_WORK"' EXIT
  export IMAGE_WORK
  unshare --mount --propagation private "$0" --output "$output" --targets "$targets" --tag "$tag" --base "$base" --mirror "$mirror"
  exit
fi

say() { printf '%4ds  %s\n' "$SECONDS" "$*"; }

# vfs works everywhere and copies whole file systems, so it keeps none of the layers in between for the next target; overlay is
# quick, and not to be had where / is one itself.
mkdir "$IMAGE_WORK/lower" "$IMAGE_WORK/upper" "$IMAGE_WORK/merging" "$IMAGE_WORK/merged"
driver=vfs layers=--layers=false
if mount -t overlay overlay -o "lowerdir=$IMAGE_WORK/lower,upperdir=$IMAGE_WORK/upper,workdir=$IMAGE_WORK/merging" \
  "$IMAGE_WORK/merged" 2> /dev/null; then
  umount "$IMAGE_WORK/merged"
  driver=overlay layers=--layers
fi
images() { buildah --root "$IMAGE_WORK/storage" --runroot "$IMAGE_WORK/run" --storage-driver "$driver" "$@"; }

# ---- the base ----
if [ -z "$base" ] || [ ! -e "$base" ]; then
  say "making a base of Debian $SUITE"
  debootstrap --variant=minbase --include=ca-certificates "$SUITE" "$IMAGE_WORK/base" "$mirror" > "$IMAGE_WORK/debootstrap.log" \
    || { tail -n 20 "$IMAGE_WORK/debootstrap.log" >&2; fail "debootstrap failed"; }
  {
    echo "deb $mirror $SUITE main"
    echo "deb $mirror $SUITE-updates main"
    echo "deb ${mirror%/debian}/debian-security $SUITE-security main"
  } > "$IMAGE_WORK/base/etc/apt/sources.list"
  rm -rf "$IMAGE_WORK/base/var/cache/apt/archives" "$IMAGE_WORK/base/var/lib/apt/lists"
  tar -C "$IMAGE_WORK/base" -cf "$IMAGE_WORK/base.tar" .
  if [ -n "$base" ]; then
    mv "$IMAGE_WORK/base.tar" "$base"
  else
    base=$IMAGE_WORK/base.tar
  fi
fi
container=$(images from scratch)
images add --quiet "$container" "$base" / > /dev/null
images commit --quiet --rm "$container" localhost/policy-controller-base > /dev/null

# ---- what the build needs from the network, by this machine's own ways ----
say "fetching Python packages"
for image in operator enforcer probe build; do
  python3 -m pip download --quiet --quiet --disable-pip-version-check --no-deps --require-hashes --only-binary :all: \
    --python-version "$PYTHON" --dest "$IMAGE_WORK/wheels" --requirement "$repository/requirements-$image.lock"
done
printf '[global]\nno-index = true\nfind-links = /wheels\n' > "$IMAGE_WORK/pip.conf"
apt-config dump | grep -E '^Acquire::(http|https)::Proxy ' > "$IMAGE_WORK/apt.conf" || true

# ---- the images ----
revision=$(git -C "$repository" rev-parse HEAD 2> /dev/null || echo unknown)
# Every file is of the time of the commit: the same sources and packages give the same layers, byte by byte.
written=$(git -C "$repository" log -1 --format=%ct 2> /dev/null || echo 0)
for target in $targets; do
  name=policy-controller/$target:$tag
  say "building $name"
  images build --quiet --isolation chroot --pull-never --format docker "$layers" --timestamp "$written" --target "$target" --tag "docker.io/$name" \
    --build-arg BASE=localhost/policy-controller-base --build-arg "VERSION=$tag" --build-arg "REVISION=$revision" \
    --volume "$IMAGE_WORK/wheels:/wheels:ro" --volume "$IMAGE_WORK/pip.conf:/etc/pip.conf:ro" \
    --volume "$IMAGE_WORK/apt.conf:/etc/apt/apt.conf.d/90proxy:ro" \
    --ignorefile "$repository/.containerignore" --file "$repository/Containerfile" "$repository" > "$IMAGE_WORK/build.log" 2>&1 \
    || { tail -n 40 "$IMAGE_WORK/build.log" >&2; fail "$target could not be built"; }
  # Whatever it loads at its start is there.
  container=$(images from --quiet --pull-never "docker.io/$name")
  images run --isolation chroot "$container" -- ${PROGRAMS[$target]} --help > "$IMAGE_WORK/help.log" 2>&1 \
    || { tail -n 5 "$IMAGE_WORK/help.log" >&2; fail "$target does not start"; }
  images rm "$container" > /dev/null
  rm -f "$output/$target.tar"
  images push --quiet "docker.io/$name" "docker-archive:$output/$target.tar" > /dev/null
done

say "done, with storage driver $driver"
for target in $targets; do
  printf '%-40s %5d MB on a node, %5d MB to fetch\n' "policy-controller/$target:$tag" \
    "$(($(stat -c %s "$output/$target.tar") / 1000000))" "$(($(gzip -c "$output/$target.tar" | wc -c) / 1000000))"
done
