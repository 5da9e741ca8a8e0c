//! What parses and to what. That errors are found, and where, is in `error_tests`.

use super::*;
use proptest::prelude::*;

const FULL: &str = include_str!("testdata/full.toml");
const EXAMPLE: &str = include_str!("../../../../examples/guestbook/freehold.toml");
const SMALL: &str = "schema = 1\napp = \"a\"\n[process.web]\nimage = \"a:1\"\n";

fn parse(text: &str) -> Result<Manifest, Diagnostics> {
    parse_for(text, "prod")
}

fn parse_for(text: &str, env: &str) -> Result<Manifest, Diagnostics> {
    Manifest::parse("freehold.toml", text, &env.parse().unwrap())
}

fn web(text: &str) -> Process {
    parse(text).unwrap_or_else(|errors| panic!("{errors}")).process.remove("web").unwrap()
}

#[test]
fn the_example_parses() {
    let manifest = parse(EXAMPLE).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(manifest.app.as_str(), "guestbook");
    let web = &manifest.process["web"];
    assert_eq!((web.count, web.cpu, web.memory), (2, Millicores(250), Bytes(64 << 20)));
    assert_eq!(web.env["LOG"], "info");
    assert_eq!(
        web.check,
        Some(Check {
            probe: Probe::Http { path: "/healthz".into(), port: 8080 },
            every: Millis(1000),
            timeout: Millis(500),
            unhealthy_after: 3,
            restart_after: Default::default(),
            grace: Millis(10_000),
        })
    );
    assert_eq!(manifest.endpoint.len(), 1);
    assert_eq!((manifest.endpoint[0].listen, manifest.endpoint[0].target), (8000, 8080));
}

#[test]
fn the_hash_of_the_example_never_changes_by_accident() {
    // Releases and receipts hold such hashes: a change here makes every app look changed.
    let hash = parse(EXAMPLE).unwrap().hash();
    assert_eq!(hash.as_str(), "sha256:80bf026985a7d5d686f99323f6551ef673dc78b259b4d2b52ad1070b3359e622");
}

#[test]
fn the_full_manifest_parses() {
    let manifest = parse(FULL).unwrap_or_else(|errors| panic!("{errors}"));
    let json = serde_json::to_string(&manifest).unwrap();
    assert_eq!(serde_json::from_str::<Manifest>(&json).unwrap(), manifest);
}

#[test]
fn a_secret_is_a_variable_of_its_own_name_unless_it_says_otherwise() {
    let text = "schema = 1\napp = \"a\"\n[process.web]\nimage = \"a\"\n\
        secrets = [\"A\", { name = \"B\" }, { name = \"C\", env = \"D\" }, { name = \"A\", file = \"/run/a\" }]\n";
    let manifest = parse(text).unwrap();
    let found: Vec<_> = manifest.process["web"]
        .secrets
        .iter()
        .map(|it| (it.name.as_str(), it.env.as_deref(), it.file.as_deref()))
        .collect();
    let expected =
        [("A", Some("A"), None), ("B", Some("B"), None), ("C", Some("D"), None), ("A", None, Some("/run/a"))];
    assert_eq!(found, expected);
    let json = serde_json::to_string(&manifest).unwrap();
    assert_eq!(serde_json::from_str::<Manifest>(&json).unwrap(), manifest);
}

#[test]
fn defaults() {
    let process = web(SMALL);
    assert_eq!((process.count, process.cpu, process.memory), (1, Millicores(500), Bytes(256 << 20)));
    assert_eq!((process.stop_timeout, process.driver), (Millis(10_000), Driver::Container));
    assert_eq!((process.check, process.command), (None, None));
}

