//! `freehold up`: runs Freehold on this machine.
//!
//! Once every part is ready it notes the server's address in the context, so that every other command
//! finds it, and says so; the token is shown at the first start alone.

use crate::{
    args::Globals,
    context::{self, Context, Contexts},
    failure::{Failure, Outcome},
    log,
    output::{Out, Paint},
};
use freehold_daemon::{Ended, Options, PostgresOptions, Range, Ready, Role};
use freehold_model::{Network, PublicUrl};
use freehold_runtime::rootless;
use std::{
    env,
    io::IsTerminal,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    path::{Path, PathBuf},
    time::Duration,
};

/// Flags of `up`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Control plane, node and endpoints run in this one process until SIGTERM or Ctrl-C; SIGUSR2 starts the
program anew in its place (see `freehold upgrade`). Instances go on
running without it, and are taken over again by the next start, unless --stop-apps is given.

Examples:
  freehold up
  freehold up --store postgres:///freehold?host=/run/postgresql
  freehold up --data /srv/freehold --listen 0.0.0.0:7117 --endpoints-on 192.168.1.5")]
pub(crate) struct Args {
    /// Where all state is kept [default: /var/lib/freehold, or within your home if you are not root].
    #[arg(long, value_name = "DIR", env = "FREEHOLD_DATA")]
    data: Option<PathBuf>,
    /// A PostgreSQL database for resources and events, as postgres://USER@HOST/DATABASE, or
    /// postgres:///DATABASE?host=/run/postgresql for a socket [default: SQLite within the data folder].
    #[arg(long, value_name = "URL", env = "FREEHOLD_STORE", hide_env_values = true)]
    store: Option<StoreUrl>,
    /// Where the API and the image registry are served.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7117")]
    listen: SocketAddr,
    /// Where nodes that joined are served, over TLS with their certificates [default: nowhere].
    #[arg(long, value_name = "ADDR")]
    node_listen: Option<SocketAddr>,
    /// Where nodes reach --node-listen, as https://HOST:PORT: told to them, so that they find every control plane
    /// [default: that address, or this machine's].
    #[arg(long, value_name = "URL", requires = "node_listen", value_parser = node_url)]
    node_url: Option<String>,
    /// The address by which browsers and apps reach this house, for signing in: https://home.example.
    #[arg(long, value_name = "URL", env = "FREEHOLD_PUBLIC_URL")]
    public_url: Option<PublicUrl>,
    /// The proxies in front of --listen that speak the PROXY protocol, by address or network: they say who the
    /// client is, and connections from them must begin with that.
    #[arg(long, value_name = "NETWORK", num_args = 1..)]
    trusted_proxy: Vec<Network>,
    /// The addresses on which endpoints listen [default: all of this machine's].
    #[arg(long, value_name = "IP", num_args = 1..)]
    endpoints_on: Vec<IpAddr>,
    /// The name servers that are asked for names outside [default: those of /etc/resolv.conf].
    #[arg(long, value_name = "ADDR", num_args = 1.., value_parser = name_server)]
    dns: Vec<SocketAddr>,
    /// The private network that instances have their addresses in, on every node; chosen once, while nothing
    /// runs [default: the first of 10.210.0.0/16 and some others that nobody on this machine uses].
    #[arg(long, value_name = "NETWORK")]
    instances_range: Option<Range>,
    /// Stops instances too when Freehold stops.
    #[arg(long)]
    stop_apps: bool,
}

/// May hold a password: it is neither shown nor compared.
#[derive(Clone)]
pub(crate) struct StoreUrl(String);

impl From<String> for StoreUrl {
    fn from(url: String) -> StoreUrl {
        StoreUrl(url)
    }
}

impl std::fmt::Debug for StoreUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("StoreUrl(..)")
    }
}

impl StoreUrl {
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }

    pub(crate) fn options(&self) -> Outcome<PostgresOptions> {
        PostgresOptions::parse(&self.0).map_err(|error| {
            Failure::usage(
                error.to_string(),
                "Keep a password out of the command line: put the URL into FREEHOLD_STORE.",
            )
        })
    }
}

/// A URL at which nodes reach a control plane.
pub(crate) fn node_url(text: &str) -> Result<String, String> {
    let host = text.strip_prefix("https://").map(|rest| rest.trim_end_matches('/'));
    match host.filter(|host| !host.is_empty() && !host.contains(['/', '?', '#', '@', ' ', ','])) {
        Some(host) => Ok(format!("https://{host}")),
        None => Err("give it as https://HOST:PORT".into()),
    }
}

pub(crate) fn run(args: Args, globals: &Globals) -> Outcome {
    let options = Options {
        role: Role::Up,
        data: data_folder(args.data)?,
        store: args.store.as_ref().map(StoreUrl::options).transpose()?,
        listen: args.listen,
        node_listen: args.node_listen,
        node_url: args.node_url,
        public_url: args.public_url,
        trusted_proxies: trusted_proxies(args.trusted_proxy, args.listen)?,
        endpoints_on: args.endpoints_on,
        name_servers: args.dns,
        instances_range: args.instances_range,
        stop_apps: args.stop_apps,
    };
    serve(options, globals)
}

