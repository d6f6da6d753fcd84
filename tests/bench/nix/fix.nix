# Fixed points of package sets that overlays extend, as nixpkgs is made.
let
  inherit (builtins) attrNames foldl' genList head length listToAttrs toString;

  fix = f: let x = f x; in x;

  extends = overlay: f: final: let previous = f final; in previous // overlay final previous;

  base = final: {
    version = 1;
    name = "base-${toString final.version}";
    inputs = [ final.a final.b ];
    a = { value = final.version + 1; };
    b = { value = final.a.value + 1; };
    total = foldl' (sum: input: sum + input.value) 0 final.inputs;
  };

  overlay = n: final: previous: {
    version = previous.version + 1;
    "package-${toString n}" = { value = previous.version + n; after = previous.name; };
    inputs = previous.inputs ++ [ final."package-${toString n}" ];
    total = if n == 0 then previous.total else previous.total + n;
  };

  packages = count: fix (foldl' (f: n: extends (overlay n) f) base (genList (n: n) count));

  result = n: let set = packages 24; in set.version + set.total + length set.inputs + (head set.inputs).value + length (attrNames set) + n;
in
foldl' (sum: n: sum + result n) 0 (genList (n: n) 2000)