#[test]
fn a_process_with_an_endpoint_is_checked_there() {
    let endpoint = "[[endpoint]]\nprocess = \"web\"\nlisten = 80\ntarget = 3000\n";
    let probe = |text: String| web(&text).check.unwrap().probe;
    assert_eq!(probe(format!("{SMALL}{endpoint}")), Probe::Tcp { port: 3000 });
    let http = "[process.web.check]\nhttp = \"/\"\n";
    assert_eq!(probe(format!("{SMALL}{http}{endpoint}")), Probe::Http { path: "/".into(), port: 3000 });
    let command = "[process.web.check]\ncommand = [\"/check\", \"\"]\n";
    let words = vec!["/check".to_owned(), String::new()];
    assert_eq!(probe(format!("{SMALL}{command}{endpoint}")), Probe::Command(words));
}

#[test]
fn a_udp_endpoint_tells_no_check_where_to_connect() {
    let udp = "[[endpoint]]\nprocess = \"web\"\nlisten = 53\ntarget = 5353\nprotocol = \"udp\"\nidle_timeout = \"5s\"\n";
    assert_eq!(web(&format!("{SMALL}{udp}")).check, None);
    // The same port of TCP is another port, and its target is the one to check.
    let both = format!(
        "{SMALL}{udp}[[endpoint]]\nprocess = \"web\"\nlisten = 53\ntarget = 80\nmax_connections = 9\n"
    );
    assert_eq!(web(&both).check.unwrap().probe, Probe::Tcp { port: 80 });
    let endpoints = parse(&both).unwrap().endpoint;
    assert_eq!((endpoints[0].idle_timeout, endpoints[0].max_connections), (Some(Millis(5000)), None));
    assert_eq!((endpoints[1].idle_timeout, endpoints[1].max_connections), (None, Some(9)));
}

#[test]
fn trusted_proxies_are_networks_written_in_one_way() {
    let text = format!(
        "{SMALL}[[endpoint]]\nprocess = \"web\"\nlisten = 80\ntarget = 80\ntrusted_proxies = [\"10.0.0.1/32\", \"FD00::/8\"]\n"
    );
    let manifest = parse(&text).unwrap();
    let shown: Vec<_> = manifest.endpoint[0].trusted_proxies.iter().map(ToString::to_string).collect();
    assert_eq!(shown, ["10.0.0.1", "fd00::/8"]);
    let plain = text.replace("trusted_proxies = [\"10.0.0.1/32\", \"FD00::/8\"]", "trusted_proxies = []");
    let without = text.replace("trusted_proxies = [\"10.0.0.1/32\", \"FD00::/8\"]", "");
    assert_eq!(parse(&plain).unwrap().hash(), parse(&without).unwrap().hash(), "asks for nothing");
}

#[test]
fn an_env_is_merged_key_by_key() {
    let text = r#"
        schema = 1
        app = "a"
        process.web = { image = "a:1", command = ["/a", "-v"], env = { A = "1", B = "2" }, check = { http = "/", port = 80, every = "5s" } }
        process.job = { image = "a:1" }
        env.prod.process.web = { count = 4, command = ["/b"], env = { B = "3" }, check = { tcp = true } }
        env.test.process.web = { check = { command = ["/c"] } }
    "#;
    let base = parse_for(text, "other").unwrap();
    let prod = parse_for(text, "prod").unwrap();
    let test = parse_for(text, "test").unwrap();
    assert_eq!((base.process["web"].count, prod.process["web"].count), (1, 4));
    assert_eq!(prod.process["web"].command, Some(vec!["/b".into()]));
    let env: Vec<_> = prod.process["web"].env.iter().map(|(k, v)| format!("{k}{v}")).collect();
    assert_eq!(env, ["A1", "B3"]);
    let check = prod.process["web"].check.clone().unwrap();
    assert_eq!((check.probe, check.every), (Probe::Tcp { port: 80 }, Millis(5000)));
    assert_eq!(test.process["web"].check.as_ref().unwrap().probe, Probe::Command(vec!["/c".into()]));
    assert_eq!(base.process["job"], prod.process["job"]);
}

