#!/bin/sh
# unpack DIRECTORY PACKAGE...: the files of Debian packages, without what only people read, and without running their scripts.
# Licences stay, and a list of the packages as image scanners look for it. Only for the stages of Containerfile.
set -eu
root=$1
shift

mkdir -p "$root/usr/bin" "$root/usr/lib" "$root/usr/lib64" "$root/usr/sbin" "$root/var/lib/dpkg/status.d"
for name in bin lib lib64 sbin; do
  ln -sfn "usr/$name" "$root/$name"
done

packages=$(mktemp -d)
# apt gives up its rights to fetch, and then needs a place to write.
chmod 777 "$packages"
(cd "$packages" && apt-get download -qq "$@")
for package in "$packages"/*.deb; do
  dpkg-deb --fsys-tarfile "$package" | tar -x -C "$root" --keep-directory-symlink \
    --exclude='./usr/share/doc/*/[!c]*' --exclude='./usr/share/doc/*/changelog*' \
    --exclude='./usr/share/lintian' --exclude='./usr/share/locale' --exclude='./usr/share/man' --exclude='./usr/share/info'
  dpkg-deb --field "$package" > "$root/var/lib/dpkg/status.d/$(dpkg-deb --field "$package" Package)"
done
rm -r "$packages"

find "$root" -xdev -perm /6000 -type f -exec chmod a-s {} +
python3 -m compileall -q -f -s "$root" --invalidation-mode unchecked-hash "$root/usr/lib"
