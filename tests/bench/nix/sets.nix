# Attribute sets are made, merged with //, looked into and taken apart; strings are interpolated, cut and joined.
let
  inherit (builtins) attrNames concatStringsSep foldl' genList hasAttr length listToAttrs replaceStrings stringLength substring toString;

  person = n: {
    name = "person-${toString n}";
    age = n - n / 90 * 90;
    address = { street = "Street ${toString (n / 7)}"; city = "City ${toString (n / 100)}"; };
    tags = [ "a${toString n}" "b" ];
  };

  moved = p: p // { address = p.address // { street = "${p.address.street}a"; }; moved = true; };

  table = n: listToAttrs (genList (i: { name = "key-${toString i}"; value = moved (person (i + n)); }) 200);

  merged = foldl' (acc: n: acc // table n // { "round-${toString n}" = n; }) { } (genList (n: n) 400);

  described = p: concatStringsSep ", " [ p.name "${toString p.age} years" p.address.street p.address.city (concatStringsSep "+" p.tags) ];

  texts = genList (n: replaceStrings [ "person" "City" ] [ "somebody" "Town" ] (described (moved (person n)))) 60000;

  letters = foldl' (sum: text: sum + stringLength (substring 3 20 text) + (if hasAttr "key-7" merged then 1 else 0)) 0 texts;
in
letters + length (attrNames merged) + foldl' (sum: name: sum + stringLength name) 0 (attrNames merged)
