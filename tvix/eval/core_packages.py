"""The files below `<nix/…>`, which belong to the evaluator: `<nix/fetchurl.nix>`, a derivation that downloads one file, and
`<nix/derivation-internal.nix>`, which is `derivation`.

Their paths are written as they are looked up. They don't begin with a slash, so that nothing else can have such a path.
"""

from __future__ import annotations

from tvix.eval.errors import FileProblem

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from tvix.eval.io import EvalIO, FileKind

ROOT: Final = "<nix"


def path(name: str) -> str:
    """The path of `<nix/NAME>`, whether it is there or not."""
    return f"{ROOT}/{name}>"


class WithCorePackages:
    """An `EvalIO` with these files beside those of `inner`."""

    def __init__(self, inner: EvalIO) -> None:
        self._inner = inner

    def kind(self, path: str) -> FileKind | None:
        if not path.startswith(ROOT):
            return self._inner.kind(path)
        return "regular" if path in _FILES else None

    def read(self, path: str) -> bytes:
        if not path.startswith(ROOT):
            return self._inner.read(path)
        contents = _FILES.get(path)
        if contents is None:
            raise FileProblem(f"opening file '{path}': No such file or directory")
        return contents

    def list(self, path: str) -> dict[str, FileKind]:
        if not path.startswith(ROOT):
            return self._inner.list(path)
        raise FileProblem(f"reading directory {path}: Not a directory")

    def resolve(self, path: str) -> str:
        return path if path.startswith(ROOT) else self._inner.resolve(path)

    def read_link(self, path: str) -> str:
        return self._inner.read_link(path)

    def environment(self, name: str) -> str:
        return self._inner.environment(name)

    def now(self) -> int:
        return self._inner.now()


_FETCHURL: Final = b"""\
let
  # The digest that was given, the first of several, and its algorithm; what `hash` holds names its own.
  chosen = arguments: builtins.foldl'
    (found: next: if found.digest != "" then found else next)
    { algorithm = ""; digest = arguments.hash; }
    (map (algorithm: { inherit algorithm; digest = arguments.${algorithm}; }) [ "sha512" "sha1" "md5" "sha256" ]);
in

{ url
, name ? baseNameOf (toString url)
, hash ? "", sha512 ? "", sha1 ? "", md5 ? "", sha256 ? ""
, outputHash ? (chosen { inherit hash sha512 sha1 md5 sha256; }).digest
, outputHashAlgo ? (chosen { inherit hash sha512 sha1 md5 sha256; }).algorithm
, executable ? false, unpack ? false
, impure ? false
, system ? ""
}:

let
  wanted = if impure then { __impure = true; } else { inherit outputHash outputHashAlgo; };
in
derivation (wanted // {
  inherit name url executable unpack;
  urls = [ url ];
  builder = "builtin:fetchurl";
  system = "builtin";
  outputHashMode = if executable || unpack then "recursive" else "flat";
  preferLocalBuild = true;
  impureEnvVars = map (protocol: protocol + "_proxy") [ "http" "https" "ftp" "all" "no" ];
})
"""
"""The derivation that C++ Nix's file of this name makes, attribute by attribute, since its path depends on each of them."""
_DERIVATION: Final = b"""\
# `derivationStrict` computes paths, and only when one is needed. What is made of them here is a set for each output, which has all
# attributes of the derivation and the sets of the other outputs; the set of the first output is the derivation.
{ outputs ? [ "out" ], ... }@arguments:

let
  paths = derivationStrict arguments;
  shared = arguments // builtins.listToAttrs named // {
    all = map (output: output.value) named;
    drvAttrs = arguments;
  };
  named = map (name: { inherit name; value = ofOutput name; }) outputs;
  ofOutput = outputName: shared // {
    inherit outputName;
    inherit (paths) drvPath;
    outPath = paths.${outputName};
    type = "derivation";
  };
in
(builtins.head named).value
"""
_FILES: Final[dict[str, bytes]] = {path("fetchurl.nix"): _FETCHURL, path("derivation-internal.nix"): _DERIVATION}
