//! Where the database is, and how a connection to it is made and set up. Used by the writer, the listener
//! and the pool of views.

use super::{
    error::PostgresError,
    tls::{Stream, Tls},
};
use std::{collections::HashMap, fmt, path::PathBuf, sync::Mutex, sync::PoisonError, time::Duration};
use tokio_postgres::{
    Client, Config, Connection, Socket, Statement,
    config::{Host, SslMode},
};

/// An answer to an attempt to connect is waited for so long.
const CONNECT: Duration = Duration::from_secs(5);
/// A server that says nothing is asked after so long, and given up after twice that.
const KEEPALIVE: Duration = Duration::from_secs(10);

/// Which database, and how to use it.
#[derive(Clone)]
pub struct PostgresOptions {
    config: Config,
    tls: Tls,
    place: String,
    /// Whether no other process that asks for the same may commit meanwhile.
    pub(super) sole: bool,
}

impl fmt::Debug for PostgresOptions {
    /// Without the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresOptions").field("place", &self.place).field("sole", &self.sole).finish()
    }
}

impl PostgresOptions {
    /// Reads `postgres://user:password@host:port/database?host=/socket/folder&sslmode=…&sslrootcert=FILE`.
    ///
    /// # Errors
    /// When it is no such URL. The error does not repeat it.
    pub fn parse(url: &str) -> Result<PostgresOptions, PostgresError> {
        let fault = |problem: &str| PostgresError::Url { problem: problem.to_owned() };
        if !["postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme)) {
            return Err(fault("does not begin with postgres://"));
        }
        // What the library says of a bad URL may repeat parts of it.
        let (url, ssl) = Ssl::take_from(url);
        let mut config: Config = url.parse().map_err(|_| fault("cannot be read"))?;
        let (mode, tls) = ssl.read().map_err(|problem| fault(&problem))?;
        config.ssl_mode(mode);
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            config.host_path("/run/postgresql");
        }
        if mode == SslMode::Require && !config.get_hosts().iter().any(|host| matches!(host, Host::Tcp(_))) {
            return Err(fault("asks for TLS, and names no host to speak it to: a unix socket needs none"));
        }
        if config.get_user().is_none() {
            config.user(std::env::var("USER").unwrap_or_else(|_| "freehold".into()));
        }
        if config.get_dbname().is_none() {
            config.dbname("freehold");
        }
        config.application_name(format!("freehold {}", std::process::id()));
        config.connect_timeout(CONNECT).keepalives_idle(KEEPALIVE).tcp_user_timeout(KEEPALIVE * 2);
        let place = place(&config);
        Ok(PostgresOptions { config, tls, place, sole: false })
    }

    /// The same, for a process that must be the only one: it is let in when no other such process is.
    pub fn sole(self) -> PostgresOptions {
        PostgresOptions { sole: true, ..self }
    }

    /// The database in words, without user and password.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// A connection, and what drives it.
    pub(super) async fn dial(&self) -> Result<(Client, Connection<Socket, Stream>), tokio_postgres::Error> {
        self.config.connect(self.tls.clone()).await
    }

    /// A connection that is driven in the background until it is dropped.
    pub(super) async fn connect(&self) -> Result<Session, tokio_postgres::Error> {
        let (client, connection) = self.dial().await?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(error = super::error::say(&error), "a connection to PostgreSQL ended");
            }
        });
        Ok(Session { client, statements: Mutex::default() })
    }
}

/// What a URL says of TLS, which the library reads otherwise or not at all.
#[derive(Default)]
struct Ssl {
    mode: Option<String>,
    roots: Option<PathBuf>,
}

impl Ssl {
    /// Takes it out of the URL.
    fn take_from(url: &str) -> (String, Ssl) {
        let mut ssl = Ssl::default();
        let Some((front, query)) = url.split_once('?') else { return (url.to_owned(), ssl) };
        let mut rest = vec![];
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=') {
                Some(("sslmode", mode)) => ssl.mode = Some(mode.to_owned()),
                Some(("sslrootcert", file)) => ssl.roots = Some(unescaped(file).into()),
                _ => rest.push(pair),
            }
        }
        let url = if rest.is_empty() { front.to_owned() } else { format!("{front}?{}", rest.join("&")) };
        (url, ssl)
    }

    fn read(&self) -> Result<(SslMode, Tls), String> {
        let roots = self.roots.as_deref();
        match (self.mode.as_deref(), roots) {
            (Some("verify-full"), roots) => Ok((SslMode::Require, Tls::verified(roots)?)),
            (_, Some(_)) => Err("names an sslrootcert, which only sslmode=verify-full uses".into()),
            (None | Some("prefer"), None) => Ok((SslMode::Prefer, Tls::unverified())),
            (Some("require"), None) => Ok((SslMode::Require, Tls::unverified())),
            (Some("disable"), None) => Ok((SslMode::Disable, Tls::unverified())),
            (Some(_), None) => {
                let known = "disable, prefer, require or verify-full";
                Err(format!("has an sslmode that is not one of {known}"))
            }
        }
    }
}

/// The text behind `%` and two digits each.
fn unescaped(text: &str) -> String {
    let mut bytes = vec![];
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let hex = tail.get(..2).filter(|_| *first == b'%').and_then(|two| hex::decode(two).ok());
        bytes.push(hex.as_ref().map_or(*first, |hex| hex[0]));
        rest = if hex.is_some() { &tail[2..] } else { tail };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn place(config: &Config) -> String {
    let database = config.get_dbname().unwrap_or_default();
    let host = match config.get_hosts().first() {
        Some(Host::Tcp(name)) => format!("{name}:{}", config.get_ports().first().unwrap_or(&5432)),
        Some(Host::Unix(folder)) => folder.display().to_string(),
        None => config.get_hostaddrs().first().map(ToString::to_string).unwrap_or_default(),
    };
    format!("PostgreSQL database `{database}` at {host}")
}

/// A connection with the statements that were prepared on it.
pub(super) struct Session {
    pub client: Client,
    statements: Mutex<HashMap<String, Statement>>,
}

impl Session {
    /// The statement of `sql`, prepared at its first use.
    pub(super) async fn prepare(&self, sql: &str) -> Result<Statement, tokio_postgres::Error> {
        let known = || self.statements.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(statement) = known().get(sql) {
            return Ok(statement.clone());
        }
        let statement = self.client.prepare(sql).await?;
        known().insert(sql.to_owned(), statement.clone());
        Ok(statement)
    }
}
