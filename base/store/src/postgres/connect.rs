//! Where the database is, and how a connection to it is made and set up. Used by the writer, the listener
//! and the pool of views.

use super::error::PostgresError;
use std::{collections::HashMap, fmt, sync::Mutex, sync::PoisonError, time::Duration};
use tokio_postgres::{
    Client, Config, Connection, NoTls, Socket, Statement,
    config::{Host, SslMode},
    tls::NoTlsStream,
};

/// An answer to an attempt to connect is waited for so long.
const CONNECT: Duration = Duration::from_secs(5);
/// A server that says nothing is asked after so long, and given up after twice that.
const KEEPALIVE: Duration = Duration::from_secs(10);

/// Which database, and how to use it.
#[derive(Clone)]
pub struct PostgresOptions {
    config: Config,
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
    /// Reads `postgres://user:password@host:port/database?host=/socket/folder`.
    ///
    /// # Errors
    /// When it is no such URL. The error does not repeat it.
    pub fn parse(url: &str) -> Result<PostgresOptions, PostgresError> {
        let fault = |problem: &str| PostgresError::Url { problem: problem.to_owned() };
        if !["postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme)) {
            return Err(fault("does not begin with postgres://"));
        }
        // What the library says of a bad URL may repeat parts of it.
        let mut config: Config = url.parse().map_err(|_| fault("cannot be read"))?;
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            config.host_path("/run/postgresql");
        }
        if config.get_ssl_mode() == SslMode::Require {
            return Err(fault(
                "asks for TLS (sslmode=require), which this Freehold does not speak to PostgreSQL \
                              yet; reach it over a unix socket or a tunnel",
            ));
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
        Ok(PostgresOptions { config, place, sole: false })
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
    pub(super) async fn dial(
        &self,
    ) -> Result<(Client, Connection<Socket, NoTlsStream>), tokio_postgres::Error> {
        self.config.connect(NoTls).await
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
