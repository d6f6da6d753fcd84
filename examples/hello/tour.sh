# One directory with `tour`, which shows that the programs work.
set -eu
export PATH=/usr/bin
mkdir -p $out/bin
sed -e "s,@bash@,$bash," -e "s,@path@,$bash/bin:$coreutils/bin:$hello/bin:$python/bin," $script >$out/bin/tour
chmod +x $out/bin/tour