#[test]
fn a_volume_has_a_size_whether_or_not_it_says_so() {
    let volume = "[[volume]]\nname = \"data\"\nprocess = \"web\"\npath = \"/data\"\n";
    let size = |text: String| parse(&text).unwrap().volume.remove(0).size;
    assert_eq!(size(format!("{SMALL}{volume}")), Bytes(10 << 30));
    assert_eq!(size(format!("{SMALL}{volume}size = \"64MiB\"\n")), Bytes(64 << 20));
    assert_ne!(parse(SMALL).unwrap().hash(), parse(&format!("{SMALL}{volume}")).unwrap().hash());
}

#[test]
fn an_empty_list_of_what_is_not_there_yet_asks_for_nothing() {
    let text =
        "schema = 1\napp = \"a\"\nvolume = []\n[process.web]\nimage = \"a\"\nsecrets = []\negress = []\n";
    assert_eq!(parse(text), parse("schema = 1\napp = \"a\"\n[process.web]\nimage = \"a\"\n"));
}

#[test]
fn a_manifest_survives_its_own_json() {
    let manifest = parse(EXAMPLE).unwrap();
    let json = serde_json::to_string(&manifest).unwrap();
    assert_eq!(serde_json::from_str::<Manifest>(&json).unwrap(), manifest);
}

#[test]
fn junk_is_refused() {
    let mib = 1 << 20;
    for junk in ["x = ", "[", "{", "a.", "\n=", "\"", "é", "a=1\n", "[[endpoint]]\n", "[process.a]\n"] {
        assert!(parse(&junk.repeat(10 * mib / junk.len())).is_err());
        let errors = parse(&junk.repeat(mib / 4 / junk.len())).unwrap_err();
        assert!(!errors.list.is_empty() && errors.to_string().len() < 100_000, "{junk}");
    }
    let many: String = (0..30_000).map(|n| format!("[env.e.process.p{n}]\n")).collect();
    assert!(parse(&format!("{SMALL}{many}")).is_err());
    let variables: String = (0..999).map(|n| format!("env.V{n} = \"1\"\n")).collect();
    let processes: String = (0..40).map(|n| format!("[process.p{n}]\nimage = \"a\"\n{variables}")).collect();
    let pairs = (0..100).flat_map(|e| (0..40).map(move |p| format!("[env.e{e}.process.p{p}]\n")));
    let hostile = format!("schema = 1\napp = \"a\"\n{processes}{}", pairs.collect::<String>());
    // Takes a second or two; anything quadratic needs hours, and the test's time is up before.
    assert!(parse(&hostile).is_ok());
}

proptest! {
    #[test]
    fn arbitrary_text_never_panics(text in any::<String>()) {
        let _ = parse(&text).map_err(|errors| (errors.to_string(), errors.problem()));
    }

    #[test]
    fn mutated_manifests_never_panic(
        at in 0..FULL.len(), cut in 0usize..40, put in r#"[\[\]{}="'.,#\n a-z0-9é]{0,12}"#, again in any::<bool>(),
    ) {
        let end = FULL.floor_char_boundary((at + cut).min(FULL.len()));
        let at = FULL.floor_char_boundary(at).min(end);
        let mut text = format!("{}{put}{}", &FULL[..at], &FULL[end..]);
        if again {
            text.push_str(&FULL[at..]);
        }
        let Err(errors) = parse(&text) else { return Ok(()) };
        prop_assert!(!errors.list.is_empty());
        for one in &errors.list {
            let line = text.split('\n').nth(one.line - 1).expect("a line of the text");
            let rest: String = line.chars().skip(one.column - 1).collect();
            prop_assert!(rest.starts_with(&one.text), "{one:?}");
        }
        let _ = errors.to_string();
    }

    #[test]
    fn rearranged_lines_never_panic(order in proptest::collection::vec(0..FULL.lines().count(), 0..60)) {
        let lines: Vec<&str> = FULL.lines().collect();
        let text: String = order.iter().map(|at| format!("{}\n", lines[*at])).collect();
        let _ = parse(&text).map_err(|errors| errors.to_string());
    }
}
