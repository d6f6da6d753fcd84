# A small module system: modules declare options and define them, definitions have priorities, conditions, orders and types, sets of
# submodules nest. It is evaluated 150 times over with configurations of its own.
let
  inherit (builtins)
    all any attrNames attrValues concatLists concatMap concatStringsSep elem filter foldl' functionArgs genList hasAttr head
    intersectAttrs isAttrs isBool isFunction isInt isList isPath isString length listToAttrs map mapAttrs removeAttrs sort
    stringLength tail toString typeOf zipAttrsWith;

  # Small things.

  pair = name: value: { inherit name value; };
  optional = condition: value: if condition then [ value ] else [ ];
  optionals = condition: values: if condition then values else [ ];
  filterAttrs = keep: set: listToAttrs (filter (entry: keep entry.name entry.value) (map (name: pair name set.${name}) (attrNames set)));
  last = list: builtins.elemAt list (length list - 1);
  quoted = path: concatStringsSep "." path;
  least = foldl' (a: b: if b < a then b else a);
  showFiles = definitions: concatStringsSep ", " (map (definition: "`${definition.file}'") definitions);
  unique = foldl' (seen: x: if elem x seen then seen else seen ++ [ x ]) [ ];

  # What stands in the place of a value.

  mkIf = condition: content: { _type = "if"; inherit condition content; };
  mkMerge = contents: { _type = "merge"; inherit contents; };
  mkOverride = priority: content: { _type = "override"; inherit priority content; };
  mkOrder = priority: content: { _type = "order"; inherit priority content; };
  mkForce = mkOverride 50;
  mkDefault = mkOverride 1000;
  mkOptionDefault = mkOverride 1500;
  mkBefore = mkOrder 500;
  mkAfter = mkOrder 1500;
  usual = 100;
  usualOrder = 1000;

  isOption = value: value._type or null == "option";
  mkOption =
    { type ? types.anything, default ? null, description ? "", apply ? null, internal ? false, example ? null, readOnly ? false }@given:
    given // { _type = "option"; };
  mkEnableOption = what: mkOption { type = types.bool; default = false; description = "Whether to enable ${what}."; };

  # Types: `check` says whether a definition can be one, `merge` makes one value out of all definitions.

  mergeOnly = path: definitions:
    if length definitions == 1 then (head definitions).value
    else throw "The option `${quoted path}' is defined in several places: ${showFiles definitions}";

  mergeEqual = path: definitions:
    let first = (head definitions).value; in
    if all (definition: definition.value == first) (tail definitions) then first
    else throw "The option `${quoted path}' has conflicting definitions in ${showFiles definitions}";

  mkType = { name, check, merge ? mergeEqual, description ? name, empty ? null, nested ? null, options ? null }@given:
    { inherit merge description empty nested options; } // given // { _type = "option-type"; };

  types = rec {
    anything = mkType { name = "anything"; check = _: true; };
    bool = mkType { name = "bool"; check = isBool; description = "boolean"; };
    int = mkType { name = "int"; check = isInt; description = "signed integer"; };
    string = mkType { name = "string"; check = isString; };
    path = mkType { name = "path"; check = x: isPath x || (isString x && builtins.substring 0 1 x == "/"); };
    package = mkType { name = "package"; check = x: isAttrs x && x ? name; merge = mergeOnly; };
    raw = mkType { name = "raw"; check = _: true; merge = mergeOnly; };

    port = mkType { name = "port"; check = x: isInt x && x >= 0 && x <= 65535; description = "16 bit unsigned integer"; };
    positive = mkType { name = "positive"; check = x: isInt x && x > 0; description = "positive integer"; };

    lines = mkType {
      name = "lines";
      check = isString;
      merge = _: definitions: concatStringsSep "\n" (map (definition: definition.value) definitions);
    };

    separated = separator: mkType {
      name = "separated";
      check = isString;
      merge = _: definitions: concatStringsSep separator (map (definition: definition.value) definitions);
    };

    enum = values: mkType {
      name = "enum";
      check = x: elem x values;
      description = "one of ${concatStringsSep ", " (map toString values)}";
    };

    nullOr = type: mkType {
      name = "nullOr";
      check = x: x == null || type.check x;
      merge = path: definitions:
        if all (definition: definition.value == null) definitions then null
        else if any (definition: definition.value == null) definitions then throw "The option `${quoted path}' is both null and not null"
        else type.merge path definitions;
      description = "null or ${type.description}";
      nested = type;
    };

    either = one: other: mkType {
      name = "either";
      check = x: one.check x || other.check x;
      merge = path: definitions:
        if all (definition: one.check definition.value) definitions then one.merge path definitions
        else if all (definition: other.check definition.value) definitions then other.merge path definitions
        else mergeOnly path definitions;
      description = "${one.description} or ${other.description}";
    };

    listOf = type: mkType {
      name = "listOf";
      check = isList;
      empty = [ ];
      merge = path: definitions:
        let
          element = definition: index: value:
            mergeDefinitions (path ++ [ "[${toString index}]" ]) type [ { inherit (definition) file; inherit value; } ];
          elements = definition: genList (index: element definition index (builtins.elemAt definition.value index)) (length definition.value);
        in
        map (merged: merged.value) (filter (merged: merged.isDefined) (concatMap elements definitions));
      description = "list of ${type.description}";
      nested = type;
    };

    attrsOf = type: mkType {
      name = "attrsOf";
      check = isAttrs;
      empty = { };
      merge = path: definitions:
        let
          spread = map (definition: mapAttrs (_: value: { inherit (definition) file; inherit value; }) definition.value) definitions;
          merged = zipAttrsWith (name: values: mergeDefinitions (path ++ [ name ]) type values) spread;
        in
        mapAttrs (_: entry: entry.value) (filterAttrs (_: entry: entry.isDefined) merged);
      description = "attribute set of ${type.description}";
      nested = type;
    };

    submodule = module: mkType {
      name = "submodule";
      check = x: isAttrs x || isFunction x;
      empty = { };
      merge = path: definitions:
        let
          given = map (definition: { _file = definition.file; imports = [ definition.value ]; }) definitions;
        in
        (evalModules { prefix = path; modules = [ module ] ++ given; arguments = { name = last path; }; }).config;
      options = module;
    };
  };

  # Properties are taken off definitions: what `mkIf` and `mkMerge` hold, then the priority that wins, then the order.

  discharge = definition:
    let value = definition.value; kind = if isAttrs value then value._type or "" else ""; in
    if kind == "merge" then concatMap (content: discharge { inherit (definition) file; value = content; }) value.contents
    else if kind == "if" then
      if value.condition then discharge { inherit (definition) file; value = value.content; } else [ ]
    else [ definition ];

  priorityOf = definition: if isAttrs definition.value && definition.value._type or "" == "override" then definition.value.priority else usual;

  strongest = definitions:
    let
      priority = least 9999 (map priorityOf definitions);
      strip = definition:
        if isAttrs definition.value && definition.value._type or "" == "override"
        then definition // { value = definition.value.content; }
        else definition;
    in
    concatMap (definition: optional (priorityOf definition == priority) (strip definition)) definitions;

  ordered = definitions:
    let
      orderOf = definition: definition.order or usualOrder;
      strip = definition:
        if isAttrs definition.value && definition.value._type or "" == "order"
        then definition // { value = definition.value.content; order = definition.value.priority; }
        else definition;
      stripped = map strip definitions;
    in
    if any (definition: definition ? order) stripped then sort (a: b: orderOf a < orderOf b) stripped else stripped;

  mergeDefinitions = path: type: definitions:
    let
      remaining = ordered (strongest (concatMap discharge definitions));
      wrong = filter (definition: ! type.check definition.value) remaining;
    in
    rec {
      isDefined = remaining != [ ];
      value =
        if ! isDefined then throw "The option `${quoted path}' is used but not defined."
        else if wrong != [ ] then
          throw "A definition for option `${quoted path}' is not of type `${type.description}', but a ${typeOf (head wrong).value}: ${showFiles wrong}"
        else type.merge path remaining;
    };

  # Modules are functions or sets, with `options` and `config` or with the configuration alone; `imports` are followed.

  applied = arguments: config: module:
    if isFunction module then
      let wanted = functionArgs module; in
      module (if wanted == { } then arguments else intersectAttrs wanted arguments // intersectAttrs wanted { inherit config; } // arguments)
    else if isAttrs module then module
    else import module;

  normal = fallback: module:
    let
      structured = module ? config || module ? options;
      meta = [ "_file" "imports" "disabled" "key" ];
      unknown = attrNames (removeAttrs module (meta ++ [ "config" "options" ]));
    in
    if structured && unknown != [ ] then throw "The module `${module._file or fallback}' has unsupported attributes: ${concatStringsSep ", " unknown}"
    else {
      file = module._file or fallback;
      imports = module.imports or [ ];
      options = if structured then module.options or { } else { };
      config = if structured then module.config or { } else removeAttrs module meta;
    };

  collect = arguments: config: fallback: modules:
    let
      one = index: module: normal "${fallback}:${toString index}" (applied arguments config module);
      here = genList (index: one index (builtins.elemAt modules index)) (length modules);
    in
    concatMap (module: [ module ] ++ collect arguments config module.file module.imports) here;

  # `mkIf` around a set of definitions is pushed into the set.

  pushed = value:
    let kind = if isAttrs value then value._type or "" else ""; in
    if kind == "merge" then concatMap pushed value.contents
    else if kind == "if" then map (mapAttrs (_: content: mkIf value.condition content)) (pushed value.content)
    else if kind == "override" then map (mapAttrs (_: content: mkOverride value.priority content)) (pushed value.content)
    else [ value ];

  definitionsOf = module: map (value: { inherit (module) file; inherit value; }) (pushed module.config);

  byName = definitions: zipAttrsWith (_: found: found) (map (definition: mapAttrs (_: value: { inherit (definition) file; inherit value; }) definition.value) definitions);

  evaluated = path: declarations: definitions:
    let
      declared = zipAttrsWith (_: found: found) (map (declaration: mapAttrs (_: value: { inherit (declaration) file; inherit value; }) declaration.options) declarations);
      defined = byName definitions;
      undeclared = attrNames (removeAttrs defined (attrNames declared));

      entry = name: found:
        let
          here = path ++ [ name ];
          options = filter (each: isOption each.value) found;
        in
        if options == [ ] then
          evaluated here (map (each: { inherit (each) file; options = each.value; }) found)
            (concatMap (definition: map (value: { inherit (definition) file; inherit value; }) (pushed definition.value)) (defined.${name} or [ ]))
        else if length options > 1 then throw "The option `${quoted here}' is declared in several places: ${showFiles options}"
        else {
          inherit (evaluatedOption here (head options).value (defined.${name} or [ ])) value option;
          undeclared = [ ];
        };

      entries = mapAttrs entry declared;
    in
    {
      value = mapAttrs (_: each: each.value) entries;
      option = mapAttrs (_: each: each.option) entries;
      undeclared = map (name: quoted (path ++ [ name ])) undeclared ++ concatMap (each: each.undeclared) (attrValues entries);
    };

  evaluatedOption = path: option: definitions:
    let
      default = optional (option ? default) { file = "the default"; value = mkOptionDefault option.default; };
      type = option.type or types.anything;
      merged = mergeDefinitions path type (default ++ definitions);
      fallback = if ! merged.isDefined && type.empty != null then type.empty else merged.value;
      value = if option.apply or null != null then option.apply fallback else fallback;
    in
    if option.readOnly or false && length definitions > 1 then throw "The option `${quoted path}' is read-only, but it's set multiple times."
    else {
      inherit value;
      option = option // { inherit path value; files = map (definition: definition.file) definitions; isDefined = definitions != [ ]; };
    };

  evalModules = { modules, prefix ? [ ], arguments ? { } }:
    let
      all = collect ({ inherit types mkIf mkMerge mkForce mkDefault mkOption mkBefore mkAfter; options = result.option; inherit config; } // arguments)
        config "module" modules;
      result = evaluated prefix all (concatMap definitionsOf all);
      config = if result.undeclared == [ ] then result.value else throw "The option `${head result.undeclared}' does not exist.";
    in
    { inherit config; options = result.option; };

  # A machine, made of such modules.

  users = { config, ... }: {
    options.users = mkOption {
      type = types.attrsOf (types.submodule ({ name, config, ... }: {
        options = {
          name = mkOption { type = types.string; };
          home = mkOption { type = types.path; };
          shell = mkOption { type = types.nullOr types.string; default = null; };
          groups = mkOption { type = types.listOf types.string; default = [ ]; };
          uid = mkOption { type = types.nullOr types.int; default = null; };
        };
        config = {
          name = mkDefault name;
          home = mkDefault "/home/${config.name}";
          groups = mkIf (config.uid != null && config.uid < 1000) [ "system" ];
        };
      }));
    };
    options.groups = mkOption { type = types.listOf types.string; default = [ ]; apply = unique; };
    config.groups = concatMap (user: user.groups) (attrValues config.users);
    config.users.root = { uid = 0; home = "/root"; groups = [ "wheel" ]; };
  };

  network = { config, ... }: {
    options.network = {
      hostName = mkOption { type = types.string; default = "machine"; };
      firewall = {
        enable = mkEnableOption "the firewall";
        ports = mkOption { type = types.listOf types.port; default = [ ]; };
        rules = mkOption { type = types.lines; default = ""; };
      };
      interfaces = mkOption {
        type = types.attrsOf (types.submodule {
          options.address = mkOption { type = types.string; };
          options.prefix = mkOption { type = types.int; default = 24; };
          options.mtu = mkOption { type = types.positive; default = 1500; };
        });
        default = { };
      };
    };
    config.network.firewall = mkIf config.network.firewall.enable {
      ports = mkBefore [ 22 ];
      rules = mkMerge [
        (mkBefore "drop by default")
        (concatStringsSep "\n" (map (port: "allow ${toString port}") config.network.firewall.ports))
        (mkIf (config.network.interfaces ? lo) (mkAfter "allow lo"))
      ];
    };
  };

  services = { config, ... }: {
    options.services = mkOption {
      default = { };
      type = types.attrsOf (types.submodule ({ config, name, ... }: {
        options = {
          enable = mkOption { type = types.bool; default = true; };
          command = mkOption { type = types.string; };
          port = mkOption { type = types.nullOr types.port; default = null; };
          user = mkOption { type = types.string; default = "nobody"; };
          environment = mkOption { type = types.attrsOf (types.either types.string types.int); default = { }; };
          restart = mkOption { type = types.enum [ "always" "on-failure" "no" ]; default = "on-failure"; };
          after = mkOption { type = types.listOf types.string; default = [ ]; };
          unit = mkOption { type = types.lines; default = ""; };
        };
        config.environment.NAME = name;
        config.unit = mkMerge [
          "ExecStart=${config.command}"
          "User=${config.user}"
          (mkIf (config.after != [ ]) "After=${concatStringsSep " " config.after}")
          (mkAfter (concatStringsSep "\n" (attrValues (mapAttrs (key: value: "Environment=${key}=${toString value}") config.environment))))
        ];
      }));
    };
    config.network.firewall.ports = concatMap (service: optional (service.enable && service.port != null) service.port) (attrValues config.services);
    config.users = mapAttrs (_: _: { uid = 400; }) (listToAttrs (map (service: pair service.user null) (attrValues config.services)));
  };

  report = { config, ... }: {
    options.report = mkOption { type = types.string; };
    options.units = mkOption { type = types.attrsOf types.string; default = { }; };
    config.units = mapAttrs (_: service: service.unit) (filterAttrs (_: service: service.enable) config.services);
    config.report = concatStringsSep "\n" (
      [ config.network.hostName config.network.firewall.rules (concatStringsSep " " config.groups) ]
      ++ map (user: "${user.name} ${user.home}") (attrValues config.users)
      ++ attrValues config.units
    );
  };

  machine = n: evalModules {
    modules = [
      users
      network
      services
      report
      {
        _file = "machine-${toString n}";
        network.hostName = "machine-${toString n}";
        network.firewall.enable = n / 2 * 2 == n;
        network.interfaces = { lo = { address = "127.0.0.1"; prefix = 8; mtu = 65536; }; eth0.address = "10.0.0.${toString n}"; };
        users.alice = { uid = 1000 + n; groups = [ "wheel" "audio" ]; shell = mkIf (n > 3) "/bin/fish"; };
        users.bob.groups = mkMerge [ [ "audio" ] (mkIf (n > 7) [ "video" ]) (mkBefore [ "users" ]) ];
      }
      ({ config, ... }: {
        imports = [ { services.web = { command = "serve ${config.network.hostName}"; port = 80; user = "web"; }; } ];
        services.web.environment = { PORT = config.services.web.port; THREADS = mkForce 4; };
        services.database = { command = "database --data /var/lib"; port = 5432 + n; user = "database"; restart = "always"; };
        services.mail = mkIf (n > 9) { command = "mail"; after = [ "web" "database" ]; enable = mkForce (n / 3 * 3 == n); };
      })
    ];
  };
in
foldl' (sum: n: sum + stringLength (machine n).config.report + length (attrNames (machine n).options)) 0 (genList (n: n) 150)
