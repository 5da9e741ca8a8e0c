//! `deploy`, `cpus`, `mem_limit`, `pids_limit`, `scale` → `cpu`, `memory`, `pids`, `count`.

use super::Service;
use crate::{
    keys::{self, sweep},
    node::{Node, Value},
    quantity,
    report::Report,
};
use freehold_model::{Bytes, Millicores};
use std::rc::Rc;

/// How much and how many.
#[derive(Default)]
pub(super) struct Limits {
    pub(super) count: Option<u32>,
    pub(super) cpu: Option<Millicores>,
    pub(super) memory: Option<Bytes>,
    pub(super) pids: Option<u32>,
}

/// The limits of a service.
pub(super) fn limits(service: &Service<'_>, report: &mut Report) -> Limits {
    let none = |node: &&Rc<Node>| !matches!(node.value, Value::Null);
    let deploy = service.get("deploy");
    let resources = deploy.and_then(|deploy| deploy.get("resources")).filter(none);
    let limits = resources.and_then(|resources| resources.get("limits")).filter(none);
    if let Some(deploy) = deploy {
        sweep(deploy, keys::DEPLOY, &service.at("deploy"), report);
    }
    if let Some(limits) = limits {
        sweep(limits, keys::LIMITS, &service.at("deploy.resources.limits"), report);
    }
    for (key, value) in resources.map(|resources| resources.entries()).unwrap_or_default() {
        if key.name != "limits" && !value.is_idle() {
            let path = service.at(&format!("deploy.resources.{}", key.name));
            let help = if holds_devices(value) { "devices of the host are not passed on" } else { "" };
            report.lose(path, &key.at, "only limits count; nothing is set aside", help);
        }
    }
    // Where both are given, `deploy` says the newer.
    let pick = |deep: &str, flat: &str| {
        let deep_node = limits.and_then(|limits| limits.get(deep)).filter(none);
        let deep = deep_node.map(|node| (node, format!("deploy.resources.limits.{deep}")));
        deep.or_else(|| service.get(flat).map(|node| (node, flat.to_owned())))
    };
    let replicas = deploy.and_then(|deploy| deploy.get("replicas")).filter(none);
    let replicas = replicas.map(|node| (node, "deploy.replicas".to_owned()));
    let replicas = replicas.or_else(|| service.get("scale").map(|node| (node, "scale".to_owned())));
    let mut read = Reader { service, report };
    Limits {
        count: read.one(replicas, "a number from 0 to 1000", |text| {
            text.parse().ok().filter(|count| *count <= 1000)
        }),
        cpu: read.one(pick("cpus", "cpus"), "a number of cores", quantity::cores),
        memory: read.one(pick("memory", "mem_limit"), "a size of at least 4 MiB", |text| {
            quantity::bytes(text).filter(|bytes| (4 << 20..=1 << 50).contains(&bytes.0))
        }),
        pids: read.one(pick("pids", "pids_limit"), "a number from 16 to 32768", |text| {
            text.parse().ok().filter(|pids| (16..=32768).contains(pids))
        }),
    }
}

struct Reader<'a, 'b> {
    service: &'a Service<'b>,
    report: &'a mut Report,
}

impl Reader<'_, '_> {
    fn one<T>(
        &mut self,
        found: Option<(&Rc<Node>, String)>,
        expected: &str,
        read: impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        let (node, key) = found?;
        // Compose writes "no limit" as 0 or -1.
        if node
            .text()
            .is_some_and(|text| matches!(text, "0" | "-1") && !key.contains("replicas") && key != "scale")
        {
            return None;
        }
        let value = node.text().and_then(read);
        if value.is_none() {
            self.report.lose(self.service.at(&key), &node.at, format!("it is not {expected}"), "");
        }
        value
    }
}

fn holds_devices(node: &Node) -> bool {
    node.get("devices").is_some_and(|devices| !devices.is_idle())
}
