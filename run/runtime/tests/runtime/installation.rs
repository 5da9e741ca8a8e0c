//! Several Freeholds on one machine: each has names of its own, and rules over nothing of another.

use crate::world::{self, World, world};
use freehold_runtime::{Launch, LocalRuntime, Runtime, network::Neighbourhood};
use std::{io::Read, net::TcpStream, process::Command};

fn sh(line: &str) -> String {
    let output = Command::new("sh").args(["-c", line]).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

fn rules(launch: &Launch) -> Neighbourhood {
    let envs = [("env_1".to_owned(), [launch.address].into())].into();
    let (gateway, bits) = (launch.gateway, launch.network_bits);
    Neighbourhood { gateway, bits, resolver: None, envs, outbound: Default::default() }
}

fn answer(launch: &Launch) -> Option<String> {
    let mut text = String::new();
    let mut stream = TcpStream::connect((launch.address, 8080)).ok()?;
    stream.read_to_string(&mut text).ok()?;
    Some(text)
}

fn serving(world: &World) -> Launch {
    world.launch("while true; do echo hello | nc -l -p 8080; done")
}

#[tokio::test]
async fn what_an_earlier_version_started_goes_on_under_the_new_names() {
    let world = world!();
    let launch = serving(&world);
    let handle = world.runtime.start(&launch).await.unwrap();
    world::running(&*handle).await;
    world.runtime.settle(Some(&rules(&launch))).await.unwrap();
    assert!(sh("nft list tables").contains("table ip freehold\n"));
    let old = sh("ip -br link | grep -o '^fh[^@]*'");

    let later = world.installed("ab2c");
    let (adopted, handle) = later.adopt().await.unwrap().remove(0);
    assert_eq!(adopted.installation, Some("ab2c".parse().unwrap()));
    let new = sh("ip -br link | grep -o '^fh[^@]*'");
    assert!(new.starts_with("fhab2c") && new != old && new.lines().count() == 1, "{old} {new}");
    world::running(&*handle).await;
    world::eventually("answer", || answer(&launch).as_deref() == Some("hello\n")).await;
    later.settle(Some(&rules(&adopted))).await.unwrap();
    assert_eq!(sh("nft list tables"), "table ip freehold-ab2c\n");
    // Once more: it is known by then.
    let (again, _) = world.installed("ab2c").adopt().await.unwrap().remove(0);
    assert_eq!(again, adopted);
    world::end(&later, &handle).await;
    assert_eq!(sh("ip -br link | grep -c '^fh'"), "0\n");
}

#[tokio::test]
async fn one_installation_rules_over_nothing_of_another() {
    let (world, other) = (world!(), World::new().unwrap());
    let (ours, theirs) = (world.installed("ab2c"), other.installed("de3f"));
    let mine =
        |runtime: &str, launch: Launch| Launch { installation: Some(runtime.parse().unwrap()), ..launch };
    let launch = mine("ab2c", serving(&world));
    let handle = ours.start(&launch).await.unwrap();
    world::running(&*handle).await;
    ours.settle(Some(&rules(&launch))).await.unwrap();

    // Its gateway is another; what it asks of the node is no business of the first's rules.
    let listener = std::net::TcpListener::bind(("0.0.0.0", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || listener.incoming().for_each(drop));
    let gateway = [10, 126, 255, 1].into();
    let asks = Launch {
        gateway,
        egress: vec![
            format!("{gateway}:{port}/tcp", gateway = std::net::Ipv4Addr::from([10, 126, 255, 1]))
                .parse()
                .unwrap(),
        ],
        address: [10, 126, 0, 2].into(),
        ..mine("de3f", other.launch(&format!("nc -w 5 10.126.255.1 {port} </dev/null && echo reached")))
    };
    let asking = theirs.start(&asks).await.unwrap();
    world::over(&*asking).await;
    let said: Vec<String> = world::log(&asks).into_iter().map(|line| line.text).collect();
    assert_eq!(said, ["reached"]);
    theirs.settle(Some(&rules(&asks))).await.unwrap();
    theirs.settle(None).await.unwrap();
    assert_eq!(sh("nft list tables"), "table ip freehold-ab2c\n", "the other's table is its own");
    theirs.remove(asks.instance).await.unwrap();
    assert_eq!(answer(&launch).as_deref(), Some("hello\n"));
    world::end(&ours, &handle).await;
}

#[tokio::test]
async fn what_belongs_to_no_instance_goes_at_a_start_and_what_is_anothers_stays() {
    let world = world!();
    for name in ["fhab2cxxxxxxxxx", "fhde3fxxxxxxxxx", "fhxxxxxxxxxxxx"] {
        sh(&format!("ip link add {name} type veth peer name p{}", &name[2..10]));
    }
    let runtime: LocalRuntime = world.installed("ab2c");
    runtime.adopt().await.unwrap();
    assert_eq!(sh("ip -br link | grep -o '^fh[^@]*' | sort"), "fhde3fxxxxxxxxx\nfhxxxxxxxxxxxx\n");
}
