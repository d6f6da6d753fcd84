# The configuration of a server. What is common to its sites is said once.
let
  site = name: {
    host = "${name}.example.org";
    tls.Files = { certificate = /etc/tls + "/${name}.crt"; key = /etc/tls + "/${name}.key"; };
  };
in
{
  workers = 2 * 4;
  sites = [
    (site "www")
    (site "mail" // { port = 8443; })
    { host = "localhost"; tls = "Off"; }
  ];
}