/// Refuses to trust the addresses from which this machine's own commands come: they send no header, and would be
/// turned away.
pub(crate) fn trusted_proxies(proxies: Vec<Network>, listen: SocketAddr) -> Outcome<Vec<Network>> {
    let own = [listen.ip(), Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    match proxies.iter().find(|network| own.iter().any(|address| network.contains(*address))) {
        None => Ok(proxies),
        Some(network) => Err(Failure::usage(
            format!(
                "--trusted-proxy {network} is where this machine's own commands come from, without a PROXY header"
            ),
            "Have a proxy on this machine connect from another address of it, and trust that one: `source 127.0.0.2` \
             in HAProxy, `proxy_bind 127.0.0.2` in nginx.",
        )),
    }
}

/// Runs until it is told to stop.
pub(crate) fn serve(options: Options, globals: &Globals) -> Outcome {
    write_log();
    // Asked now: once the file is replaced, the kernel calls it deleted.
    let program = env::current_exe().map_err(|error| Failure::local("find this program's file", error))?;
    // Without root: before there is any thread. What runs no instances needs no namespaces.
    if options.role == Role::Up {
        rootless::enter(&options.data).map_err(|error| Failure::local("start without root", error))?;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::local("start", error))?;
    let served = runtime.block_on(freehold_daemon::run(options, |ready| {
        announce(ready, Out::new(globals.json)).map_err(as_error)
    }));
    runtime.shutdown_background();
    match served.map_err(|error| Failure::local("run Freehold", format!("{error:#}")))? {
        Ended::Stopped => Ok(()),
        Ended::Renew => Err(Failure::local("start the new version", start_again(&program))),
    }
}

/// Starts what is by now in the place of this program, in this very process; answers only if that fails.
pub(crate) fn start_again(program: &Path) -> std::io::Error {
    use std::os::unix::process::CommandExt;
    std::process::Command::new(program).args(env::args_os().skip(1)).exec()
}

/// An address, and port 53 where none is given.
pub(crate) fn name_server(text: &str) -> Result<SocketAddr, String> {
    let with_port = text.parse::<SocketAddr>().ok();
    let found = with_port.or_else(|| text.parse::<IpAddr>().ok().map(|address| SocketAddr::new(address, 53)));
    found.ok_or_else(|| "write an address, like 192.168.1.1 or 192.168.1.1:5353".into())
}

/// The folder that holds all state: as given, or where this user's programs keep theirs.
pub(crate) fn data_folder(given: Option<PathBuf>) -> Outcome<PathBuf> {
    if let Some(folder) = given {
        return std::path::absolute(&folder).map_err(|error| Failure::local("find the data folder", error));
    }
    if rootless::is_started_by_root() {
        return Ok(PathBuf::from("/var/lib/freehold"));
    }
    let folder = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    folder("XDG_DATA_HOME")
        .or_else(|| folder("HOME").map(|home| home.join(".local/share")))
        .map(|share| share.join("freehold"))
        .ok_or_else(|| Failure::usage("there is no folder for data", "Name one with --data."))
}

fn announce(ready: &Ready, out: Out) -> Outcome {
    let home = context::home()?;
    note(&home, ready)?;
    let paint = Paint::stderr();
    if let Some(token) = &ready.new_token {
        // What is no terminal may be a log, and a log is no place for a secret.
        if std::io::stderr().is_terminal() {
            eprintln!("The admin token, shown this once: {token}");
        }
        eprintln!("The admin token is kept in {}, for you alone.", ready.token_file.display());
        eprintln!("To sign in with a browser: freehold user create YOUR-NAME --role owner --org home");
    }
    eprintln!("{} {}", paint.good("ready:"), ready.url);
    let told = serde_json::json!({ "url": ready.url, "token_file": ready.token_file });
    out.show(&told, |_| String::new())
}

pub(crate) fn as_error(failure: Failure) -> anyhow::Error {
    match failure {
        Failure::Problem(problem) => anyhow::Error::new(problem),
        Failure::Said(_) | Failure::ReaderGone => anyhow::anyhow!("nobody reads the output"),
    }
}

fn note(home: &Path, ready: &Ready) -> Outcome {
    let context = Context { url: ready.url.clone(), token_file: Some(ready.token_file.clone()), token: None };
    let mut contexts = Contexts::load(home)?;
    let before = contexts.clone();
    let name = contexts.add(context);
    match contexts.current() {
        // Commands go on asking the server that they ask, where there is one.
        Some((current, other)) if current != name && answers(&other.url) => {
            eprintln!(
                "Commands go on asking {} ({current}); `freehold context use {name}` asks this one.",
                other.url
            );
        }
        _ => contexts.choose(&name)?,
    }
    if contexts == before { Ok(()) } else { contexts.save(home) }
}

/// Whether somebody listens at that address of this machine, or it is another machine's, which may be away.
fn answers(url: &str) -> bool {
    let server = url.split_once("://").map_or(url, |(_, rest)| rest).trim_end_matches('/');
    match server.parse::<SocketAddr>() {
        Ok(address) if address.ip().is_loopback() => {
            TcpStream::connect_timeout(&address, Duration::from_millis(500)).is_ok()
        }
        _ => true,
    }
}

/// What the parts have to say goes to standard error; `RUST_LOG` chooses how much.
pub(crate) fn write_log() {
    log::begin(Paint::stderr() != Paint::plain());
}
