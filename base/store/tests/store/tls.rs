//! PostgreSQL over TLS: a real server with a certificate that openssl made.

use freehold_model::{Actor, App, AppId, AppSpec, Txn};
use freehold_reconcile::{Store as _, SystemClock};
use freehold_store::{PostgresOptions, PostgresStore, testing::server};
use std::{path::Path, process::Command, sync::Arc};

/// A loopback address of this test's own, so that the port need not be.
fn address() -> String {
    let id = std::process::id();
    format!("127.{}.{}.{}", 64 + (id >> 16) % 64, (id >> 8) % 256, 1 + id % 254)
}

fn run(folder: &Path, line: &str) {
    let done = Command::new("bash").args(["-euc", line]).current_dir(folder).output().expect("bash runs");
    assert!(done.status.success(), "{line}: {}", String::from_utf8_lossy(&done.stderr));
}

async fn open(url: &str) -> Result<PostgresStore, String> {
    let options = PostgresOptions::parse(url).map_err(|error| error.to_string())?;
    PostgresStore::open(options, Arc::new(SystemClock)).await.map_err(|error| error.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_is_known_by_its_certificate() {
    let folder = tempfile::tempdir().unwrap();
    let (dir, address) = (folder.path(), address());
    let text = dir.to_str().unwrap();
    run(dir, "chmod 755 .");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/test-postgres.sh");
    let made = Command::new(script)
        .args(["own", text])
        .env("FREEHOLD_TEST_POSTGRES_LISTEN", &address)
        .output()
        .expect("bash runs");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let _server = Server(text.to_owned());
    let url = |more: &str| format!("postgres://freehold@{address}/postgres?{more}");
    // Without TLS on the server, whoever asks for it is not fobbed off.
    let plain = open(&url("sslmode=require")).await.err().expect("there is no TLS yet");
    assert!(plain.to_lowercase().contains("tls"), "{plain}");
    open(&url("sslmode=prefer")).await.expect("without it where there is none").close().await;

    let line = format!(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=authority \
             -addext basicConstraints=critical,CA:TRUE -keyout ca.key -out ca.pem 2>/dev/null
         openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=db -keyout server.key -out server.csr 2>/dev/null
         printf 'subjectAltName=IP:{address}\\n' > san
         openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile san -out server.crt 2>/dev/null
         openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=other -keyout other.key -out other.pem 2>/dev/null
         cp server.crt server.key data/; chown --reference=data data/server.*; chmod 600 data/server.key
         sed -i 's/^host /hostssl /' data/pg_hba.conf
         psql -qh \"$PWD\" -U freehold postgres -c \"ALTER SYSTEM SET ssl = on\"
         psql -qh \"$PWD\" -U freehold postgres -c \"SELECT pg_reload_conf()\" >/dev/null"
    );
    run(dir, &line);
    let (ca, other) = (dir.join("ca.pem"), dir.join("other.pem"));
    let verified = url(&format!("sslmode=verify-full&sslrootcert={}", ca.display()));
    let store = loop {
        // The server takes the new settings in its own time.
        match open(&verified).await {
            Ok(store) => break store,
            Err(error) => assert!(error.to_lowercase().contains("tls"), "{error}"),
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    };
    let mut txn = Txn::new(Actor::System, "test", "req_test");
    txn.put(&App::new(AppId(ulid::Ulid::new()), "web", None, AppSpec {}, jiff::Timestamp::UNIX_EPOCH));
    store.commit(txn).await.expect("a commit over TLS");
    assert!(store.view().await.unwrap().version().unwrap() > 0);
    store.close().await;
    open(&url("sslmode=require")).await.expect("anybody's certificate").close().await;
    open(&url("")).await.expect("TLS where it can be had").close().await;
    let plain = open(&url("sslmode=disable")).await.err().expect("the server takes TLS alone");
    assert!(plain.contains("refuses this user"), "{plain}");
    let wrong = url(&format!("sslmode=verify-full&sslrootcert={}", other.display()));
    let foreign = open(&wrong).await.err().expect("a foreign authority");
    assert!(foreign.contains("certificate"), "{foreign}");
    let machine = open(&url("sslmode=verify-full")).await.err().expect("the machine knows no such authority");
    assert!(machine.contains("certificate"), "{machine}");
    // The right authority, and a name that the certificate does not have.
    let named = format!(
        "postgres://freehold@localhost/postgres?hostaddr={address}&sslmode=verify-full&sslrootcert={}",
        ca.display()
    );
    let named = open(&named).await.err().expect("another name");
    assert!(named.contains("certificate"), "{named}");
}

/// Ends with the test, however that ends.
struct Server(String);

impl Drop for Server {
    fn drop(&mut self) {
        server("stop", &self.0);
    }
}
