//! `ports` → `[[endpoint]]`.

use super::{Scene, Service};
use crate::{
    draft::Endpoint,
    keys::{self, sweep},
    node::{Node, Value},
};

/// How many ports one entry, and one app, may open.
const MOST: usize = 200;

/// A published port, or a range.
#[derive(Debug, PartialEq)]
struct Published {
    host: String,
    listen: Option<(u16, u16)>,
    target: (u16, u16),
    udp: bool,
}

/// Opens the endpoints of a service.
pub(super) fn ports(service: &Service<'_>, scene: &mut Scene<'_>) {
    let Some(node) = service.get("ports") else { return };
    if !matches!(node.value, Value::List(_)) {
        scene.report.wrong(service.at("ports"), node, "a list");
    }
    for item in node.items() {
        let published = match &item.value {
            Value::Text(text) => short(&text.text),
            _ => {
                sweep(item, keys::PORT, &service.at("ports"), scene.report);
                long(item)
            }
        };
        match published {
            Some(published) => open(&published, item, service, scene),
            None => {
                let help = "write it like \"8080:80\"";
                scene.report.lose(service.at("ports"), &item.at, "it is no port that can be read", help);
            }
        }
    }
}

fn open(published: &Published, item: &Node, service: &Service<'_>, scene: &mut Scene<'_>) {
    let path = service.at("ports");
    let (first, last) = published.target;
    let listen = published.listen.unwrap_or(published.target);
    if published.listen.is_none() {
        let reason =
            "it asks for any free port of the host, and an endpoint has a fixed one: the same as inside";
        scene.report.lose(&path, &item.at, reason, "choose another with `listen`");
    }
    if !matches!(published.host.as_str(), "" | "0.0.0.0" | "::" | "[::]") {
        let reason = format!(
            "it is for the address {} alone, and an endpoint listens on every address",
            published.host
        );
        let help = format!(
            "if everybody may reach it, add [[endpoint]] process = \"{}\", listen = {}, target = {first}",
            service.name, listen.0
        );
        scene.report.lose(path, &item.at, reason, help);
        return;
    }
    if listen.1 - listen.0 != last - first {
        scene.report.lose(path, &item.at, "its two ranges are not of one length", "");
        return;
    }
    for (listen, target) in (listen.0..=listen.1).zip(first..=last) {
        let same = |other: &&Endpoint| other.listen == listen && other.udp == published.udp;
        let other = scene.endpoints.iter().find(same);
        // The same port twice, by `extends` or a second file, is one.
        if other.is_some_and(|other| other.process == service.name && other.target == target) {
            continue;
        }
        let taken = other.is_some();
        if taken || scene.endpoints.len() >= MOST {
            let reason = match taken {
                true => format!("another endpoint listens on {listen} already"),
                false => format!("an app opens at most {MOST} ports here"),
            };
            scene.report.lose(&path, &item.at, reason, "choose another port with `listen`");
            return;
        }
        scene.endpoints.push(Endpoint { process: service.name.clone(), listen, target, udp: published.udp });
    }
}

/// `[[IP:]LISTEN:]TARGET[/PROTOCOL]`
fn short(text: &str) -> Option<Published> {
    let (text, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let (rest, target) = match text.rsplit_once(':') {
        Some((rest, target)) => (Some(rest), target),
        None => (None, text),
    };
    let (host, listen) = match rest {
        None => ("", ""),
        // An IPv6 address is in brackets, and has colons itself.
        Some(rest) if rest.ends_with(']') => (rest, ""),
        Some(rest) => rest.rsplit_once(':').unwrap_or(("", rest)),
    };
    let listen = if listen.is_empty() { None } else { Some(range(listen)?) };
    Some(Published { host: host.to_owned(), listen, target: range(target)?, udp: is_udp(protocol)? })
}

fn long(item: &Node) -> Option<Published> {
    let text = |key: &str| item.get(key).and_then(|node| node.text()).unwrap_or_default();
    let listen = if text("published").is_empty() { None } else { Some(range(text("published"))?) };
    let target = range(text("target"))?;
    // A published range means any free port of it.
    let listen =
        listen.map(|(first, last)| if target.0 == target.1 { (first, first) } else { (first, last) });
    Some(Published { host: text("host_ip").to_owned(), listen, target, udp: is_udp(text("protocol"))? })
}

fn is_udp(protocol: &str) -> Option<bool> {
    match protocol {
        "" | "tcp" => Some(false),
        "udp" => Some(true),
        _ => None,
    }
}

fn range(text: &str) -> Option<(u16, u16)> {
    let port = |text: &str| text.trim().parse::<u16>().ok().filter(|port| *port > 0);
    match text.split_once('-') {
        Some((first, last)) => Some((port(first)?, port(last)?)).filter(|(first, last)| first <= last),
        None => port(text).map(|port| (port, port)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_short_forms() {
        let one =
            |host: &str, listen, target, udp| Some(Published { host: host.into(), listen, target, udp });
        for (text, expected) in [
            ("80", one("", None, (80, 80), false)),
            ("8080:80", one("", Some((8080, 8080)), (80, 80), false)),
            ("127.0.0.1:8080:80", one("127.0.0.1", Some((8080, 8080)), (80, 80), false)),
            ("127.0.0.1::80", one("127.0.0.1", None, (80, 80), false)),
            ("[::1]:8080:80", one("[::1]", Some((8080, 8080)), (80, 80), false)),
            ("3000-3002:4000-4002/udp", one("", Some((3000, 3002)), (4000, 4002), true)),
        ] {
            assert_eq!(short(text), expected, "{text}");
        }
        for bad in ["", "0:80", "80:0", "a:b", "80/sctp", "9-8:1-2", "70000", "1:2:3:4:x"] {
            assert_eq!(short(bad), None, "{bad}");
        }
    }
}
