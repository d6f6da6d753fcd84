# A closure of real programs: Debian's, moved into /nix/store. One derivation a package, so that the store paths refer to each other
# as they do in any closure. The host lends the tools that unpack and patch (see `build.py`); nothing of it ends up inside.
{ debs }:
let
  archives = builtins.attrNames (builtins.readDir debs);

  # The one archive of a package: NAME_VERSION_ARCHITECTURE.deb.
  archive = package:
    let
      prefix = "${package}_";
      length = builtins.stringLength prefix;
      found = builtins.filter (file: builtins.substring 0 length file == prefix) archives;
    in
    builtins.path {
      path = debs + "/${builtins.head found}";
      name = "${package}.deb";
    };

  move = { name, packages ? [ name ], libraries ? [ ], keep ? "", after ? "" }: derivation {
    inherit name after keep;
    system = "x86_64-linux";
    builder = "/usr/bin/busybox";
    args = [ "sh" ./move.sh ];
    archives = map archive packages;
    libraries = map (library: "${library}/lib") libraries;
    libc = if libraries == [ ] then "" else libc;
  };

  library = name: libraries: move { inherit name; libraries = [ libc ] ++ libraries; };

  libc = move { name = "libc6"; };
  libgcc = library "libgcc-s1" [ ];
  libtinfo = library "libtinfo6" [ ];
  libattr = library "libattr1" [ ];
  libacl = library "libacl1" [ libattr ];
  libgmp = library "libgmp10" [ ];
  libpcre = library "libpcre2-8-0" [ ];
  libselinux = library "libselinux1" [ libpcre ];
  zlib = library "zlib1g" [ ];
  libexpat = library "libexpat1" [ ];
  libssl = library "libssl3" [ ];
  libffi = library "libffi8" [ ];
  libbz2 = library "libbz2-1.0" [ ];
  liblzma = library "liblzma5" [ ];
  libncursesw = library "libncursesw6" [ libtinfo ];
  libreadline = library "libreadline8" [ libtinfo ];
  libsqlite = library "libsqlite3-0" [ ];
  libuuid = library "libuuid1" [ ];
  libcrypt = library "libcrypt1" [ ];

  bash = move {
    name = "bash";
    libraries = [ libc libtinfo ];
    after = "ln -s bash $out/bin/sh";
  };
  coreutils = move {
    name = "coreutils";
    libraries = [ libc libacl libattr libgmp libselinux libssl ];
  };
  hello = move {
    name = "hello";
    libraries = [ libc ];
  };
  python = move {
    name = "python3";
    packages = [ "python3.11-minimal" "libpython3.11-minimal" "libpython3.11-stdlib" "python3.11" ];
    libraries = [ libc zlib libexpat libssl libffi libbz2 liblzma libncursesw libtinfo libreadline libsqlite libuuid libcrypt ];
    # The store has no times: compiled files say by themselves that they are current. Sets in them are in order of hash.
    after = ''
      export PYTHONHASHSEED=0
      rm -f $out/lib/python3.11/lib-dynload/_dbm.* $out/lib/python3.11/lib-dynload/nis.*
      ln -s python3.11 $out/bin/python3
      $out/bin/python3 -B -m compileall -q --invalidation-mode unchecked-hash $out/lib/python3.11
    '';
  };
in
derivation {
  name = "tour";
  system = "x86_64-linux";
  builder = "/usr/bin/busybox";
  args = [ "sh" ./tour.sh ];
  inherit bash coreutils hello python;
  script = ./tour;
}
