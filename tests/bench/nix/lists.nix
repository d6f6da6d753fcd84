# A list of two million elements, made, mapped and folded.
builtins.foldl' (sum: x: sum + x) 0 (map (x: x * 2) (builtins.genList (n: n + 1) 2000000))
