"""What `:doc` says of builtins: an entry begins with how the builtin is called, in a line of its own."""

from __future__ import annotations

_TEXT = """\
abort MESSAGE
  End the evaluation with a message. Unlike throw, tryEval doesn't catch it.
add A B
  The sum of two numbers; an integer unless one of them is a float.
addDrvOutputDependencies STRING
  The string, depending on all outputs of the one derivation that it refers to.
addErrorContext MESSAGE VALUE
  The value. If evaluating it fails, the trace of the error has the message in it.
all PREDICATE LIST
  Whether the predicate holds for every item.
any PREDICATE LIST
  Whether the predicate holds for some item.
appendContext STRING CONTEXT
  The string, depending on more: what getContext gives, as a set.
attrNames SET
  The names of the attributes, in the order of their bytes.
attrValues SET
  The values of the attributes, in the order of their names.
baseNameOf PATH
  What comes after the last slash.
bitAnd A B
  The bits that both integers have.
bitOr A B
  The bits that either integer has.
bitXor A B
  The bits that one of the integers has and the other has not.
break VALUE
  The value; a debugger would stop here.
catAttrs NAME SETS
  The values of the attribute, of those sets that have it.
ceil NUMBER
  The least integer that isn't less.
compareVersions A B
  -1, 0 or 1: whether version A is older than B, equal or newer.
concatLists LISTS
  The items of all lists, one list after the other.
concatMap FUNCTION LIST
  The function gives a list for each item; these, one after the other.
concatStringsSep SEPARATOR STRINGS
  The strings as one, with the separator between them.
convertHash { hash, hashAlgo, toHashFormat }
  The hash written in another form: base16, nix32, base64 or sri. hashAlgo can be left out where the hash says it itself.
currentSystem
  The system that this evaluation is for, such as x86_64-linux.
currentTime
  Seconds since 1970, the same during the whole evaluation.
deepSeq A B
  Evaluate all that is in A, then give B.
derivation ATTRIBUTES
  A package: it needs name, system and builder; all attributes become variables of the builder's environment.
derivationStrict ATTRIBUTES
  What derivation is made of: the paths of the derivation and of its outputs.
dirOf PATH
  What comes before the last slash; of a path, a path.
div A B
  A divided by B. The quotient of integers is cut off, not rounded.
elem VALUE LIST
  Whether an item of the list is equal to the value.
elemAt LIST INDEX
  An item; the first has index 0.
fetchGit ARGUMENTS
  The path of a commit of a git repository: a URL, or { url, ref, rev, … }.
fetchMercurial ARGUMENTS
  The same of a Mercurial repository.
fetchTarball ARGUMENTS
  The path of an archive's contents: a URL, or { url, sha256, name }.
fetchTree ARGUMENTS
  The path of a source tree, by a URL or by attributes such as type, owner and repo.
fetchurl ARGUMENTS
  The path of a file: a URL, or { url, sha256, name }.
filter PREDICATE LIST
  The items for which the predicate holds.
filterSource PREDICATE PATH
  A copy of a directory in the store, of what the predicate takes; it is given path and type of each file.
findFile ENTRIES NAME
  Where the search path has a file; <name> is short for findFile nixPath "name".
flakeRefToString ATTRIBUTES
  The flake reference in the form of a URL.
floor NUMBER
  The greatest integer that isn't greater.
foldl' FUNCTION START LIST
  Apply the function to what there is so far, START at first, and to each item in turn. What comes of it is evaluated at once.
fromJSON TEXT
  The value that a text in JSON stands for.
fromTOML TEXT
  The set that a text in TOML stands for.
functionArgs FUNCTION
  Of a function with a set pattern: for each name, whether it has a default.
genList FUNCTION LENGTH
  A list of the function's values for 0, 1, 2 and so on.
genericClosure { startSet, operator }
  The items of startSet and all that operator gives for them, for those, and so on; of items with an equal key, the first.
getAttr NAME SET
  The attribute of that name.
getContext STRING
  What the string depends on: by store path, whether on the path, on all outputs, or on which.
getEnv NAME
  A variable of the environment; an empty string where it isn't set, and in pure evaluation.
getFlake REFERENCE
  The outputs of a flake.
groupBy FUNCTION LIST
  The items in lists, by the name that the function gives for each.
hasAttr NAME SET
  Whether there is an attribute of that name.
hasContext STRING
  Whether the string depends on anything.
hashFile ALGORITHM PATH
  The hash of a file in base 16; md5, sha1, sha256 or sha512.
hashString ALGORITHM TEXT
  The hash of a string in base 16; md5, sha1, sha256 or sha512.
head LIST
  The first item.
import PATH
  The value of the file, or of default.nix in a directory. Each file is evaluated once.
intersectAttrs A B
  Those attributes of B whose names A has too.
isAttrs VALUE
  Whether it is a set.
isBool VALUE
  Whether it is true or false.
isFloat VALUE
  Whether it is a float.
isFunction VALUE
  Whether it is a function; a set with __functor isn't one.
isInt VALUE
  Whether it is an integer.
isList VALUE
  Whether it is a list.
isNull VALUE
  Whether it is null.
isPath VALUE
  Whether it is a path.
isString VALUE
  Whether it is a string.
langVersion
  The version of the language; it grows with its features.
length LIST
  How many items there are.
lessThan A B
  Whether A comes before B: two numbers, strings, paths or lists.
listToAttrs LIST
  The set of { name, value } pairs; of several with the same name, the first.
map FUNCTION LIST
  The list of what the function gives for each item.
mapAttrs FUNCTION SET
  The set of what the function gives for each name and value.
match PATTERN TEXT
  Where the extended regular expression matches all of the text: its groups, null for those without a part in it. Else null.
mul A B
  The product of two numbers.
nixPath
  The search path: a list of { prefix, path }.
nixVersion
  The version of Nix whose language this is.
parseDrvName NAME
  Name and version of a package: the version begins after the first dash that no letter follows.
parseFlakeRef TEXT
  The attributes of a flake reference in the form of a URL.
partition PREDICATE LIST
  { right, wrong }: the items for which the predicate holds, and the others.
path { path, name, filter, recursive, sha256 }
  A copy of a path in the store; only path has to be given.
pathExists PATH
  Whether something is there.
placeholder OUTPUT
  What stands for the path of an output in the environment of its own builder.
readDir PATH
  The entries of a directory: regular, directory, symlink or unknown, by name.
readFile PATH
  The contents of a file.
readFileType PATH
  What a path is: regular, directory, symlink or unknown.
removeAttrs SET NAMES
  The set without some attributes; not all of them have to be there.
replaceStrings FROM TO STRING
  The string, where each occurrence of an item of FROM is replaced by the item of TO with the same index.
scopedImport SCOPE PATH
  As import, with the attributes of a set as variables in the file.
seq A B
  Evaluate A, then give B.
sort COMPARATOR LIST
  The list in order: the comparator says whether its first argument comes before its second. Equal ones stay in their order.
split PATTERN TEXT
  What is between the matches of the extended regular expression; in between, lists of their groups.
splitVersion VERSION
  The parts of a version, as compareVersions sees them.
storeDir
  Where the store is, /nix/store.
storePath PATH
  A path of the store as a string that depends on it.
stringLength STRING
  How many bytes it has.
sub A B
  The difference of two numbers.
substring START LENGTH STRING
  A part of a string, in bytes. A negative length means up to the end.
tail LIST
  The list without its first item.
throw MESSAGE
  Fail with a message; tryEval catches it.
toFile NAME TEXT
  The path of a file with that content in the store.
toJSON VALUE
  The value in JSON. Functions can't be written.
toPath TEXT
  The absolute path in normal form, as a string. Better: /. + text.
toString VALUE
  The value as a string: true is "1", false and null are "", items of a list have spaces between them.
toXML VALUE
  The value in XML.
trace MESSAGE VALUE
  Say the message on stderr and give the value.
traceVerbose MESSAGE VALUE
  The same, if trace-verbose is on.
tryEval VALUE
  { success, value }: whether the value could be evaluated; false stands for one that threw an error or failed an assertion.
typeOf VALUE
  int, bool, string, path, null, set, list, lambda or float.
unsafeDiscardOutputDependency STRING
  The string, depending on the file of a derivation where it depended on all its outputs.
unsafeDiscardStringContext STRING
  The string, depending on nothing.
unsafeGetAttrPos NAME SET
  Where the attribute is defined: { file, line, column }, or null.
warn MESSAGE VALUE
  Say a warning on stderr and give the value.
zipAttrsWith FUNCTION SETS
  One set: for each name, what the function gives for it and the list of values that it has in the sets.
"""


def _entries() -> dict[str, str]:
    entries: dict[str, str] = {}
    name = ""
    for line in _TEXT.splitlines():
        if line.startswith("  "):
            entries[name] += f"\n\n{line.strip()}"
        else:
            name = line.partition(" ")[0]
            entries[name] = line
    return entries


BUILTINS = _entries()
"""By name without `builtins.`: how it is called, and what it does."""
