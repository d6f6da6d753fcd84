# Unpacks Debian packages into $out and makes their programs and libraries find each other in the store.
set -eu
export PATH=/usr/bin

mkdir -p unpacked $out
for archive in $archives; do
    dpkg-deb -x $archive unpacked
done

# /bin, /usr/bin become bin; lib, lib/x86_64-linux-gnu, usr/lib... become lib. Documentation stays behind.
for from in bin usr/bin usr/games; do
    if [ -d unpacked/$from ]; then mkdir -p $out/bin && cp -a unpacked/$from/. $out/bin; fi
done
for from in lib usr/lib; do
    [ -d unpacked/$from ] || continue
    mkdir -p $out/lib
    if [ -d unpacked/$from/x86_64-linux-gnu ]; then
        cp -a unpacked/$from/x86_64-linux-gnu/. $out/lib
        rm -r unpacked/$from/x86_64-linux-gnu
    fi
    cp -a unpacked/$from/. $out/lib
done
chmod -R u+w $out

# Links out of the package, as into /etc, have no place here.
find $out -type l | sort | while read -r link; do
    case $(readlink "$link") in /*) rm "$link" ;; esac
done
find $out -type l | sort | while read -r link; do
    [ -e "$link" ] || rm "$link"
done

[ -n "$libc" ] || exit 0  # the C library is its own loader's business

path=$out/lib
for directory in $libraries; do path=$path:$directory; done
find $out -type f | sort | while read -r file; do
    [ "$(head -c 4 "$file" | od -An -tx1 | tr -d ' ')" = 7f454c46 ] || continue
    patchelf --set-rpath "$path" --force-rpath "$file" || continue  # a static program has no path to set
    if patchelf --print-interpreter "$file" >/dev/null 2>&1; then
        patchelf --set-interpreter $libc/lib/ld-linux-x86-64.so.2 "$file"
    fi
done

eval "$after"
