//! Places 10,000 instances on 1,000 nodes, then one more, again and again; prints the medians as JSON.
//!
//! Run by `cargo xtask bench placement`. The processes are of four kinds: plain, spread over zones, with a
//! preference, and with a required label and a tolerated taint; each placement is explained as always.

use freehold_model::{
    Affinity, Bytes, Capacity, EnvId, LabelKey, Millicores, NodeId, Rules, Spread, manifest::Driver,
};
use freehold_schedule::{Candidate, Fleet, Request, place_all};
use std::{error::Error, time::Instant};

const NODES: u64 = 1_000;
const PROCESSES: u64 = 200;
const EACH: u32 = 50;
const ROUNDS: usize = 9;
const ONE_MORE: usize = 1_000;

fn main() -> Result<(), Box<dyn Error>> {
    let (empty, requests) = (Fleet::of(nodes()?), requests()?);
    let (mut all, mut placed, mut full) = (vec![], 0, empty.clone());
    for _ in 0..ROUNDS {
        full = empty.clone();
        placed = 0;
        let start = Instant::now();
        for request in &requests {
            placed += place_all(&mut full, request, EACH).map_err(|(_, why)| why)?.len();
        }
        all.push(start.elapsed().as_secs_f64());
    }
    let mut one = vec![];
    for n in 0..ONE_MORE {
        let mut fleet = full.clone();
        let start = Instant::now();
        place_all(&mut fleet, &requests[n % requests.len()], 1).map_err(|(_, why)| why)?;
        one.push(start.elapsed().as_secs_f64());
    }
    let slowest = |times: &[f64]| times.iter().copied().fold(0.0, f64::max);
    println!(
        "{{\"nodes\":{NODES},\"instances\":{placed},\"all\":{},\"all_slowest\":{},\"one\":{},\"one_slowest\":{}}}",
        median(&mut all.clone()),
        slowest(&all),
        median(&mut one.clone()),
        slowest(&one)
    );
    Ok(())
}

fn nodes() -> Result<Vec<Candidate>, Box<dyn Error>> {
    let gpu: LabelKey = "hardware/gpu".parse()?;
    let node = |n: u64| {
        let tainted = n.is_multiple_of(10);
        let mut labels = std::collections::BTreeMap::from([("zone".into(), format!("z{}", n % 12))]);
        labels.insert("disk".into(), if n.is_multiple_of(3) { "ssd" } else { "hdd" }.into());
        if tainted {
            labels.insert(gpu.to_string(), "yes".into());
        }
        Candidate {
            id: NodeId(u128::from(n + 1).into()),
            name: format!("node-{n}"),
            labels,
            taints: tainted.then(|| gpu.clone()).into_iter().collect(),
            cordoned: false,
            draining: false,
            away: false,
            drivers: vec![Driver::Container],
            closed: None,
            capacity: Capacity { cpu: Millicores(16_000), memory: Bytes((16 + n % 48) << 30) },
            used: Capacity::default(),
            instances: 0,
        }
    };
    Ok((0..NODES).map(node).collect())
}

fn requests() -> Result<Vec<Request>, Box<dyn Error>> {
    let (zone, disk, gpu): (LabelKey, LabelKey, LabelKey) =
        ("zone".parse()?, "disk".parse()?, "hardware/gpu".parse()?);
    let mut all = vec![];
    for n in 0..PROCESSES {
        let rules = match n % 4 {
            0 => Rules::default(),
            1 => Rules { spread: vec![Spread { over: zone.clone(), max_skew: Some(1) }], ..Rules::default() },
            2 => {
                let prefer = [(disk.clone(), vec!["ssd".to_owned()])].into();
                Rules { affinity: Affinity { prefer, ..Affinity::default() }, ..Rules::default() }
            }
            _ => {
                let require = [(gpu.clone(), vec!["yes".to_owned()])].into();
                let affinity = Affinity { require, ..Affinity::default() };
                Rules { affinity, tolerate: vec![gpu.clone()], ..Rules::default() }
            }
        };
        all.push(Request {
            env: Some(EnvId(u128::from(n / 4).into()).into()),
            process: format!("p{n}").parse()?,
            driver: Driver::Container,
            egress: false,
            cpu: Millicores(250),
            memory: Bytes((128 + 64 * (n % 7)) << 20),
            rules,
            pin: None,
            home: None,
            priority: 0,
        });
    }
    Ok(all)
}

fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
